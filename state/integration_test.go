//go:build integration

package state_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	sigclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/client"
	"github.com/plumbline-dev/plumbline/state/seal"
	"github.com/plumbline-dev/plumbline/state/server"
	"github.com/plumbline-dev/plumbline/state/statetest"
	"github.com/plumbline-dev/plumbline/state/store/kube"
	"github.com/plumbline-dev/plumbline/state/store/storetest"
)

func TestKubeStoreConformance(t *testing.T) {
	c := kubeClient(t)
	storetest.Run(t, func(t *testing.T) state.Store { return kube.New(c, newNamespace(t)) })
}

func TestPromisesOverKube(t *testing.T) {
	c := kubeClient(t)
	statetest.Run(t, 2, func(t *testing.T) state.Store { return kube.New(c, newNamespace(t)) })
}

// Writes of four chunks each, cut at bytes all along the way to the API server. Many are followed by a futile clean-up
// of ten seconds, so they are made side by side.
func TestWritesOverKubeThatAreCut(t *testing.T) {
	const parts = 10
	for part := range parts {
		t.Run(fmt.Sprintf("part %d", part), func(t *testing.T) {
			t.Parallel()
			line := statetest.NewLine(t, strings.Trim(strings.TrimPrefix(config.Host, "https:"), "/"))
			far := rest.CopyConfig(config)
			far.Host = "https://" + line.Address()
			through, err := server.NewKubeClient(far)
			if err != nil {
				t.Fatal(err)
			}
			ns := newNamespace(t)
			statetest.Torn(t, statetest.Cuts{
				Line: line, Direct: kube.New(kubeClient(t), ns), Through: kube.New(through, ns),
				Size: 3 << 20, Points: 60, Part: part, Parts: parts,
			})
		})
	}
}

// What is at rest in the cluster is sealed, and a server without the key, or with another, doesn't start.
func TestSealedAtRest(t *testing.T) {
	c, ns := kubeClient(t), newNamespace(t)
	open := func() (*seal.Store, error) {
		return seal.Open(t.Context(), seal.Options{
			Store: kube.New(c, ns), Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
			Ring: seal.SecretRing{Client: c, Secret: sigclient.ObjectKey{Namespace: ns, Name: "keys"}},
		})
	}
	one, err1 := open()
	other, err2 := open()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	const value = "hunter2-hunter2-hunter2"
	first := one.Create(t.Context(), "state/u/000000000001", []byte(value))
	_, rotated := one.Rotate(t.Context())
	second := one.Create(t.Context(), "state/u/000000000002", []byte(value))
	if err := errors.Join(first, rotated, second); err != nil {
		t.Fatal(err)
	}
	if got, err := other.Get(t.Context(), "state/u/000000000002"); err != nil || string(got) != value {
		t.Errorf("the other replica reads %q, %v", got, err)
	}
	raw := kube.New(c, ns)
	for _, key := range []string{"state/u/000000000001", "state/u/000000000002"} {
		if got, err := raw.Get(t.Context(), key); err != nil || bytes.Contains(got, []byte(value)) {
			t.Errorf("at rest there is %q, %v", got, err)
		}
	}
	ring := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "keys"}}
	if err := c.Delete(t.Context(), ring); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); !errors.Is(err, seal.ErrNoRing) {
		t.Errorf("without the key ring: got %v, want ErrNoRing", err)
	}
}

func lockInfo(id string) []byte {
	return fmt.Appendf(nil, `{"ID":%q,"Operation":"OperationTypeApply"}`, id)
}

// Two Runs of one Workspace fight for its lock through two servers: whoever is told 200 must be alone until it unlocks.
func TestRacingLocks(t *testing.T) {
	s := startSystem(t)
	ns := newNamespace(t)
	newAccount(t, ns, "runner")
	w := newWorkspace(t, ns, "ws")
	const rounds = 30
	var inside, wins sync.Map
	var serial atomic.Int64 // the holder's alone
	var wg sync.WaitGroup
	for i := range 4 {
		_, pod := runOf(t, w, fmt.Sprintf("run-%d", i))
		c := s.caller(t, i%2, podToken(t, pod, job.StateAudience))
		wg.Go(func() {
			for round := range rounds {
				id := fmt.Sprintf("%d-%d", i, round)
				status, body := c.do(t, "LOCK "+ns+"/ws/state", lockInfo(id))
				if status == 423 {
					continue
				}
				if status != 200 {
					t.Errorf("LOCK: got %d %s", status, body)
					return
				}
				if holder, held := inside.LoadOrStore("lock", id); held {
					t.Errorf("%s got the lock while %s held it", id, holder)
				}
				wins.Store(id, true)
				written := fmt.Appendf(nil, `{"serial":%d,"by":%q}`, serial.Add(1), id)
				c.want(t, 200, "POST "+ns+"/ws/state?ID="+id, written...)
				if got := c.want(t, 200, "GET "+ns+"/ws/state"); !bytes.Equal(got, written) {
					t.Errorf("%s reads %s", id, got)
				}
				inside.Delete("lock")
				c.want(t, 200, "UNLOCK "+ns+"/ws/state", lockInfo(id)...)
			}
		})
	}
	wg.Wait()
	won := 0
	wins.Range(func(any, any) bool { won++; return true })
	if won == 0 {
		t.Error("nobody ever got the lock")
	}
	t.Logf("%d of %d attempts got the lock", won, 4*rounds)
}

func TestLockOfAPodThatIsGonePassesOver(t *testing.T) {
	s := startSystem(t)
	ns := newNamespace(t)
	newAccount(t, ns, "runner")
	w := newWorkspace(t, ns, "ws")
	_, first := runOf(t, w, "first")
	_, second := runOf(t, w, "second")
	a, b := s.caller(t, 0, podToken(t, first, job.StateAudience)), s.caller(t, 1, podToken(t, second, job.StateAudience))
	a.want(t, 200, "LOCK "+ns+"/ws/state", lockInfo("1")...)
	b.want(t, 423, "LOCK "+ns+"/ws/state", lockInfo("2")...)
	first.Status.Phase = corev1.PodFailed
	if err := kubeClient(t).Status().Update(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	b.want(t, 200, "LOCK "+ns+"/ws/state", lockInfo("2")...)
	a.want(t, 409, "POST "+ns+"/ws/state?ID=1", []byte(`{}`)...)
	a.want(t, 409, "UNLOCK "+ns+"/ws/state", lockInfo("1")...)
	b.want(t, 200, "POST "+ns+"/ws/state?ID=2", []byte(`{}`)...)
}

func TestTokens(t *testing.T) {
	s := startSystem(t)
	ns := newNamespace(t)
	newAccount(t, ns, "runner")
	run, pod := runOf(t, newWorkspace(t, ns, "ws"), "run")
	newWorkspace(t, ns, "other")
	good := podToken(t, pod, job.StateAudience)
	unbound := token(t, sigclient.ObjectKey{Namespace: ns, Name: "runner"},
		authenticationv1.TokenRequestSpec{Audiences: []string{job.StateAudience}})
	for _, test := range []struct {
		name, token, workspace string
		want                   int
	}{
		{"the pod's own", good, "ws", 204},
		{"for another workspace", good, "other", 403},
		{"for another audience", podToken(t, pod, "vault"), "ws", 401},
		{"without a pod", unbound, "ws", 403},
		{"rubbish", "x.y.z", "ws", 401},
	} {
		got, body := s.caller(t, 0, test.token).do(t, "GET "+ns+"/"+test.workspace+"/state", nil)
		if got != test.want {
			t.Errorf("%s: got %d %s, want %d", test.name, got, body, test.want)
		}
	}

	// The other replica has not seen this token, so it can't remember anything of it.
	a, b := s.caller(t, 0, good), s.caller(t, 1, good)
	patchStatus(t, run, func() { run.Status.FinishedAt = new(metav1.Now()) })
	a.want(t, 403, "LOCK "+ns+"/ws/state", lockInfo("1")...)
	b.want(t, 403, "GET "+ns+"/ws/state")
	if err := kubeClient(t).Delete(t.Context(), pod, sigclient.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	// A server started now remembers nothing.
	s.urls = append(s.urls, s.startServer(t))
	if got, _ := s.caller(t, 2, good).do(t, "GET "+ns+"/ws/state", nil); got != 401 && got != 403 {
		t.Errorf("the token of a deleted pod: got %d, want 401 or 403", got)
	}
}

func TestResultIsReported(t *testing.T) {
	s := startSystem(t)
	ns := newNamespace(t)
	newAccount(t, ns, "runner")
	run, pod := runOf(t, newWorkspace(t, ns, "ws"), "run")
	c := s.caller(t, 0, podToken(t, pod, job.StateAudience))
	want := job.Result{
		Version: job.Version, Run: "run", Class: job.Applied, Message: "${x} \u00e9\n", Changes: &job.Changes{Add: 1},
	}
	body, err := job.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c.want(t, 200, "PUT "+ns+"/ws/runs/run/result", body...)
	}
	got := &v1alpha1.Run{}
	if err := kubeClient(t).Get(t.Context(), sigclient.ObjectKeyFromObject(run), got); err != nil {
		t.Fatal(err)
	}
	var result job.Result
	if got.Status.Reported == nil || json.Unmarshal(got.Status.Reported.Raw, &result) != nil {
		t.Fatalf("reported is %v", got.Status.Reported)
	}
	if result.Message != want.Message || result.Class != want.Class || *result.Changes != *want.Changes {
		t.Errorf("reported is %+v, want %+v", result, want)
	}
	if got.Status.PodName != "run" {
		t.Error("the report has touched what isn't its own")
	}
}

// The controller's client against the real thing, from a state with resources to nothing.
func TestControllerClient(t *testing.T) {
	s := startSystem(t)
	ns := newNamespace(t)
	newAccount(t, ns, "runner")
	w := newWorkspace(t, ns, "ws")
	_, pod := runOf(t, w, "run")
	tokenFile := filepath.Join(t.TempDir(), "token")
	own := token(t, sigclient.ObjectKey{Namespace: s.namespace, Name: controllerAccount},
		authenticationv1.TokenRequestSpec{Audiences: []string{job.StateAudience}})
	if err := os.WriteFile(tokenFile, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	controller := client.New(client.Options{URL: s.urls[1], CAFile: s.caFile, TokenFile: tokenFile})
	if _, err := controller.Outputs(t.Context(), ns, "ws"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("outputs before the first run: got %v, want ErrNotFound", err)
	}
	runner := s.caller(t, 0, podToken(t, pod, job.StateAudience))
	runner.want(t, 200, "LOCK "+ns+"/ws/state", lockInfo("1")...)
	runner.want(t, 200, "POST "+ns+"/ws/state?ID=1", []byte(`{"resources":[{"mode":"managed","instances":[{}]}]}`)...)
	runner.want(t, 200, "PUT "+ns+"/ws/outputs", []byte(`{"o":{"value":"${x}"}}`)...)
	outputs, err := controller.Outputs(t.Context(), ns, "ws")
	if err != nil || string(outputs["o"].Value) != `"${x}"` {
		t.Errorf("outputs: got %v, %v", outputs, err)
	}
	remove := func() error {
		return controller.DeleteWorkspace(t.Context(), client.Removal{Workspace: client.Workspace{
			Namespace: ns, Name: "ws", UID: string(w.UID),
		}})
	}
	if err := remove(); !errors.Is(err, client.ErrInUse) {
		t.Errorf("removing a locked workspace: got %v, want ErrInUse", err)
	}
	runner.want(t, 200, "UNLOCK "+ns+"/ws/state", lockInfo("1")...)
	if err := remove(); !errors.Is(err, client.ErrInUse) {
		t.Errorf("removing a workspace with resources: got %v, want ErrInUse", err)
	}
	runner.want(t, 200, "LOCK "+ns+"/ws/state", lockInfo("2")...)
	runner.want(t, 200, "POST "+ns+"/ws/state?ID=2", []byte(`{"serial":1,"resources":[]}`)...)
	runner.want(t, 200, "UNLOCK "+ns+"/ws/state", lockInfo("2")...)
	for range 2 {
		if err := remove(); err != nil {
			t.Errorf("removing: %v", err)
		}
	}
	s.wantNoStates(t)
}

// wantNoStates wants the store to be as empty as the removal of the last state leaves it.
func (s *system) wantNoStates(t *testing.T) {
	t.Helper()
	keys, err := kube.New(kubeClient(t), s.namespace).List(t.Context(), "")
	keys = slices.DeleteFunc(keys, func(key string) bool {
		// That it was allowed, which goes by its age, and the list of the name's UIDs, which is empty.
		return strings.HasSuffix(key, "/.removed/allowed") || strings.HasPrefix(key, "name/")
	})
	if err != nil || len(keys) > 0 {
		t.Errorf("left are %q, %v", keys, err)
	}
}

func TestBigStateOverTheWire(t *testing.T) {
	s := startSystem(t)
	ns := newNamespace(t)
	newAccount(t, ns, "runner")
	_, pod := runOf(t, newWorkspace(t, ns, "ws"), "run")
	c := s.caller(t, 0, podToken(t, pod, job.StateAudience))
	noise := make([]byte, 15<<20) // 20 MiB in base64, which packs to no less than 15
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	big, err := json.Marshal(map[string]any{"serial": 1, "noise": noise})
	if err != nil {
		t.Fatal(err)
	}
	c.want(t, 200, "LOCK "+ns+"/ws/state", lockInfo("1")...)
	c.want(t, 200, "POST "+ns+"/ws/state?ID=1", big...)
	if got := c.want(t, 200, "GET "+ns+"/ws/state"); !bytes.Equal(got, big) {
		t.Errorf("read %d bytes that are not the %d that were written", len(got), len(big))
	}
}

// BenchmarkRun is what Terraform waits for in a run that changes something.
func BenchmarkRun(b *testing.B) {
	s := startSystem(b)
	ns := newNamespace(b)
	newAccount(b, ns, "runner")
	_, pod := runOf(b, newWorkspace(b, ns, "ws"), "run")
	c := s.caller(b, 0, podToken(b, pod, job.StateAudience))
	for i := 0; b.Loop(); i++ {
		id := fmt.Sprint(i)
		c.want(b, 200, "LOCK "+ns+"/ws/state", lockInfo(id)...)
		_, _ = c.do(b, "GET "+ns+"/ws/state", nil)
		c.want(b, 200, "POST "+ns+"/ws/state?ID="+id, fmt.Appendf(nil, `{"serial":%d}`, i)...)
		c.want(b, 200, "UNLOCK "+ns+"/ws/state", lockInfo(id)...)
	}
}
