package state

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const noDay = ""

// planOf is the plan that is shown for a Run that was created at a time.
func planOf(t *testing.T, s *Service, id RunID, created time.Time) string {
	t.Helper()
	id, err := s.ArchiveOf(t.Context(), id, created)
	must(t, err)
	plan, err := s.Part(t.Context(), id, job.PartPlan)
	if !errors.Is(err, ErrNotFound) {
		must(t, err)
	}
	return string(plan)
}

// formerly archives as a server of a former release did: by the name alone.
func formerly(t *testing.T, store Store, run, seen string) {
	t.Helper()
	dir := "archive/u/" + run + "/"
	must(t, store.Create(t.Context(), dir+job.PartPlan, []byte("formerly")))
	must(t, store.Create(t.Context(), dir+"log/000000", packed(t, 0, "formerly")))
	if seen != noDay {
		must(t, store.Create(t.Context(), dir+seenDir+seen, nil))
	}
}

// TestANameUsedAgainShowsNothingOfTheFormerRun: neither of its log nor of its plan, before and after the Run has
// archived its own.
func TestANameUsedAgainShowsNothingOfTheFormerRun(t *testing.T) {
	s := newService(newFakeStore(), &pods{})
	created := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	again := RunID{UID: uid, Run: run1.Run, RunUID: "r2"}
	must(t, s.PutPart(t.Context(), run1, job.PartPlan, []byte("former")))
	must(t, s.PutChunk(t.Context(), run1, NewChunk{Packed: packed(t, 0, "former")}))
	if plan, log := planOf(t, s, again, created), readLog(t, s, again); plan != "" || log != "" {
		t.Errorf("before it has one: plan %q, log %q, want none", plan, log)
	}
	must(t, s.PutPart(t.Context(), again, job.PartPlan, []byte("again")))
	must(t, s.PutChunk(t.Context(), again, NewChunk{Packed: packed(t, 0, "again")}))
	if plan, log := planOf(t, s, again, created), readLog(t, s, again); plan != "again" || log != "again" {
		t.Errorf("plan %q, log %q, want its own", plan, log)
	}
	if plan, log := planOf(t, s, run1, created), readLog(t, s, run1); plan != "former" || log != "former" {
		t.Errorf("the former one has plan %q and log %q, want its own still", plan, log)
	}
}

// TestWhatAFormerReleaseArchivedIsShown: to the Run that wrote it, and to none of the same name that can't have.
func TestWhatAFormerReleaseArchivedIsShown(t *testing.T) {
	created := time.Date(2026, 7, 1, 23, 30, 0, 0, time.UTC)
	for _, test := range []struct {
		name, seen string
		archived   []RunID
		want       string
	}{
		{"not seen yet", noDay, nil, "formerly"},
		{"seen on the Run's first day", "2026-07-01", nil, "formerly"},
		{"seen later", "2026-07-02", nil, "formerly"},
		{"of another name", "2026-07-01", []RunID{{uid, "vpn-11", "r2"}, {uid, "vpn", "r3"}}, "formerly"},
		{"seen before there was this Run", "2026-06-30", nil, ""},
		{"this Run has its own", "2026-07-01", []RunID{run1}, "vpn-1"},
		{"another one of the name came since", "2026-07-01", []RunID{{uid, "vpn-1", "r2"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := newFakeStore()
			s := newService(store, &pods{})
			formerly(t, store, "vpn-1", test.seen)
			for _, id := range test.archived {
				fill(t, s, id)
			}
			if got := planOf(t, s, run1, created.In(time.FixedZone("", 2*60*60))); got != test.want {
				t.Errorf("got the plan %q, want %q", got, test.want)
			}
		})
	}
}

// TestAnArchiveIsFoundWithoutItsRun: by its name, as long as that is clear, and by its UID.
func TestAnArchiveIsFoundWithoutItsRun(t *testing.T) {
	store := newFakeStore()
	s := newService(store, &pods{})
	clk := clocktesting.NewFakePassiveClock(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	s.Clock = clk
	formerly(t, store, "once", "2026-06-01")
	formerly(t, store, "vpn-1", "2026-06-02")
	fill(t, s, RunID{uid, "alone", "r0"})
	must(t, s.sweepArchive(t.Context(), 1000*time.Hour))
	must(t, store.Create(t.Context(), allowed(uid), nil)) // is no Run
	fill(t, s, run1)
	fill(t, s, RunID{"other", "vpn-1", "r9"})

	runs, err := s.ArchivedRuns(t.Context(), uid)
	want := []ArchivedRun{
		{"vpn-1", "r1", noDay}, {"alone", "r0", "2026-07-01"}, {"vpn-1", NoRunUID, "2026-06-02"},
		{"once", NoRunUID, "2026-06-01"},
	}
	if diff := cmp.Diff(want, runs); err != nil || diff != "" {
		t.Errorf("listed (-want +got), %v:\n%s", err, diff)
	}
	for _, test := range []struct {
		id   RunID
		want RunID
		err  error
		says string
	}{
		{RunID{uid, "alone", ""}, RunID{uid, "alone", "r0"}, nil, ""},
		{RunID{uid, "once", ""}, RunID{uid, "once", ""}, nil, ""},
		{RunID{uid, "vpn-1", ""}, RunID{}, ErrConflict, "r1, none"},
		{RunID{uid, "vpn-1", "r1"}, run1, nil, ""},
		{RunID{uid, "vpn-1", NoRunUID}, RunID{uid, "vpn-1", ""}, nil, ""},
		{RunID{uid, "vpn", ""}, RunID{}, ErrNotFound, "run vpn"},
		{RunID{uid, "", ""}, RunID{}, ErrInvalid, ""},
	} {
		got, err := s.FindArchive(t.Context(), test.id)
		if got != test.want || !errors.Is(err, test.err) || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: got %+v, %v, want %+v, %v", test.id, got, err, test.want, test.err)
		}
	}
}
