package server

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// jwt is a token with these claims over those of a Pod's for the state service; nobody has signed it.
func jwt(t *testing.T, over map[string]any) string {
	t.Helper()
	all := map[string]any{
		"iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:ns:terraform",
		"aud": []string{job.StateAudience}, "exp": start.Add(time.Hour).Unix(),
	}
	maps.Copy(all, over)
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(payload) + ".c2ln"
}

// TestWhatIsNoTokenIsNotAskedAbout: the API server hears of none of these.
func TestWhatIsNoTokenIsNotAskedAbout(t *testing.T) {
	for name, token := range map[string]string{
		"nonsense":           "nonsense",
		"no JSON":            "e30.bm8.c2ln",
		"no base64":          "e30.?.c2ln",
		"another audience":   jwt(t, map[string]any{"aud": "vault"}),
		"other audiences":    jwt(t, map[string]any{"aud": []string{"vault", "https://kubernetes.default.svc"}}),
		"no audience":        jwt(t, map[string]any{"aud": nil}),
		"an odd audience":    jwt(t, map[string]any{"aud": 7}),
		"an expired one":     jwt(t, map[string]any{"exp": start.Add(-2 * time.Minute).Unix()}),
		"one without an end": jwt(t, map[string]any{"exp": nil}),
		"a person's":         jwt(t, map[string]any{"sub": "jane"}),
		"nobody's":           jwt(t, map[string]any{"iss": ""}),
		"a long one":         jwt(t, map[string]any{"x": strings.Repeat("x", maxToken)}),
	} {
		w := newWorld()
		_, err := w.cluster(t, clocktesting.NewFakeClock(start)).Identify(t.Context(), token)
		if !errors.Is(err, ErrUnauthenticated) || w.reviews != 0 {
			t.Errorf("%s: got %v after %d reviews", name, err, w.reviews)
		}
	}
}

// TestAFloodOfOneBadToken: a thousand requests, one after the other and at once.
func TestAFloodOfOneBadToken(t *testing.T) {
	w := newWorld()
	w.review.Authenticated = false
	c := w.cluster(t, clocktesting.NewFakeClock(start))
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			if _, err := c.Identify(t.Context(), jwt(t, nil)); !errors.Is(err, ErrUnauthenticated) {
				t.Errorf("got %v, want ErrUnauthenticated", err)
			}
		})
	}
	all.Wait()
	if w.reviews > maxReviews {
		t.Errorf("%d reviews for one token, want %d at most", w.reviews, maxReviews)
	}
}

// TestARecordThatComesLate: a Pod that was quicker than the record of it isn't refused for the time that refusals last.
func TestARecordThatComesLate(t *testing.T) {
	w := newWorld()
	recorded := w.run.Status
	w.run.Status = v1alpha1.RunStatus{}
	c := w.cluster(t, clocktesting.NewFakeClock(start))
	if _, err := c.Identify(t.Context(), jwt(t, nil)); !errors.Is(err, errUnrecorded) ||
		answerTo(err).status != http.StatusServiceUnavailable {
		t.Fatalf("got %v, want errUnrecorded, to be asked again", err)
	}
	w.run.Status = recorded
	if err := c.client.Status().Update(t.Context(), w.run); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Identify(t.Context(), jwt(t, nil)); err != nil {
		t.Errorf("recorded: %v", err)
	}
}
