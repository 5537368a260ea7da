package server

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/plumbline-dev/plumbline/state"
)

func matchesErr(got, want error) bool { return errors.Is(got, want) && (got == nil) == (want == nil) }

func TestMay(t *testing.T) {
	down := errors.New("down")
	alice := authenticationv1.UserInfo{
		Username: "alice", UID: "1", Groups: []string{"devs"},
		Extra: map[string]authenticationv1.ExtraValue{"scopes": {"x"}},
	}
	for name, test := range map[string]struct {
		status authorizationv1.SubjectAccessReviewStatus
		err    error
		want   error
	}{
		"allowed":            {authorizationv1.SubjectAccessReviewStatus{Allowed: true}, nil, nil},
		"no opinion":         {authorizationv1.SubjectAccessReviewStatus{}, nil, ErrForbidden},
		"denied":             {authorizationv1.SubjectAccessReviewStatus{Allowed: true, Denied: true}, nil, ErrForbidden},
		"the review failed":  {authorizationv1.SubjectAccessReviewStatus{EvaluationError: "x"}, nil, ErrForbidden},
		"the API server off": {authorizationv1.SubjectAccessReviewStatus{Allowed: true}, down, down},
	} {
		var asked authorizationv1.SubjectAccessReviewSpec
		c := fake.NewClientBuilder().WithScheme(scheme(t)).WithInterceptorFuncs(interceptor.Funcs{
			Create: func(_ context.Context, _ client.WithWatch, obj client.Object, _ ...client.CreateOption) error {
				review := obj.(*authorizationv1.SubjectAccessReview)
				asked, review.Status = review.Spec, test.status
				return test.err
			},
		}).Build()
		err := NewCluster(c, clocktesting.NewFakePassiveClock(start), "s:c").
			May(t.Context(), alice, Asked{changesState, "ns", "ws"})
		if !matchesErr(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
		if errors.Is(err, ErrForbidden) && !strings.Contains(err.Error(), "update workspaces/state") {
			t.Errorf("%s: %v does not say what is needed", name, err)
		}
		want := authorizationv1.SubjectAccessReviewSpec{
			User: "alice", UID: "1", Groups: []string{"devs"}, Extra: map[string]authorizationv1.ExtraValue{"scopes": {"x"}},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: "ns", Name: "ws", Verb: "update", Group: "plumbline.dev", Version: "v1alpha1",
				Resource: "workspaces", Subresource: "state",
			},
		}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("%s: asked (-want +got)\n%s", name, diff)
		}
	}
}

func TestRunOfAName(t *testing.T) {
	w := newWorld()
	c := w.cluster(t, clocktesting.NewFakeClock(start))
	if got, err := c.Run(t.Context(), "ns", "a"); err != nil || got != (Run{UID: "run-uid", Workspace: "ws"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := c.Run(t.Context(), "ns", "b"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("a Run that there is not: got %v", err)
	}
	w.getErr = errors.New("down")
	if _, err := c.Run(t.Context(), "ns", "a"); err == nil || errors.Is(err, state.ErrNotFound) {
		t.Errorf("an API server that is away: got %v", err)
	}
}
