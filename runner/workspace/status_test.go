package workspace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// kstatus is what tools that wait for objects (kubectl, Flux, Argo CD) make of the conditions.
func kstatus(w *v1alpha1.Workspace) string {
	is := func(kind string, s metav1.ConditionStatus) bool {
		return apimeta.IsStatusConditionPresentAndEqual(w.Status.Conditions, kind, s)
	}
	switch {
	case w.DeletionTimestamp != nil:
		return "Terminating"
	case w.Status.ObservedGeneration != w.Generation:
		return "InProgress"
	case is(v1alpha1.ConditionStalled, metav1.ConditionTrue):
		return "Failed"
	case is(v1alpha1.ConditionReconciling, metav1.ConditionTrue), !is(v1alpha1.ConditionReady, metav1.ConditionTrue):
		return "InProgress"
	}
	return "Current"
}

// told is what a summary says, in short: the conditions that are there, and the reasons of those that hold.
type told struct {
	Ready       metav1.ConditionStatus
	Reason      string
	Reconciling string
	Stalled     string
	Kstatus     string
}

func tell(w *v1alpha1.Workspace) told {
	reason := func(kind string) string {
		if c := apimeta.FindStatusCondition(w.Status.Conditions, kind); c != nil {
			return c.Reason
		}
		return ""
	}
	t := told{
		Reason: reason(v1alpha1.ConditionReady), Reconciling: reason(v1alpha1.ConditionReconciling),
		Stalled: reason(v1alpha1.ConditionStalled), Kstatus: kstatus(w),
	}
	if c := apimeta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		t.Ready = c.Status
	}
	return t
}

func summed(s scene) *v1alpha1.Workspace {
	in := s.input()
	summarize(in, Next(in))
	return in.Workspace
}

// ready is a Workspace whose last Run ended well, as its status says already.
func ready() *testkit.WorkspaceBuilder {
	return vpn().With(func(w *v1alpha1.Workspace) {
		w.Status = summed(scene{workspace: vpn(), runs: runs{ended("a", job.Applied)}}).Status
		for i := range w.Status.Conditions {
			w.Status.Conditions[i].LastTransitionTime = metav1.NewTime(testkit.Epoch)
		}
	})
}

func TestSummarize(t *testing.T) {
	yes, no, unknown := metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	going := func(kind v1alpha1.TriggerKind) *testkit.RunBuilder {
		return made("b").Trigger(kind, "x").Launched(testkit.At(time.Hour))
	}
	hour := testkit.At(time.Hour)
	plan := func(class job.Class) *testkit.RunBuilder {
		return made("tick").Tick(hour).Operation(v1alpha1.OperationPlan).Launched(hour).Ended(class, hour.Add(time.Minute))
	}
	for _, test := range []struct {
		name  string
		scene scene
		want  told
	}{
		{"a new Workspace", scene{workspace: vpn()}, told{unknown, "Progressing", "Progressing", "", "InProgress"}},
		{"its first Run goes on", scene{workspace: vpn(), runs: runs{made("a").Launched(testkit.Epoch)}},
			told{unknown, "Progressing", "Progressing", "", "InProgress"}},
		{"its first Run ended well", scene{workspace: vpn(), runs: runs{ended("a", job.Applied)}},
			told{yes, "Applied", "", "", "Current"}},
		{"nothing had to be changed", scene{workspace: vpn(), runs: runs{ended("a", job.NoChanges)}},
			told{yes, "NoChanges", "", "", "Current"}},
		{"a drift check goes on: Ready stays",
			scene{workspace: ready(), runs: runs{ended("a", job.Applied), going(v1alpha1.TriggerSchedule)}},
			told{yes, "Applied", "", "", "Current"}},
		{"a rerun goes on: Ready stays",
			scene{workspace: ready(), runs: runs{ended("a", job.Applied), going(v1alpha1.TriggerRerun)}},
			told{yes, "Applied", "", "", "Current"}},
		{"a change goes on: nobody knows",
			scene{workspace: ready(), runs: runs{ended("a", job.Applied), going(v1alpha1.TriggerChange)}},
			told{unknown, "Progressing", "Progressing", "", "InProgress"}},
		{"a failure that is retried", scene{workspace: ready(), runs: runs{ended("a", job.Transient)}},
			told{no, "Transient", "Retrying", "", "InProgress"}},
		{"its retry goes on", scene{workspace: ready(), runs: runs{ended("a", job.Transient), going(v1alpha1.TriggerRetry)}},
			told{no, "Transient", "Progressing", "", "InProgress"}},
		{"a failure that needs a person", scene{workspace: ready(), runs: runs{ended("a", job.ConfigInvalid)}},
			told{no, "ConfigInvalid", "", "ConfigInvalid", "Failed"}},
		{"a failure past the limit of retries", scene{workspace: ready(), runs: runs{ended("a", job.ApplyFailed).Attempt(6)}},
			told{no, "ApplyFailed", "", "ApplyFailed", "Failed"}},
		{"a Run that a person canceled", scene{workspace: ready(), runs: runs{ended("a", job.Canceled)}},
			told{no, "Canceled", "", "Canceled", "Failed"}},
		{"something is missing", scene{workspace: vpn(), missing: "x"},
			told{no, "InputsMissing", "InputsMissing", "", "InProgress"}},
		{"something has gone missing", scene{workspace: ready(), missing: "x", runs: runs{ended("a", job.Applied)}},
			told{no, "InputsMissing", "InputsMissing", "", "InProgress"}},
		{"suspended from the start", scene{workspace: vpn().Suspend()}, told{no, "Suspended", "", "", "InProgress"}},
		{"suspended later: Ready stays", scene{workspace: ready().Suspend(), runs: runs{ended("a", job.Applied)}},
			told{yes, "Applied", "", "", "Current"}},
		{"suspended after a failure", scene{workspace: ready().Suspend(), runs: runs{ended("a", job.Transient)}},
			told{no, "Transient", "", "", "InProgress"}},
		{"a schedule that is none", scene{workspace: ready().Schedule("foo"), runs: runs{ended("a", job.Applied)}},
			told{no, "ConfigInvalid", "", "ConfigInvalid", "Failed"}},
		{"drift was found and reported: Ready stays", scene{workspace: ready().Schedule("@hourly").Report(),
			runs: runs{ended("a", job.Applied),
				plan(job.Planned)}, after: 62 * time.Minute}, told{yes, "Applied", "", "", "Current"}},
		{"a check that failed", scene{workspace: ready().Schedule("@hourly").Report(),
			runs: runs{ended("a", job.Applied),
				plan(job.Transient)}, after: 61 * time.Minute}, told{no, "Transient", "Retrying", "", "InProgress"}},
		{"a check after a failed apply hides nothing", scene{workspace: ready().Schedule("@hourly").Report(),
			runs: runs{ended("a", job.ConfigInvalid),
				plan(job.Planned)}, after: 62 * time.Minute}, told{no, "ConfigInvalid", "", "ConfigInvalid", "Failed"}},
		{"its Runs were deleted by a person", scene{workspace: ready()}, told{yes, "Applied", "", "", "Current"}},
		{"its Runs and its conditions are gone", scene{workspace: vpn().With(func(w *v1alpha1.Workspace) {
			w.Status.Applied = &v1alpha1.Applied{Run: "a", InputsDigest: testkit.Digest}
		})}, told{yes, "Applied", "", "", "Current"}},
		{"deleted, while a Run goes on", scene{workspace: ready().Deleting(), runs: runs{going(v1alpha1.TriggerSchedule)}},
			told{no, "Destroying", "Progressing", "", "Terminating"}},
		{"being destroyed", scene{workspace: ready().Deleting(), runs: runs{ended("a", job.Applied)}},
			told{no, "Destroying", "Progressing", "", "Terminating"}},
		{"a destruction that is retried",
			scene{workspace: ready().Deleting(), runs: runs{destroyedBy(1, job.Transient)}, after: time.Hour},
			told{no, "Transient", "Retrying", "", "Terminating"}},
		{"a destruction that needs a person",
			scene{workspace: ready().Deleting(), runs: runs{destroyedBy(1, job.ConfigInvalid)}, after: time.Hour},
			told{no, "ConfigInvalid", "", "ConfigInvalid", "Terminating"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := summed(test.scene)
			if diff := cmp.Diff(test.want, tell(w)); diff != "" {
				t.Error(diff)
			}
			for _, c := range w.Status.Conditions {
				// What was found before speaks of the generation of then.
				if c.ObservedGeneration != w.Generation && c.Type != v1alpha1.ConditionDrifted {
					t.Errorf("%s speaks of generation %d", c.Type, c.ObservedGeneration)
				}
			}
		})
	}
}

// TestSummarize_ACheckThatGoesOnCostsNoWrite: nor does one that is about to be made.
func TestSummarize_ACheckThatGoesOnCostsNoWrite(t *testing.T) {
	for _, test := range []struct {
		name  string
		scene scene
	}{
		{"about to be made",
			scene{workspace: ready().Schedule("@hourly"), runs: runs{ended("a", job.Applied)}, after: time.Hour}},
		{"made",
			scene{workspace: ready().Schedule("@hourly"),
				runs: runs{ended("a", job.Applied), made("t").Tick(testkit.At(time.Hour))}, after: time.Hour}},
		{"going on", scene{workspace: ready().Schedule("@hourly"), after: time.Hour,
			runs: runs{ended("a", job.Applied), made("t").Tick(testkit.At(time.Hour)).Launched(testkit.At(time.Hour))}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(ready().Obj().Status, summed(test.scene).Status); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSummarize_Drift(t *testing.T) {
	hour := testkit.At(time.Hour)
	tick := func(class job.Class, total int32) *testkit.RunBuilder {
		return made("t").Tick(hour).Operation(v1alpha1.OperationPlan).Launched(hour).Ended(class,
			hour).With(func(r *v1alpha1.Run) {
			if total > 0 {
				r.Status.Drift = &v1alpha1.DriftStatus{Total: total}
			}
			r.Status.Changes = &v1alpha1.Changes{Add: 1, Change: 1}
		})
	}
	later := made("u").Launched(hour).Ended(job.Applied, hour.Add(time.Minute))
	for _, test := range []struct {
		name  string
		runs  runs
		want  metav1.ConditionStatus
		total int32
	}{
		{"none before anything was compared", runs{}, "", 0},
		{"none after an apply", runs{ended("a", job.Applied)}, metav1.ConditionFalse, 0},
		{"found by a plan", runs{ended("a", job.Applied), tick(job.Planned, 3)}, metav1.ConditionTrue, 3},
		{"a plan that would change what did not drift", runs{ended("a", job.Applied), tick(job.Planned, 0)},
			metav1.ConditionTrue, 2},
		{"none found by a plan that changes outputs alone", runs{ended("a", job.Applied),
			tick(job.Planned, 0).With(func(r *v1alpha1.Run) { r.Status.Changes = &v1alpha1.Changes{} })},
			metav1.ConditionFalse, 0},
		{"what a plan would forget", runs{ended("a", job.Applied),
			tick(job.Planned, 0).With(func(r *v1alpha1.Run) { r.Status.Changes = &v1alpha1.Changes{Forget: 1} })},
			metav1.ConditionTrue, 1},
		{"none found by a plan", runs{ended("a", job.Applied), tick(job.NoChanges, 0)}, metav1.ConditionFalse, 0},
		{"corrected by an apply", runs{ended("a", job.Applied), tick(job.Planned, 3), later}, metav1.ConditionFalse, 0},
		{"a failed apply corrects nothing", runs{ended("a", job.Applied), tick(job.Planned, 3),
			made("u").Launched(hour).Ended(job.ApplyFailed, hour.Add(time.Minute))}, metav1.ConditionTrue, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := summed(scene{workspace: vpn().Schedule("@hourly").Report(), runs: test.runs, after: 2 * time.Hour})
			var got metav1.ConditionStatus
			if c := apimeta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionDrifted); c != nil {
				got = c.Status
			}
			var total int32
			if w.Status.Drift != nil {
				total = w.Status.Drift.Total
			}
			if got != test.want || total != test.total {
				t.Errorf("got %q and %d", got, total)
			}
		})
	}
}

func TestSummarize_WhatRunsSaidOutlivesThem(t *testing.T) {
	hour := testkit.At(time.Hour)
	w := summed(scene{workspace: vpn().Schedule("@hourly").Rerun("2"), after: 3 * time.Hour, runs: runs{
		ended("a", job.Applied).With(func(r *v1alpha1.Run) { r.Status.StateSerial = 7 }),
		made("t").Tick(hour).Launched(hour).Ended(job.NoChanges, hour.Add(time.Minute)),
		made("r").Trigger(v1alpha1.TriggerRerun, "2").Launched(hour).Ended(job.Transient, hour.Add(2*time.Minute)).Attempt(3),
	}}).Status
	want := v1alpha1.WorkspaceStatus{
		ObservedGeneration: 1, Conditions: w.Conditions, NextRunTime: w.NextRunTime,
		LastRun: &v1alpha1.LastRun{
			Name: "r", Trigger: v1alpha1.TriggerRerun, Operation: v1alpha1.OperationApply, Result: "Transient", Attempt: 3,
			FinishedAt: metav1.NewTime(hour.Add(2 * time.Minute)), InputsDigest: testkit.Digest,
			Message: "it ended as Transient",
		},
		Applied: &v1alpha1.Applied{
			Run: "t", InputsDigest: testkit.Digest, At: metav1.NewTime(hour.Add(time.Minute)),
			StateSerial: 7, // the check wrote no state
		},
		Backend: &v1alpha1.StatePlace{
			Type: job.OwnBackend, Digest: job.OwnBackend, Run: "t", At: new(metav1.NewTime(hour.Add(time.Minute))),
		},
		LastScheduleTime: new(metav1.NewTime(hour)), LastRerun: "2", Failures: 3, UID: "uid-of-vpn",
	}
	if diff := cmp.Diff(want, w); diff != "" {
		t.Error(diff)
	}
}

func TestNextRunTimeAndUntil(t *testing.T) {
	for _, test := range []struct {
		name  string
		scene scene
		next  string
		until time.Duration
	}{
		{"nothing will ask", scene{workspace: vpn(), runs: runs{ended("a", job.Applied)}}, "", 0},
		{"the schedule",
			scene{workspace: vpn().Schedule("@hourly"), runs: runs{ended("a", job.Applied)}, after: 20 * time.Minute},
			tickAtOne, 40 * time.Minute},
		{"a retry", scene{workspace: vpn(), runs: runs{ended("a", job.Transient)}, after: time.Minute},
			"2026-03-01T12:01:15Z", 15 * time.Second},
		{"whichever comes first",
			scene{workspace: vpn().Schedule("@hourly"), runs: runs{ended("a", job.PodLost).Attempt(9)}, after: 50 * time.Minute},
			"", 0}, // the retry is due
		{"a retry's delay rules, though a tick comes before its end",
			scene{workspace: vpn().Schedule("@every 5m"), runs: runs{ended("a", job.PodLost).Attempt(9)},
				after: 2 * time.Minute}, "2026-03-01T12:16:00Z", 14 * time.Minute},
		{"what is missing has no time, and is looked for", scene{workspace: vpn(), missing: "x"}, "", missingPatience},
		{"suspended", scene{workspace: vpn().Suspend().Schedule("@hourly"), runs: runs{ended("a", job.Applied)}}, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := test.scene.input()
			d := Next(in)
			summarize(in, d)
			got := ""
			if n := in.Workspace.Status.NextRunTime; n != nil {
				got = n.UTC().Format(time.RFC3339)
			}
			if got != test.next || until(in, d) != test.until {
				t.Errorf("got %q and %s", got, until(in, d))
			}
		})
	}
}

func TestSurplus(t *testing.T) {
	at := func(name string, class job.Class, n int) *testkit.RunBuilder {
		return made(name).With(func(r *v1alpha1.Run) {
			r.CreationTimestamp = metav1.NewTime(testkit.At(time.Duration(n) * time.Minute))
		}).
			Launched(testkit.Epoch).Ended(class, testkit.At(time.Duration(n)*time.Minute))
	}
	many := runs{
		at("s1", job.Applied, 1), at("s2", job.NoChanges, 2), at("s3", job.NoChanges, 3), at("s4", job.NoChanges, 4),
		at("f1", job.Transient, 5), at("f2", job.Transient, 6), at("f3", job.Transient, 7),
	}
	manual := at("m", job.Planned, 9).Manual().Operation(v1alpha1.OperationPlan)
	for _, test := range []struct {
		name      string
		workspace *testkit.WorkspaceBuilder
		runs      runs
		want      string
	}{
		{"three that succeeded and five that failed are kept", vpn(), many, "s1"},
		{"or as many as the Workspace says", vpn().History(1, 2), many, "f1 s3 s2 s1"},
		{"what goes on is no history", vpn().History(1, 1), runs{made("a").Launched(testkit.Epoch)}, ""},
		{"the Run that speaks for the Workspace stays", vpn().History(1, 1), runs{at("s1", job.Applied, 1), manual}, ""},
		{"a Run whose credentials are still to be revoked stays", vpn().History(1, 1), runs{
			at("f1", job.PodLost, 1).With(func(r *v1alpha1.Run) { r.Status.Revocation = v1alpha1.RevocationPending }),
			at("f2", job.PodLost, 2), at("f3", job.PodLost, 3),
		}, "f2"},
		{"what is being deleted is not deleted twice", vpn().History(1, 1), runs{
			at("s1", job.Applied, 1).With(func(r *v1alpha1.Run) { r.DeletionTimestamp = &r.CreationTimestamp }), at("s2",
				job.Applied, 2),
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var names []string
			for _, r := range surplus(scene{workspace: test.workspace, runs: test.runs}.input()) {
				names = append(names, r.Name)
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestForeignRunsAreLeftOut(t *testing.T) {
	other := ended("old", job.Applied).With(func(r *v1alpha1.Run) { r.OwnerReferences[0].UID = "of-an-earlier-vpn" })
	in := scene{workspace: vpn(), runs: runs{other}}.input()
	if len(in.Finished) != 0 || in.Last != nil {
		t.Errorf("got %v", in.Finished)
	}
}

// TestSummarizeIsTheOnlyWriterOfReady holds a house rule.
func TestSummarizeIsTheOnlyWriterOfReady(t *testing.T) {
	files, err := filepath.Glob("../*/*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d files, error %v", len(files), err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		writes := strings.Contains(string(text), "Type: v1alpha1.ConditionReady")
		if own := path == "../workspace/status.go"; writes != own && !strings.HasSuffix(path, "_test.go") {
			t.Errorf("%s writes Ready: %v", path, writes)
		}
	}
}
