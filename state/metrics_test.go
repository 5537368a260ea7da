package state

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// counted are the counters of a registry that aren't zero.
func counted(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if n := m.GetCounter().GetValue(); n > 0 {
				all[f.GetName()+" "+m.GetLabel()[0].GetValue()] = n
			}
		}
	}
	return all
}

func TestLocksAndVersionsAreCounted(t *testing.T) {
	r := prometheus.NewRegistry()
	p := &pods{gone: map[string]bool{}}
	s := newService(newFakeStore(), p)
	s.metrics = newMetrics(r)
	perform := func(steps ...step) {
		t.Helper()
		for _, step := range steps {
			if err := step.do(s); !errors.Is(err, step.want) && (step.want == nil || err == nil) {
				t.Fatalf("%s: %v", step.what, err)
			}
		}
	}
	bury := func(run string) step {
		return step{"", func(*Service) error { p.gone[run] = true; return nil }, nil}
	}
	release := step{"release", func(s *Service) error {
		_, err := s.Release(t.Context(), uid, Actor{Name: "controller"})
		return err
	}, nil}
	force := step{"force", func(s *Service) error {
		_, err := s.ForceUnlock(t.Context(), uid, "", Actor{Name: "somebody"})
		return err
	}, nil}
	perform(lock("a", "1", nil), lock("a", "1", nil), lock("b", "2", errors.New("locked")))
	for serial := range 24 {
		perform(write("a", "1", serial, nil))
	}
	for len(s.prunes) > 0 {
		s.prune(t.Context(), <-s.prunes)
	}
	// Each lock that is taken from somebody leaves a fence, which is no version.
	perform(bury("a"), lock("b", "2", nil), unlock("b", "2", nil), unlock("b", "2", nil))
	perform(lock("c", "3", nil), bury("c"), release, release, lock("b", "4", nil), force)
	want := map[string]float64{
		"plumbline_state_locks_total taken": 4, "plumbline_state_locks_total refused": 1,
		"plumbline_state_locks_total passed-over": 2, "plumbline_state_locks_total released": 1,
		"plumbline_state_locks_total forced": 1, "plumbline_state_versions_total written": 24,
		"plumbline_state_versions_total pruned": 4,
	}
	if diff := cmp.Diff(want, counted(t, r)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}
