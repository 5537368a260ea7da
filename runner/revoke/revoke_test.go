package revoke

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// surroundings play the state service and Vault.
type surroundings struct {
	accessors          []string
	stateErr, vaultErr error
	revoked            []string
	role               string
}

func (s *surroundings) Accessors(context.Context, *v1alpha1.Workspace, *v1alpha1.Run) ([]string, error) {
	return s.accessors, s.stateErr
}

func (s *surroundings) Revoke(_ context.Context, v v1alpha1.VaultServer, accessor string) error {
	if s.vaultErr == nil {
		s.revoked, s.role = append(s.revoked, accessor), v.RevokerRole
	}
	return s.vaultErr
}

// lost is a Run whose Pod is gone.
func lost() *v1alpha1.Run {
	return testkit.Run("vpn", "vpn-1").Launched(testkit.Epoch).Ended(job.PodLost, testkit.At(time.Minute)).
		With(func(r *v1alpha1.Run) { r.Status.Revocation = v1alpha1.RevocationPending }).Obj()
}

type world struct {
	*testing.T
	base     client.Client
	clock    *clocktesting.FakeClock
	recorder *events.FakeRecorder
	*surroundings
}

func newWorld(t *testing.T, s *surroundings, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	base := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.Run{}).Build()
	return &world{T: t, base: base, clock: testkit.Clock(), recorder: events.NewFakeRecorder(10), surroundings: s}
}

func (w *world) pass() (v1alpha1.Revocation, error) {
	w.Helper()
	r := &Reconciler{
		Client: w.base, Recorder: w.recorder, Clock: w.clock, Accessors: w.surroundings, Vault: w.surroundings,
	}
	key := types.NamespacedName{Namespace: testkit.Namespace, Name: "vpn-1"}
	_, err := r.Reconcile(w.Context(), ctrl.Request{NamespacedName: key})
	var after v1alpha1.Run
	if err := w.base.Get(w.Context(), key, &after); err != nil {
		w.Fatal(err)
	}
	return after.Status.Revocation, err
}

func TestWhatBecomesOfALostRunsCredentials(t *testing.T) {
	vpn := testkit.Workspace("vpn").Vault("cloud", "p").Obj()
	unable := testkit.VaultClass("default")
	unable.Spec.Vault.RevokerRole = ""
	for _, test := range []struct {
		name    string
		s       surroundings
		objects []client.Object
		want    v1alpha1.Revocation
		revoked []string
		told    int
	}{
		{"they are revoked", surroundings{accessors: []string{"a", "b"}},
			[]client.Object{lost(), vpn, testkit.VaultClass("default")}, v1alpha1.RevocationDone, []string{"a", "b"}, 1},
		{"there were none yet", surroundings{},
			[]client.Object{lost(), vpn, testkit.VaultClass("default")}, v1alpha1.RevocationDone, nil, 0},
		{"the controller may not", surroundings{accessors: []string{"a"}},
			[]client.Object{lost(), vpn, unable}, v1alpha1.RevocationLeft, nil, 0},
		{"the class knows no Vault any more", surroundings{accessors: []string{"a"}},
			[]client.Object{lost(), vpn, testkit.Class("default")}, v1alpha1.RevocationLeft, nil, 0},
		{"the Workspace is gone", surroundings{accessors: []string{"a"}},
			[]client.Object{lost(), testkit.VaultClass("default")}, v1alpha1.RevocationLeft, nil, 0},
		{"a Run that is none of these", surroundings{accessors: []string{"a"}}, []client.Object{
			testkit.Run("vpn", "vpn-1").Launched(testkit.Epoch).Ended(job.Applied, testkit.Epoch).Obj(),
			vpn, testkit.VaultClass("default"),
		}, "", nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, &test.s, test.objects...)
			got, err := w.pass()
			if got != test.want || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			if diff := cmp.Diff(test.revoked, w.revoked); diff != "" {
				t.Error(diff)
			}
			if len(w.recorder.Events) != test.told {
				t.Errorf("%d events", len(w.recorder.Events))
			}
		})
	}
}

// TestTroubleIsTriedAgainButNotForEver: until all has ended by itself.
func TestTroubleIsTriedAgainButNotForEver(t *testing.T) {
	sealed := errors.New("503 Vault is sealed")
	for name, s := range map[string]*surroundings{
		"Vault": {accessors: []string{"a"}, vaultErr: sealed}, "the state service": {stateErr: sealed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, s, lost(), testkit.Workspace("vpn").Vault("cloud", "p").Obj(), testkit.VaultClass("default"))
			for range 3 {
				if got, err := w.pass(); got != v1alpha1.RevocationPending || !errors.Is(err, sealed) {
					t.Errorf("got %q, %v", got, err)
				}
				w.clock.Step(time.Minute)
			}
			w.vaultErr, w.stateErr, w.accessors = nil, nil, []string{"a"}
			if got, err := w.pass(); got != v1alpha1.RevocationDone || err != nil || w.role != "revoker" {
				t.Errorf("once it answers: got %q, %v, as %q", got, err, w.role)
			}
			w = newWorld(t, &surroundings{accessors: []string{"a"}, vaultErr: sealed}, lost(),
				testkit.Workspace("vpn").Vault("cloud", "p").Obj(), testkit.VaultClass("default"))
			w.clock.Step(24 * time.Hour)
			if got, err := w.pass(); got != v1alpha1.RevocationLeft || err != nil {
				t.Errorf("after a day: got %q, %v", got, err)
			}
		})
	}
}
