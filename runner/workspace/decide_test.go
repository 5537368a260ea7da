package workspace

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// scene is a Workspace with its Runs, from which the pure part of gather makes an Input.
type scene struct {
	workspace *testkit.WorkspaceBuilder
	runs      []*testkit.RunBuilder
	// digest of the current inputs; testkit.Digest when empty.
	digest  string
	missing string
	// after Epoch.
	after time.Duration
	retry RetryPolicy
}

func (s scene) input() Input {
	in := Input{Workspace: s.workspace.Obj(), Reruns: map[string]bool{}, Unlocks: map[string]bool{},
		Now: testkit.At(s.after), Retry: s.retry}
	if in.Retry == (RetryPolicy{}) {
		in.Retry = retryPolicy(in.Workspace, nil)
	}
	var runs []v1alpha1.Run
	for _, b := range s.runs {
		runs = append(runs, *b.Obj())
	}
	in.sort(runs)
	if in.asksForDigest() {
		in.Digest = s.digest
		if s.digest == "" {
			in.Digest = testkit.Digest
		}
	}
	if s.missing != "" {
		in.Digest, in.Missing, in.MissingReason = "", s.missing, v1alpha1.ReasonInputsMissing
	}
	in.ticks()
	return in
}

func vpn() *testkit.WorkspaceBuilder { return testkit.Workspace("vpn") }

func made(name string) *testkit.RunBuilder { return testkit.Run("vpn", name) }

// ended is a Run that was launched at Epoch and ended a minute later.
func ended(name string, class job.Class) *testkit.RunBuilder {
	return made(name).Launched(testkit.Epoch).Ended(class, testkit.At(time.Minute))
}

type runs = []*testkit.RunBuilder

const tickAtOne = "2026-03-01T13:00:00Z"

func TestNext(t *testing.T) {
	const (
		minute   = time.Minute
		change   = v1alpha1.TriggerChange
		rerunBy  = v1alpha1.TriggerRerun
		retry    = v1alpha1.TriggerRetry
		schedule = v1alpha1.TriggerSchedule
	)
	created := func(kind v1alpha1.TriggerKind, key string, attempt int32) Decision {
		return Decision{
			Do: Create, Operation: v1alpha1.OperationApply, Trigger: v1alpha1.Trigger{Kind: kind, Key: key}, Attempt: attempt,
		}
	}
	planned := func(d Decision) Decision { d.Operation = v1alpha1.OperationPlan; return d }
	wait := func(at time.Time, reason, message string) Decision {
		return Decision{Do: Wait, At: at, Reason: reason, Message: message}
	}
	stalled := func(at time.Time, class job.Class) Decision {
		return Decision{Do: Wait, At: at, Stalled: true, Reason: string(class), Message: "it ended as " + string(class)}
	}
	failed := func(class job.Class, attempt int32) *testkit.RunBuilder { return ended("a", class).Attempt(attempt) }
	tick := func(at time.Duration) *testkit.RunBuilder {
		return made("tick").Tick(testkit.At(at)).Operation(v1alpha1.OperationPlan)
	}
	hour := testkit.At(time.Hour)
	never := time.Time{}
	for _, test := range []struct {
		name  string
		scene scene
		want  Decision
	}{
		{"a new Workspace is a change after nothing", scene{workspace: vpn()},
			created(change, "0123456789ab after nothing", 1)},
		{"one that is in sync waits for ever", scene{workspace: vpn(), runs: runs{ended("a", job.Applied)}},
			Decision{Do: Wait}},
		{"one with a schedule waits for its next tick",
			scene{workspace: vpn().Schedule("@hourly"), runs: runs{ended("a", job.Applied)}},
			Decision{Do: Wait, At: hour}},
		{"a Run that goes on is waited for", scene{workspace: vpn(), runs: runs{made("a").Launched(testkit.Epoch)}},
			wait(never, v1alpha1.ReasonProgressing, "Run a (Apply, Change) goes on")},
		{"a Run that waits says for what", scene{workspace: vpn(), runs: runs{made("a").Pending("no Secret")}},
			wait(never, v1alpha1.ReasonProgressing, "Run a (Apply, Change) waits: no Secret")},
		{"a person's Run is waited for too", scene{workspace: vpn(), runs: runs{made("m").Manual()}},
			wait(never, v1alpha1.ReasonProgressing, "Run m (Apply, Manual) goes on")},

		// Changes.
		{"other inputs are a change",
			scene{workspace: vpn(), runs: runs{ended("a", job.Applied)}, digest: "fedcba9876543210"},
			created(change, "fedcba987654 after a", 1)},
		{"A, then B, then A again: each is a change of its own", scene{workspace: vpn(), runs: runs{
			ended("a", job.Applied), made("b").Launched(testkit.At(minute)).Given("fedcba9876543210", 1).Ended(job.Applied,
				testkit.At(2*minute)),
		}}, created(change, "0123456789ab after b", 1)},
		{"an edit that changes no input is no change after a success",
			scene{workspace: vpn().Generation(2), runs: runs{ended("a", job.Applied)}}, Decision{Do: Wait}},
		{"an edit that changes no input may be the cure of a failure",
			scene{workspace: vpn().Generation(2), runs: runs{ended("a", job.OOMKilled)}}, created(change,
				"0123456789ab after a", 1)},
		{"also of one that needs a person", scene{workspace: vpn().Generation(2), runs: runs{ended("a", job.ConfigInvalid)}},
			created(change, "0123456789ab after a", 1)},
		{"a change ends a series of retries",
			scene{workspace: vpn(), runs: runs{failed(job.PodLost, 7)}, digest: "fedcba9876543210"},
			created(change, "fedcba987654 after a", 1)},
		{"the last apply counts when its Run is gone", scene{workspace: vpn().With(func(w *v1alpha1.Workspace) {
			w.Status.Applied = &v1alpha1.Applied{Run: "gone", InputsDigest: testkit.Digest}
		})}, Decision{Do: Wait}},
		{"a change while a plan was about to run isn't lost",
			scene{workspace: vpn().Schedule("@hourly").Report(), digest: "fedcba9876543210",
				runs: runs{ended("a", job.Applied),
					tick(time.Hour).Launched(hour).Given("fedcba9876543210", 2).Ended(job.Planned, hour.Add(minute))},
				after: 62 * minute}, created(change, "fedcba987654 after a", 1)},
		{"a person's plan answers for nothing", scene{workspace: vpn(), runs: runs{
			ended("a", job.Applied), ended("p", job.PlanFailed).Manual().Operation(v1alpha1.OperationPlan),
		}}, Decision{Do: Wait}},
		{"nor does a part of an apply", scene{workspace: vpn(), runs: runs{
			ended("a", job.Applied), ended("p", job.ApplyFailed).With(func(r *v1alpha1.Run) { r.Spec.Targets = []string{"x"} }),
		}}, Decision{Do: Wait}},
		{"a person's whole apply does", scene{workspace: vpn(), runs: runs{ended("m", job.Applied).Manual()}},
			Decision{Do: Wait}},

		// Reruns.
		{"a rerun is asked for", scene{workspace: vpn().Rerun("1"), runs: runs{ended("a", job.Applied)}},
			created(rerunBy, "1", 1)},
		{"a rerun that has a Run is answered", scene{workspace: vpn().Rerun("1"), runs: runs{
			ended("a", job.Applied), ended("r", job.NoChanges).Trigger(rerunBy, "1"),
		}}, Decision{Do: Wait}},
		{"also when that Run is gone",
			scene{workspace: vpn().Rerun("1").With(func(w *v1alpha1.Workspace) { w.Status.LastRerun = "1" }),
				runs: runs{ended("a", job.Applied)}}, Decision{Do: Wait}},
		{"another value asks again",
			scene{workspace: vpn().Rerun("2"), runs: runs{ended("r", job.NoChanges).Trigger(rerunBy, "1")}},
			created(rerunBy, "2", 1)},
		{"a rerun starts a stalled Workspace",
			scene{workspace: vpn().Rerun("1"), runs: runs{ended("a", job.ConfigInvalid)}}, created(rerunBy, "1", 1)},
		{"a rerun doesn't wait for a retry's delay",
			scene{workspace: vpn().Rerun("1"), runs: runs{failed(job.Transient, 4)}, after: minute},
			created(rerunBy, "1", 1)},
		{"a rerun that was canceled before its launch is answered", scene{workspace: vpn().Rerun("1"), runs: runs{
			ended("a", job.Applied), made("r").Trigger(rerunBy, "1").Ended(job.Canceled, testkit.At(2*minute)),
		}}, Decision{Do: Wait}},
		{"a value longer than a key may be is hashed",
			scene{workspace: vpn().Rerun(strings.Repeat("x", 10000)), runs: runs{ended("a", job.Applied)}},
			created(rerunBy, rerunKey(vpn().Rerun(strings.Repeat("x", 10000)).Obj()), 1)},
		{"a lock's release is asked for", scene{workspace: unlocking("7"), runs: runs{inS3(ended("a", job.StateLocked))}},
			releasing(created(rerunBy, "unlock 7", 1), "7")},
		{"it was done once", scene{workspace: unlocking("7"), runs: runs{inS3(ended("a", job.Applied)),
			inS3(ended("b", job.NoChanges)).Trigger(rerunBy, "unlock 7").With(func(r *v1alpha1.Run) {
				r.Spec.ForceUnlock = "7"
			}),
		}}, Decision{Do: Wait}},
		{"also when that Run is gone", scene{workspace: unlocking("7").With(func(w *v1alpha1.Workspace) {
			w.Status.LastUnlock = "7"
		}), runs: runs{inS3(ended("a", job.Applied))}}, Decision{Do: Wait}},
		{"the state service's locks have other ways", scene{workspace: unlocking("7").With(func(w *v1alpha1.Workspace) {
			w.Spec.Backend = nil
		}), runs: runs{ended("a", job.Applied)}}, Decision{Do: Wait}},
		{"a rerun and a change are one Run",
			scene{workspace: vpn().Rerun("1"), runs: runs{ended("a", job.Applied)}, digest: "fedcba9876543210"},
			created(rerunBy, "1", 1)},

		// Retries.
		{"a failed Run waits for its delay", scene{workspace: vpn(), runs: runs{failed(job.Transient, 1)}, after: minute},
			wait(testkit.At(minute+15*time.Second), "Transient", "it ended as Transient")},
		{"and then is tried again",
			scene{workspace: vpn(), runs: runs{failed(job.Transient, 1)}, after: minute + 15*time.Second},
			created(retry, "a", 2)},
		{"the delay doubles", scene{workspace: vpn(), runs: runs{failed(job.Transient, 3)}, after: minute},
			wait(testkit.At(2*minute), "Transient", "it ended as Transient")},
		{"the limit's last retry", scene{workspace: vpn(), runs: runs{failed(job.Transient, 5)}, after: time.Hour},
			created(retry, "a", 6)},
		{"after the limit a person is needed",
			scene{workspace: vpn(), runs: runs{failed(job.Transient, 6)}, after: time.Hour}, stalled(never, job.Transient)},
		{"a limit of none", scene{workspace: vpn(), runs: runs{failed(job.Transient, 1)}, after: time.Hour,
			retry: RetryPolicy{Limit: 0, MinDelay: time.Second, MaxDelay: time.Minute}}, stalled(never, job.Transient)},
		{"what lies in the surroundings is retried past the limit",
			scene{workspace: vpn(), runs: runs{failed(job.PodLost, 50)}, after: time.Hour},
			created(retry, "a", 51)},
		{"but never oftener than the cap", scene{workspace: vpn(), runs: runs{failed(job.PodLost, 50)}, after: minute},
			wait(testkit.At(16*minute), "PodLost", "it ended as PodLost")},
		{"a wrong configuration is not retried",
			scene{workspace: vpn(), runs: runs{failed(job.ConfigInvalid, 1)}, after: time.Hour},
			stalled(never, job.ConfigInvalid)},
		{"nor is what a person canceled",
			scene{workspace: vpn(), runs: runs{failed(job.Canceled, 1)}, after: time.Hour}, stalled(never, job.Canceled)},
		{"a change canceled before its launch isn't made again", scene{workspace: vpn(), runs: runs{
			made("a").Given(testkit.Digest, 1).Ended(job.Canceled, testkit.Epoch),
		}}, stalled(never, job.Canceled)},
		{"a retry keeps the operation", scene{workspace: vpn().Schedule("@hourly").Report(), after: 70 * minute, runs: runs{
			ended("a", job.Applied), tick(time.Hour).Launched(hour).Ended(job.Transient, hour),
		}}, planned(created(retry, "tick", 2))},
		{"a plan that ended well cures the plans before it",
			scene{workspace: vpn().Schedule("@hourly").Report(), after: 70 * minute, runs: runs{
				ended("a", job.Applied), tick(time.Hour).Launched(hour).Ended(job.Transient, hour),
				made("r").Trigger(retry, "tick").Operation(v1alpha1.OperationPlan).Launched(hour).Ended(job.NoChanges,
					hour.Add(minute)),
			}}, Decision{Do: Wait, At: testkit.At(2 * time.Hour)}},
		{"a plan that ended well doesn't cure a failed apply",
			scene{workspace: vpn().Schedule("@hourly").Report(), after: 70 * minute, runs: runs{
				ended("a", job.ConfigInvalid), tick(time.Hour).Launched(hour).Ended(job.Planned, hour.Add(minute)),
			}}, stalled(testkit.At(2*time.Hour), job.ConfigInvalid)},

		// Schedules.
		{"a tick starts a Run",
			scene{workspace: vpn().Schedule("@hourly"), runs: runs{ended("a", job.Applied)}, after: time.Hour},
			created(schedule, tickAtOne, 1)},
		{"a tick plans only where drift is reported",
			scene{workspace: vpn().Schedule("@hourly").Report(), runs: runs{ended("a", job.Applied)}, after: time.Hour},
			planned(created(schedule, tickAtOne, 1))},
		{"a tick that has a Run is over", scene{workspace: vpn().Schedule("@hourly"), after: 62 * minute, runs: runs{
			ended("a", job.Applied), made("t").Tick(hour).Launched(hour).Ended(job.NoChanges, hour.Add(minute)),
		}}, Decision{Do: Wait, At: testkit.At(2 * time.Hour)}},
		{"a tick that was acted on and forgotten is over",
			scene{workspace: vpn().Schedule("@hourly").With(func(w *v1alpha1.Workspace) {
				w.Status.LastScheduleTime = new(metav1.NewTime(hour))
			}), runs: runs{ended("a", job.Applied)}, after: 62 * minute}, Decision{Do: Wait, At: testkit.At(2 * time.Hour)}},
		{"a tick whose Run was canceled before its launch is over",
			scene{workspace: vpn().Schedule("@hourly"), after: 62 * minute, runs: runs{
				ended("a", job.Applied), made("t").Tick(hour).Ended(job.Canceled, hour.Add(minute)),
			}}, Decision{Do: Wait, At: testkit.At(2 * time.Hour)}},
		{"missed ticks are one",
			scene{workspace: vpn().Schedule("@hourly"), runs: runs{ended("a", job.Applied)}, after: 5*time.Hour + minute},
			created(schedule, "2026-03-01T17:00:00Z", 1)},
		{"a change goes before a tick",
			scene{workspace: vpn().Schedule("@hourly"), runs: runs{ended("a", job.Applied)}, digest: "fedcba9876543210",
				after: time.Hour},
			created(change, "fedcba987654 after a", 1)},
		{"a retry that is due goes before a tick",
			scene{workspace: vpn().Schedule("@hourly"), runs: runs{failed(job.Transient, 1)}, after: time.Hour},
			created(retry, "a", 2)},
		{"while a retry waits, ticks wait too",
			scene{workspace: vpn().Schedule("@every 1m"), runs: runs{failed(job.PodLost, 9)}, after: 5 * minute},
			wait(testkit.At(16*minute), "PodLost", "it ended as PodLost")},
		{"a stalled Workspace is tried again by its schedule",
			scene{workspace: vpn().Schedule("@hourly"), runs: runs{failed(job.ConfigInvalid, 1)}, after: time.Hour},
			created(schedule, tickAtOne, 1)},
		{"and says when",
			scene{workspace: vpn().Schedule("@hourly"), runs: runs{failed(job.ConfigInvalid, 1)}, after: minute},
			stalled(hour, job.ConfigInvalid)},
		{"a schedule that is none stops the Workspace", scene{workspace: vpn().Schedule("0 0 30 2 *")},
			Decision{Do: Wait, Stalled: true, Reason: "ConfigInvalid",
				Message: `spec.drift.schedule "0 0 30 2 *" has a date that never comes`}},

		// What is missing, and suspension.
		{"what is missing is waited for", scene{workspace: vpn(), missing: `Secret "s" does not exist`},
			wait(testkit.At(missingPatience), v1alpha1.ReasonInputsMissing, `Secret "s" does not exist`)},
		{"a rerun waits for it too", scene{workspace: vpn().Rerun("1"), missing: "x"},
			wait(testkit.At(missingPatience), v1alpha1.ReasonInputsMissing, "x")},
		{"a suspended Workspace does nothing new",
			scene{workspace: vpn().Suspend().Rerun("1").Schedule("@hourly"), after: 2 * time.Hour},
			wait(never, v1alpha1.ReasonSuspended, "spec.suspend is set")},
		{"it finishes what goes on", scene{workspace: vpn().Suspend(), runs: runs{made("a").Launched(testkit.Epoch)}},
			wait(never, v1alpha1.ReasonProgressing, "Run a (Apply, Change) goes on")},
		{"a suspension is no question of what is missing", scene{workspace: vpn().Suspend(), missing: "x"},
			wait(never, v1alpha1.ReasonSuspended, "spec.suspend is set")},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Next(test.scene.input())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNext_DoesNotDependOnTheListsOrder: whatever the order of the list that the API server answers with.
func TestNext_DoesNotDependOnTheListsOrder(t *testing.T) {
	s := scene{workspace: vpn().Schedule("@hourly"), after: 70 * time.Minute, runs: runs{
		ended("a", job.Applied), made("b").Launched(testkit.At(2*time.Minute)).Ended(job.Transient,
			testkit.At(3*time.Minute)),
		made("c").Launched(testkit.At(4*time.Minute)).Ended(job.PodLost, testkit.At(5*time.Minute)).Attempt(2),
	}}
	want := Next(s.input())
	slices.Reverse(s.runs)
	if diff := cmp.Diff(want, Next(s.input())); diff != "" {
		t.Error(diff)
	}
}

// TestNext_TwoRunsThatEndedInOneSecond: times are kept in seconds, and the names say nothing of the order.
func TestNext_TwoRunsThatEndedInOneSecond(t *testing.T) {
	written := func(version string) func(*v1alpha1.Run) {
		return func(r *v1alpha1.Run) { r.ResourceVersion = version }
	}
	s := scene{workspace: vpn(), runs: runs{
		ended("z", job.Applied).Given("fedcba9876543210", 1).With(written("99")), ended("a",
			job.Applied).With(written("100")),
	}}
	if diff := cmp.Diff(Decision{Do: Wait}, Next(s.input())); diff != "" {
		t.Error(diff)
	}
}

func TestDelay(t *testing.T) {
	p := RetryPolicy{MinDelay: 15 * time.Second, MaxDelay: 15 * time.Minute}
	for _, test := range []struct {
		name    string
		policy  RetryPolicy
		attempt int32
		want    time.Duration
	}{
		{"the first retry comes after minDelay", p, 1, 15 * time.Second},
		{"then twice as long", p, 2, 30 * time.Second},
		{"each time", p, 6, 8 * time.Minute},
		{"up to maxDelay", p, 7, 15 * time.Minute},
		{"for ever", p, 1 << 30, 15 * time.Minute},
		{"a maxDelay below minDelay wins", RetryPolicy{MinDelay: time.Hour, MaxDelay: time.Minute}, 1, time.Minute},
		{"no delay would be a storm", RetryPolicy{MaxDelay: time.Hour}, 1, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := delay(test.policy, test.attempt); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestDeniedIsRetriedSlowly: for as long as it takes, and from a minute on.
func TestDeniedIsRetriedSlowly(t *testing.T) {
	minutes := func(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Minute} }
	for _, test := range []struct {
		name    string
		retry   *v1alpha1.Retry
		class   job.Class
		attempt int32
		want    time.Duration
	}{
		{"the first time", nil, job.CredentialsDenied, 1, time.Minute},
		{"then twice as long", nil, job.CredentialsDenied, 2, 2 * time.Minute},
		{"and without an end", nil, job.CredentialsDenied, 1000, 15 * time.Minute},
		{"slower still where the Workspace says so", &v1alpha1.Retry{MinDelay: minutes(5)}, job.CredentialsDenied, 1,
			5 * time.Minute},
		{"but not over maxDelay", &v1alpha1.Retry{MaxDelay: &metav1.Duration{Duration: time.Second}},
			job.CredentialsDenied, 1, time.Second},
		{"a server that is away is asked sooner", nil, job.CredentialsUnavailable, 1, 15 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := vpn().With(func(w *v1alpha1.Workspace) { w.Spec.Retry = test.retry })
			in := scene{workspace: w, runs: runs{ended("a", test.class).Attempt(test.attempt)}}.input()
			at, again := retryAt(in, in.Last)
			if want := testkit.At(time.Minute + test.want); !again || !at.Equal(want) {
				t.Errorf("got %s, %v; want %s", at, again, want)
			}
		})
	}
}

func TestRetryPolicy(t *testing.T) {
	class := testkit.Class("x")
	class.Spec.Retry = &v1alpha1.Retry{Limit: new(int32(3)), MinDelay: &metav1.Duration{Duration: time.Minute}}
	w := vpn().With(func(w *v1alpha1.Workspace) { w.Spec.Retry = &v1alpha1.Retry{Limit: new(int32(0))} }).Obj()
	want := RetryPolicy{Limit: 0, MinDelay: time.Minute, MaxDelay: 15 * time.Minute}
	if diff := cmp.Diff(want, retryPolicy(w, class)); diff != "" {
		t.Error(diff)
	}
}
