package run

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// launched is a Run that was launched at Epoch, and its Pod.
func launched() *testkit.RunBuilder { return testkit.Run("vpn", "vpn-1").Launched(testkit.Epoch) }

// recorded is one whose Pod's UID is known.
func recorded(uid types.UID) *testkit.RunBuilder {
	return launched().With(func(r *v1alpha1.Run) { r.Status.PodUID = uid })
}

func podOf(r *testkit.RunBuilder) *testkit.PodBuilder { return testkit.Pod(r.Obj()) }

func result(c job.Class) job.Result { return job.Result{Class: c, Message: "said the driver"} }

func TestNext_BeforeTheLaunch(t *testing.T) {
	run := func() *testkit.RunBuilder { return testkit.Run("vpn", "vpn-1") }
	deletion := run().Trigger(v1alpha1.TriggerDeletion, "attempt 1")
	for _, test := range []struct {
		name      string
		run       *testkit.RunBuilder
		workspace *testkit.WorkspaceBuilder
		otherPod  string
		do        Do
		class     job.Class
		message   string
	}{
		{"nothing stands in the way", run(), testkit.Workspace("vpn"), "", Launch, "", ""},
		{"its Workspace doesn't exist", run().Manual(), nil, "", Note, "", `Workspace "vpn" does not exist`},
		{"canceled", run().Cancel(), testkit.Workspace("vpn"), "", Finish, job.Canceled, "before its Pod was created"},
		{"canceled, and its Workspace doesn't exist", run().Cancel(), nil, "", Finish, job.Canceled, "before its Pod"},
		{"its Workspace is being deleted", run(), testkit.Workspace("vpn").Deleting(), "", Finish, job.Canceled,
			"is being deleted"},
		{"it is the deletion's own", deletion, testkit.Workspace("vpn").Deleting(), "", Launch, "", ""},
		{"an earlier Run's Pod has not ended", run(), testkit.Workspace("vpn"), "vpn-0", Note, "", `Pod "vpn-0"`},
		{"an earlier Run's Pod has not ended, and this one is the deletion's", deletion,
			testkit.Workspace("vpn").Deleting(), "vpn-0", Note, "", `"vpn-0"`},
		{"its Workspace was suspended meanwhile", run(), testkit.Workspace("vpn").Suspend(), "", Note, "", "spec.suspend"},
		{"a person asked for it in spite of the suspension", run().Manual(), testkit.Workspace("vpn").Suspend(), "",
			Launch, "", ""},
		{"a deletion of a suspended Workspace", deletion, testkit.Workspace("vpn").Suspend().Deleting(), "", Launch, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := Input{Run: test.run.Obj(), OtherPod: test.otherPod, Now: testkit.Epoch}
			if test.workspace != nil {
				in.Workspace = test.workspace.Obj()
			}
			d := Next(in)
			if d.Do != test.do || d.Class != test.class || !strings.Contains(d.Message, test.message) {
				t.Errorf("got %+v", d)
			}
		})
	}
}

func TestNext_AfterTheLaunch(t *testing.T) {
	running := podOf(launched()).Running(testkit.Epoch)
	drained := func(p *testkit.PodBuilder) *testkit.PodBuilder {
		return p.Condition(corev1.DisruptionTarget, corev1.ConditionTrue, "EvictionByEvictionAPI", "drained")
	}
	for _, test := range []struct {
		name    string
		run     *testkit.RunBuilder
		pod     *testkit.PodBuilder
		gone    bool
		after   time.Duration
		do      Do
		class   job.Class
		reason  string
		message string
	}{
		{"no Pod was seen: a cache may lag", launched(), nil, false, 0, Look, "", "", ""},
		{"the API server has no Pod yet: a controller of an earlier release may be creating it", launched(), nil, true,
			creating / 2, Note, "",
			v1alpha1.ReasonLaunching, "creating Pod vpn-1"},
		{"the API server has no Pod, and had it: its record follows it", recorded("uid"), nil, true, 0, Note, "",
			v1alpha1.ReasonPodGone, "Pod vpn-1 is gone"},
		{"no node takes it", launched(), podOf(launched()).Condition(corev1.PodScheduled, corev1.ConditionFalse,
			"Unschedulable", "0/3 nodes are available"), false, 48 * time.Hour, Note, "", v1alpha1.ReasonUnschedulable,
			"0/3 nodes are available"},
		{"the API server has no Pod either: its node may still be ending it", launched(), nil, true, creating, Note, "",
			v1alpha1.ReasonPodGone, "Pod vpn-1 is gone"},
		{"gone a moment ago", launched().PodGone(testkit.Epoch), nil, true, dying - time.Second, Note, "",
			v1alpha1.ReasonPodGone, ""},
		{"gone, and the driver's last word came", launched().PodGone(testkit.Epoch).Reported(result(job.Canceled)), nil, true,
			creating, Finish, job.PodLost, "", "from outside"},
		{"gone for long enough", launched().PodGone(testkit.Epoch), nil, true, dying, Finish, job.PodLost, "",
			"left no result"},
		{"gone after it was canceled", launched().Cancel().PodGone(testkit.Epoch), nil, true, dying, Finish, job.Canceled, "",
			""},
		{"young: no write for what will be over soon", launched(), running, false, 5 * time.Second, Note, "",
			v1alpha1.ReasonLaunching, "creating Pod vpn-1"},
		{"running for a while", launched(), running, false, settle, Note, "", v1alpha1.ReasonRunning,
			"Terraform runs in Pod vpn-1"},
		{"not started after a while", launched(), podOf(launched()).Waiting("ContainerCreating", ""), false, settle,
			Note, "", v1alpha1.ReasonLaunching, "ContainerCreating"},
		{"reported by the short way while the Pod still runs", launched().Reported(result(job.Applied)), running, false,
			0, Finish, job.Applied, "", "said the driver"},
		{"reported, and the Pod was never seen", launched().Reported(result(job.Applied)), nil, false, 0, Finish,
			job.Applied, "", ""},
		{"said in the termination message", launched(), podOf(launched()).Said(result(job.ApplyFailed)), false, 0,
			Finish, job.ApplyFailed, "", "said the driver"},
		{"a report of another Run counts for nothing", launched().Reported(result(job.Applied)).With(func(r *v1alpha1.Run) {
			r.Status.Reported.Raw = []byte(`{"class":"Applied","run":"vpn-0"}`)
		}), running, false, 0, Note, "", v1alpha1.ReasonLaunching, ""},
		{"a report that is none counts for nothing", launched().Reported(result(job.Applied)).With(func(r *v1alpha1.Run) {
			r.Status.Reported.Raw = []byte(`{"class":7}`)
		}), running, false, 0, Note, "", v1alpha1.ReasonLaunching, ""},
		{"canceled: the Pod is asked to stop", launched().Cancel(), running, false, 0, End, "", v1alpha1.ReasonCanceling, ""},
		{"canceled: the Pod is on its way out", launched().Cancel(),
			podOf(launched()).Running(testkit.Epoch).Deleting(testkit.Epoch), false, time.Second, Note, "",
			v1alpha1.ReasonCanceling, ""},
		{"canceled: the driver says so", launched().Cancel().Reported(result(job.Canceled)), running, false, 0, Finish,
			job.Canceled, "", "said the driver"},
		{"canceled too late: it had applied", launched().Cancel().Reported(result(job.Applied)), running, false, 0,
			Finish, job.Applied, "", ""},
		{"canceled: the Pod was killed without a word", launched().Cancel(),
			podOf(launched()).Failed("", "").Terminated("Error", 137, ""), false, 0, Finish, job.Canceled, "", "canceled"},
		{"the Pod was deleted, and the driver could still say that it stopped", launched(),
			podOf(launched()).Said(result(job.Canceled)).Deleting(testkit.Epoch), false, 0, Finish, job.PodLost, "",
			"from outside"},
		{"the Pod was deleted, and the report came before its end", launched().Reported(result(job.Canceled)),
			podOf(launched()).Running(testkit.Epoch).Deleting(testkit.Epoch), false, 0, Finish, job.PodLost, "", "from outside"},
		{"the node was drained, and the report came before the Pod's end", launched().Reported(result(job.Canceled)),
			drained(podOf(launched()).Running(testkit.Epoch).Deleting(testkit.Epoch)), false, 0, Finish,
			job.Evicted, "", "drained"},
		{"stopped by the kubelet, which says why only at the Pod's end", launched().Reported(result(job.Canceled)),
			running, false, 0, Note, "", v1alpha1.ReasonLaunching, ""},
		{"Canceled result on an evicted Pod", launched().Reported(result(job.Canceled)),
			podOf(launched()).Failed("Evicted", "low on disk"), false, 0, Finish, job.Evicted, "", "low on disk"},
		{"Canceled result on a Pod past its deadline", launched().Reported(result(job.Canceled)),
			podOf(launched()).Failed("DeadlineExceeded", ""), false, 0, Finish, job.TimedOut, "", "deadline"},
		{"out of memory", launched(), podOf(launched()).Failed("", "").Terminated("OOMKilled", 137, ""), false, 0,
			Finish, job.OOMKilled, "", ""},
		{"an image that can't be pulled", launched(), podOf(launched()).Waiting("ErrImagePull", ""), false, time.Minute,
			Abandon, job.ImageUnavailable, "", ""},
		{"past the deadline, and its kubelet doesn't end it", launched(), running, false, time.Hour + overtime, Abandon,
			job.TimedOut, "", "its node did not end it"},
		{"asked to stop from outside", launched(), podOf(launched()).Running(testkit.Epoch).Deleting(testkit.Epoch),
			false, time.Second, Note, "", v1alpha1.ReasonCanceling, "asked to stop"},
		{"asked to stop, and its node doesn't answer", launched(),
			podOf(launched()).Running(testkit.Epoch).Deleting(testkit.Epoch), false, time.Minute, Note, "",
			v1alpha1.ReasonCanceling, `node "node-1"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := Input{Run: test.run.Obj(), Workspace: testkit.Workspace("vpn").Obj(), Gone: test.gone,
				Now: testkit.At(test.after)}
			if test.pod != nil {
				in.Pod = test.pod.Obj()
			}
			d := Next(in)
			if d.Do != test.do || d.Class != test.class || d.Reason != test.reason || !strings.Contains(d.Message,
				test.message) {
				t.Errorf("got %+v", d)
			}
		})
	}
}

// TestNext_NothingWaitsForEver: what goes on without a Pod that tells has a timer.
func TestNext_NothingWaitsForEver(t *testing.T) {
	for _, test := range []struct {
		name string
		run  *testkit.RunBuilder
		pod  *testkit.PodBuilder
	}{
		{"waiting for its image", launched(), podOf(launched()).Waiting("ErrImagePull", "")},
		{"taken by a node that does nothing", launched(), podOf(launched())},
		{"running on a node that may be lost", launched(), podOf(launched()).Running(testkit.Epoch)},
		{"reported as stopped", launched().Reported(result(job.Canceled)), podOf(launched()).Running(testkit.Epoch)},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := Input{Run: test.run.Obj(), Workspace: testkit.Workspace("vpn").Obj(), Pod: test.pod.Obj(), Now: testkit.Epoch}
			for range 20 {
				d := Next(in)
				if d.Do == Abandon || d.Do == Finish {
					return
				}
				if d.Recheck <= 0 {
					t.Fatalf("at %s nothing is waited for: %+v", in.Now.Sub(testkit.Epoch), d)
				}
				in.Now = in.Now.Add(d.Recheck)
			}
			t.Fatal("it was looked at 20 times and still goes on")
		})
	}
}

func TestTurn(t *testing.T) {
	run := func(name string, created time.Duration) *testkit.RunBuilder {
		return testkit.Run("vpn", name).Created(testkit.At(created))
	}
	ended := run("done", 0).Launched(testkit.Epoch).Ended(job.Applied, testkit.Epoch)
	going := run("deleted", 0).With(func(r *v1alpha1.Run) { r.DeletionTimestamp = &r.CreationTimestamp })
	half := run("half", 0).Ended(job.Applied, testkit.Epoch).With(func(r *v1alpha1.Run) { r.Status.FinishedAt = nil })
	for _, test := range []struct {
		name string
		runs []*testkit.RunBuilder
		want string
	}{
		{"none", nil, ""},
		{"finished Runs have had theirs", []*testkit.RunBuilder{ended}, ""},
		{"deleted Runs get none", []*testkit.RunBuilder{going}, ""},
		{"the oldest", []*testkit.RunBuilder{run("b", 2), run("a", 1), ended}, "a"},
		{"of one age the first by name", []*testkit.RunBuilder{run("b", 1), run("a", 1)}, "a"},
		{"the one under way, though older ones wait",
			[]*testkit.RunBuilder{run("a", 1), run("b", 2).Launched(testkit.Epoch)}, "b"},
		{"one that only says that it ended has not", []*testkit.RunBuilder{half}, "half"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var runs []v1alpha1.Run
			for _, b := range test.runs {
				runs = append(runs, *b.Obj())
			}
			got := ""
			if r := Turn(runs); r != nil {
				got = r.Name
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
