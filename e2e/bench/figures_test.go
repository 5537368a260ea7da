package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSpreadOf(t *testing.T) {
	for name, test := range map[string]struct {
		values []float64
		want   spread
	}{
		"none": {nil, spread{}},
		"one":  {[]float64{2}, spread{1, 2, 2, 2}},
		"odd":  {[]float64{3, 1, 2}, spread{3, 1, 2, 3}},
		"even": {[]float64{4, 1, 2, 3}, spread{4, 1, 2.5, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, spreadOf(test.values)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRatioOf(t *testing.T) {
	for name, test := range map[string]struct {
		ours, theirs []float64
		want         ratio
		met          bool
	}{
		"below the goal": {[]float64{1, 2, 3}, []float64{4, 4, 4}, ratio{0.5, spread{3, 0.25, 0.5, 0.75}, 0.6}, true},
		"above the goal": {[]float64{3}, []float64{4}, ratio{0.75, spread{1, 0.75, 0.75, 0.75}, 0.6}, false},
		"nothing there":  {nil, nil, ratio{Goal: 0.6}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := ratioOf(test.ours, test.theirs, 0.6)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if got.met() != test.met {
				t.Errorf("met() is %t", got.met())
			}
		})
	}
}

func TestBusySeconds(t *testing.T) {
	for name, test := range map[string]struct {
		stat  string
		want  float64
		wrong bool
	}{
		"all columns":     {"cpu  100 20 30 4000 500 6 4 800 900 1000\ncpu0 1 2 3 4 5 6 7\n", 1.6, false},
		"another file":    {"MemTotal: 1 kB\n", 0, true},
		"too few columns": {"cpu 1 2 3\n", 0, true},
		"no number":       {"cpu a b c d e f g\n", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := busySeconds(test.stat)
			if (err != nil) != test.wrong {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

const metricsText = `# HELP apiserver_request_total Counter
apiserver_request_total{code="201",group="plumbline.dev",resource="runs",subresource="",verb="POST"} 7
apiserver_request_total{code="200",group="plumbline.dev",resource="runs",subresource="status",verb="PATCH"} 20
apiserver_request_total{code="409",group="plumbline.dev",resource="runs",subresource="status",verb="PATCH"} 1
apiserver_request_total{code="200",group="",resource="pods",subresource="",verb="GET"} 900
apiserver_request_total{code="200",group="coordination.k8s.io",resource="leases",subresource="",verb="PUT"} 900
apiserver_flowcontrol_dispatched_requests_total{flow_schema="plumbline-bench-controller",priority_level="low"} 30
apiserver_flowcontrol_dispatched_requests_total{flow_schema="plumbline-bench-state",priority_level="workload-low"} 6
apiserver_flowcontrol_dispatched_requests_total{flow_schema="plumbline-bench-aside",priority_level="workload-low"} 99
apiserver_flowcontrol_dispatched_requests_total{flow_schema="system-nodes",priority_level="system"} 1e+06
`

func TestCountsIn(t *testing.T) {
	got := countsIn(metricsText)
	want := counts{
		byWriter: map[string]float64{"controller": 30, "state": 6},
		byKind:   map[string]float64{"POST runs": 7, "PATCH runs/status": 21},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(counts{})); diff != "" {
		t.Error(diff)
	}
}

func TestPer(t *testing.T) {
	before := map[string]float64{"a": 10, "b": 5}
	after := map[string]float64{"a": 20, "b": 5, "c": 1}
	if diff := cmp.Diff(map[string]float64{"a": 2, "c": 0.2}, per(5, before, after)); diff != "" {
		t.Error(diff)
	}
}

func TestFilmAwaitsWhatWasAndWhatComes(t *testing.T) {
	f := &film{more: make(chan struct{})}
	named := func(name string) *corev1.Pod { return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	f.OnAdd(named("was"), true)
	if _, err := f.await(t.Context(), "what was", pod("was", exists)); err != nil {
		t.Fatal(err)
	}
	came := make(chan error, 1)
	go func() {
		_, err := f.await(t.Context(), "what comes", pod("comes", exists))
		came <- err
	}()
	f.OnUpdate(nil, named("comes"))
	if err := <-came; err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.await(ended, "what never comes", gone("was", time.Time{})); err == nil {
		t.Error("no error for what never comes")
	}
	f.OnDelete(named("was"))
	if _, ok := f.first(gone("was", time.Time{})); !ok {
		t.Error("the deletion was not kept")
	}
}

func TestReportNamesWhatMissesItsGoal(t *testing.T) {
	var r report
	slow := series{{total: 4 * time.Second, phases: []phase{{name: "init", at: time.Second, step: true}}}}
	fast := series{{total: time.Second}}
	r.singles(slow, fast, slow)
	r.batches(20, []crowd{{makespan: time.Minute}}, []crowd{{makespan: 2 * time.Minute}})
	r.writes(5, counts{}, counts{byWriter: map[string]float64{"controller": 25}})
	text := r.text()
	for _, want := range []string{
		"Workspace / bare Pod", "MISSED", "met", "makespan of 20 at once", "5.0  controller", "init",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q:\n%s", want, text)
		}
	}
}
