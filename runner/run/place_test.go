package run

import (
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
	"github.com/plumbline-dev/plumbline/runner/inputs"
)

func bucket(name string) *v1alpha1.Backend {
	config := map[string]apiextensionsv1.JSON{"bucket": {Raw: []byte(`"` + name + `"`)}}
	return &v1alpha1.Backend{Type: "s3", Config: config}
}

func in(b *v1alpha1.Backend) *testkit.WorkspaceBuilder {
	return testkit.Workspace("vpn").With(func(w *v1alpha1.Workspace) { w.Spec.Backend = b })
}

func placeOf(t *testing.T, b *v1alpha1.Backend) *v1alpha1.StatePlace {
	t.Helper()
	p, err := inputs.Place(in(b).Obj())
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

// TestStateLies: where a state lies follows from the Runs that may have put one there.
func TestStateLies(t *testing.T) {
	a, b := placeOf(t, bucket("a")), placeOf(t, bucket("b"))
	minute := 0
	run := func(p *v1alpha1.StatePlace, class job.Class, steps ...string) v1alpha1.Run {
		minute++
		at := testkit.At(time.Duration(minute) * time.Minute)
		r := testkit.Run("vpn", "r").Launched(at).Ended(class, at).Obj()
		r.Status.Backend = p
		for _, s := range steps {
			r.Status.Steps = append(r.Status.Steps, v1alpha1.RunStep{Name: s})
		}
		return *r
	}
	known := func(p *v1alpha1.StatePlace, at time.Duration) *v1alpha1.StatePlace {
		p = p.DeepCopy()
		p.At = new(metav1.NewTime(testkit.At(at)))
		return p
	}
	waited := testkit.Run("vpn", "r").Ended(job.Canceled, testkit.Epoch).Obj()
	for _, test := range []struct {
		name   string
		status v1alpha1.WorkspaceStatus
		runs   []v1alpha1.Run
		want   *v1alpha1.StatePlace
	}{
		{"nothing was ever tried", v1alpha1.WorkspaceStatus{}, nil, nil},
		{"canceled before it was launched", v1alpha1.WorkspaceStatus{}, []v1alpha1.Run{*waited}, nil},
		{"applied by a release that knew one place", v1alpha1.WorkspaceStatus{Applied: &v1alpha1.Applied{}}, nil,
			placeOf(t, nil)},
		{"a Run of such a release", v1alpha1.WorkspaceStatus{}, []v1alpha1.Run{run(nil, job.Applied)}, placeOf(t, nil)},
		{"it was applied there", v1alpha1.WorkspaceStatus{}, []v1alpha1.Run{run(a, job.Applied)}, a},
		{"it came to plan", v1alpha1.WorkspaceStatus{}, []v1alpha1.Run{run(a, job.PlanFailed, "init", "plan")}, a},
		{"it came to init alone", v1alpha1.WorkspaceStatus{}, []v1alpha1.Run{run(a, job.InitFailed, "prepare", "init")}, nil},
		{"its image was not to be had", v1alpha1.WorkspaceStatus{}, []v1alpha1.Run{run(a, job.ImageUnavailable)}, nil},
		{"how far it came is unknown", v1alpha1.WorkspaceStatus{}, []v1alpha1.Run{run(a, job.PodLost)}, a},
		{"moved", v1alpha1.WorkspaceStatus{}, []v1alpha1.Run{run(a, job.Applied), run(b, job.NoChanges)}, b},
		{"whether it was moved is unknown", v1alpha1.WorkspaceStatus{},
			[]v1alpha1.Run{run(a, job.Applied), run(b, job.PodLost)}, a},
		{"what the status says outlives Runs", v1alpha1.WorkspaceStatus{Backend: known(b, time.Hour)},
			[]v1alpha1.Run{run(a, job.Applied)}, b},
		{"and is outlived by newer ones", v1alpha1.WorkspaceStatus{Backend: known(b, time.Second)},
			[]v1alpha1.Run{run(a, job.Applied)}, a},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := testkit.Workspace("vpn").Obj()
			w.Status = test.status
			got := StateLies(w, test.runs)
			if (got == nil) != (test.want == nil) || got != nil && got.Digest != test.want.Digest {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestStateLies_ALineageIsKeptAsLongAsThePlaceIsTheSame(t *testing.T) {
	lies := placeOf(t, bucket("a"))
	lies.Lineage = "L"
	lies.At = new(metav1.NewTime(testkit.Epoch))
	w := testkit.Workspace("vpn").Obj()
	w.Status.Backend = lies
	for name, want := range map[string]string{"a": "L", "b": ""} {
		r := testkit.Run("vpn", "r").Launched(testkit.Epoch).Ended(job.Applied, testkit.At(time.Minute)).Obj()
		r.Status.Backend = placeOf(t, bucket(name))
		if got := StateLies(w, []v1alpha1.Run{*r}); got.Lineage != want || got.Run != "r" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestMoved(t *testing.T) {
	for _, test := range []struct {
		name   string
		wanted *v1alpha1.Backend
		lies   *v1alpha1.StatePlace
		change v1alpha1.BackendChange
		want   string
	}{
		{"nothing lies anywhere", bucket("a"), nil, "", ""},
		{"it lies there", bucket("a"), placeOf(t, bucket("a")), v1alpha1.BackendRefuse, ""},
		{"it lies with us", nil, placeOf(t, nil), v1alpha1.BackendRefuse, ""},
		{"from us to a backend", bucket("a"), placeOf(t, nil), v1alpha1.BackendRefuse,
			"the state lies in Plumbline's state service, and spec.backend has changed to the backend s3: set"},
		{"back to us", nil, placeOf(t, bucket("a")), "",
			"the state lies in the backend s3, and spec.backend has changed to Plumbline's state service: set"},
		{"to another bucket", bucket("b"), placeOf(t, bucket("a")), "",
			"the state lies in the backend s3 with other arguments (see status.backend), and spec.backend has changed to this"},
		{"on purpose", bucket("b"), placeOf(t, bucket("a")), v1alpha1.BackendMigrate, ""},
		{"and for good", bucket("b"), placeOf(t, bucket("a")), v1alpha1.BackendForget, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := in(test.wanted).Obj()
			w.Spec.BackendChange = test.change
			got, err := Moved(w, test.lies)
			if err != nil || (test.want == "") != (got == "") || !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
