package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
)

const (
	ofWS     = people.Prefix + "/namespaces/ns/workspaces/ws"
	ofRun    = people.Prefix + "/namespaces/ns/runs/"
	objects  = "/apis/plumbline.dev/v1alpha1/namespaces/ns/"
	podLog   = "/api/v1/namespaces/ns/pods/"
	forbids  = metav1.StatusReasonForbidden
	notFound = metav1.StatusReasonNotFound
)

func (r result) want(t *testing.T, parts ...string) {
	t.Helper()
	if r.failed != nil {
		t.Fatalf("failed: %s\n%s", Explain(r.failed), r.err)
	}
	for _, part := range parts {
		if !strings.Contains(r.out, part) {
			t.Errorf("it does not say %q:\n%s", part, r.out)
		}
	}
}

func (r result) wantFailure(t *testing.T, parts ...string) {
	t.Helper()
	if r.failed == nil {
		t.Fatalf("it did not fail:\n%s", r.out)
	}
	for _, part := range parts {
		if text := Explain(r.failed); !strings.Contains(text, part) {
			t.Errorf("the error does not say %q: %s", part, text)
		}
	}
}

func TestStateList(t *testing.T) {
	a := newAPI(t)
	a.says("GET "+ofWS+"/state/versions", people.Versions{Versions: []state.Version{
		{Number: 4, At: now.Add(-time.Minute), Person: "alice", Why: "bad apply", RollbackOf: 2, Serial: 9, Size: 20 << 10},
		{Number: 3, At: now.Add(-time.Hour), Run: "ws-b", Serial: 8, Size: 30, Digest: "sha256:0123456789abcdef"},
		{Number: 2, At: now.Add(-2 * time.Hour), Person: "bob", Why: "imported", Serial: 7, Size: 31},
		{Number: 1, Serial: 6, CopyOf: 1},
	}})
	got := a.plumbline(t, "", "state", "list", "ws")
	got.want(t, "VERSION", "rollback to 2: bad apply", "20 KiB", "60m", "run ws-b", "sha256:0123456789ab ",
		"pushed: imported")
	a.says("GET "+ofWS+"/state/versions", people.Versions{})
	if got := a.plumbline(t, "", "state", "list", "ws"); got.failed != nil || !strings.Contains(got.err, "No state") {
		t.Errorf("nothing: got %+v", got)
	}
}

const secretState = `{"version":4,"terraform_version":"1.11.4","serial":7,"lineage":"l",
"outputs":{"url":{"value":"VALUE","type":"string"},"key":{"value":"VALUE","type":"string","sensitive":true}},
"resources":[{"mode":"managed","type":"aws_vpc","name":"main","instances":[{"attributes":{"x":"VALUE"}}]},
{"module":"module.m","mode":"data","type":"aws_ami","name":"a","instances":[{},{}]}]}`

func TestStateShowTellsNoValues(t *testing.T) {
	a := newAPI(t)
	a.says("GET "+ofWS+"/state", secretState)
	a.says("GET "+ofWS+"/lock", state.LockStatus{
		Held: true, Holder: &state.Holder{Run: "ws-b", Pod: "ws-b"}, ID: "7", Since: now.Add(-time.Minute),
	})
	got := a.plumbline(t, "", "state", "show", "ws")
	got.want(t, "Serial:    7", "aws_vpc.main\n", "module.m.data.aws_ami.a (2 instances)", "key (sensitive)", "url\n",
		"held by run ws-b in pod ws-b for 60s, ID 7")
	if strings.Contains(got.out, "VALUE") {
		t.Errorf("it tells a value:\n%s", got.out)
	}
	a.says("GET "+ofWS+"/lock", refuse(403, forbids, "no right"))
	a.plumbline(t, "", "state", "show", "ws").want(t, "unknown: no right")
	a.says("GET "+ofWS+"/state", refuse(404, notFound, "workspace ws has no state"))
	a.plumbline(t, "", "state", "show", "ws").want(t, "workspace ws has no state")
}

func TestStatePull(t *testing.T) {
	a := newAPI(t)
	a.says("GET "+ofWS+"/state", secretState)
	a.says("GET "+ofWS+"/state/versions/3", "old")
	if got := a.plumbline(t, "", "state", "pull", "ws"); got.failed != nil || got.out != secretState {
		t.Errorf("got %+v", got)
	}
	file := filepath.Join(t.TempDir(), "state")
	if got := a.plumbline(t, "", "state", "pull", "ws", "--version", "3", "-o", file); got.failed != nil || got.out != "" {
		t.Errorf("got %+v", got)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v; want a file that is private", info, err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "old" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestStatePushAndRollback(t *testing.T) {
	a := newAPI(t)
	a.says("PUT "+ofWS+"/state", state.Version{Number: 5, Serial: 9})
	a.says("POST "+ofWS+"/state/rollback", state.Version{Number: 6, Serial: 10})
	a.plumbline(t, "{}", "state", "push", "ws", "-", "--why", "a b").want(t, "version 5 is the newest now, serial 9")
	if !a.did("PUT " + ofWS + "/state?force=false&why=a+b {}") {
		t.Errorf("asked %q", a.asked)
	}
	a.plumbline(t, "{}", "state", "push", "ws", "-", "--why", "w", "--force").want(t)
	a.plumbline(t, "", "state", "rollback", "ws", "2", "--why", "w").want(t, "version 6")
	if !a.did("force=true") || !a.did(`{"version":2,"why":"w"}`) {
		t.Errorf("asked %q", a.asked)
	}
	a.plumbline(t, "", "state", "rollback", "ws", "2").wantFailure(t, `"why" not set`)
	a.plumbline(t, "", "state", "rollback", "ws", "two", "--why", "w").wantFailure(t, "plumbline state list ws")
	a.says("PUT "+ofWS+"/state", refuse(409, metav1.StatusReasonConflict, "locked by run ns/a in pod a"))
	a.plumbline(t, "{}", "state", "push", "ws", "-", "--why", "w").
		wantFailure(t, "locked by run ns/a", "plumbline state unlock")
}

func TestStateUnlock(t *testing.T) {
	held := state.LockStatus{Held: true, Holder: &state.Holder{Run: "ws-b", Pod: "ws-b"}, ID: "7"}
	persons := state.LockStatus{Held: true, Holder: &state.Holder{Person: "bob"}, ID: "8"}
	for name, test := range map[string]struct {
		stdin  string
		args   []string
		lock   state.LockStatus
		asks   string // "" is nothing
		failed string
		says   string
	}{
		"agreed":           {"y\n", nil, held, "?id=7&why=w", "", "was taken from run ws-b"},
		"agreed in full":   {"Yes\n", nil, held, "?id=7&why=w", "", "was taken from run ws-b"},
		"not agreed":       {"\n", nil, held, "", "left as it is", ""},
		"nobody to ask":    {"", nil, held, "", "--yes", ""},
		"not asked":        {"", []string{"--yes"}, held, "?id=7&why=w", "", "was taken from run ws-b"},
		"by ID":            {"", []string{"-y", "--id", "6"}, held, "?id=6&why=w", "", ""},
		"nobody holds it":  {"", nil, state.LockStatus{}, "", "", "nobody holds the lock"},
		"a person's, once": {"", []string{"-y"}, persons, "?id=8&why=w", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			a.says("GET "+ofWS+"/lock", test.lock)
			a.says("DELETE "+ofWS+"/lock", people.Released{Released: test.lock.Holder})
			got := a.plumbline(t, test.stdin, append([]string{"state", "unlock", "ws", "--why", "w"}, test.args...)...)
			if test.failed != "" {
				got.wantFailure(t, test.failed)
			} else {
				got.want(t, test.says)
			}
			if deleted := a.did("DELETE"); deleted != (test.asks != "") || deleted && !a.did(ofWS+"/lock"+test.asks) {
				t.Errorf("asked %q, want %q", a.asked, test.asks)
			}
		})
	}
}

func run(name, pod string, finished bool) v1alpha1.Run {
	r := v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.RunSpec{WorkspaceName: "ws"}}
	r.Status.PodName = pod
	r.Status.Conditions = []metav1.Condition{
		{Type: "Succeeded", Status: "Unknown", Reason: "Pending", Message: "it waits"},
	}
	if finished {
		r.Status.FinishedAt = new(metav1.NewTime(now))
	}
	return r
}

// hasRuns are those of Workspace ws, oldest first.
func (a *api) hasRuns(runs ...v1alpha1.Run) {
	a.says("GET "+objects+"workspaces/ws", v1alpha1.Workspace{})
	for i := range runs {
		runs[i].CreationTimestamp = metav1.NewTime(now.Add(time.Duration(i) * time.Minute))
		a.says("GET "+objects+"runs/"+runs[i].Name, runs[i])
	}
	a.says("GET "+objects+"runs", v1alpha1.RunList{Items: runs})
}

func TestLogsChooseTheRun(t *testing.T) {
	done, going, waiting := run("done", "p0", true), run("going", "p1", false), run("waiting", "", false)
	other := run("other", "p2", false)
	other.Spec.WorkspaceName = "another"
	for name, test := range map[string]struct {
		runs []v1alpha1.Run
		arg  string
		want string
	}{
		"the one that goes on": {[]v1alpha1.Run{done, going, waiting, other}, "ws", "log of p1"},
		"the last":             {[]v1alpha1.Run{going, done}[1:], "ws", "log of p0"},
		"by name":              {[]v1alpha1.Run{done, going}, "done", "log of p0"},
		"by kind":              {[]v1alpha1.Run{done, going}, "run/done", "log of p0"},
		"of a workspace":       {[]v1alpha1.Run{done, going}, "workspace/ws", "log of p1"},
	} {
		a := newAPI(t)
		a.hasRuns(test.runs...)
		for _, pod := range []string{"p0", "p1", "p2"} {
			a.says("GET "+podLog+pod+"/log", "log of "+pod)
		}
		if got := a.plumbline(t, "", "logs", test.arg); got.failed != nil || got.out != test.want {
			t.Errorf("%s: got %+v, want %q", name, got, test.want)
		}
	}
	a := newAPI(t)
	a.hasRuns(waiting)
	a.plumbline(t, "", "logs", "ws").wantFailure(t, "no log yet: Pending: it waits")
	a.plumbline(t, "", "logs", "nothing").wantFailure(t, `neither a Workspace nor a Run "nothing" in namespace "ns"`)
	a.plumbline(t, "", "logs", "../x").wantFailure(t, "not a name")
	a.hasRuns()
	a.plumbline(t, "", "logs", "ws").wantFailure(t, "has no Run yet")
}

func TestLogsComeFromPodOrArchive(t *testing.T) {
	noPod := refuse(404, notFound, "no pod")
	noAPI := refuse(404, notFound, "the server could not find the requested resource")
	starting := refuse(400, metav1.StatusReasonBadRequest, "ContainerCreating")
	for name, test := range map[string]struct {
		pod, archive any
		want         string
		failed       string
	}{
		"from the Pod":              {"pod", "archive", "pod", ""},
		"the Pod is gone":           {noPod, "archive", "archive", ""},
		"the Pod is not yours":      {refuse(403, forbids, "not yours"), "archive", "archive", ""},
		"neither":                   {noPod, refuse(404, notFound, "no log"), "", "no log"},
		"the archive is not yours":  {noPod, refuse(403, forbids, `needs the right`), "", "docs/people.md"},
		"the service is not there":  {noPod, noAPI, "", "state.peopleAPI.enabled"},
		"the container isn't there": {starting, "archive", "", "no log yet"},
	} {
		a := newAPI(t)
		a.hasRuns(run("r", "p", true))
		a.says("GET "+podLog+"p/log", test.pod)
		a.says("GET "+ofRun+"r/log", test.archive)
		got := a.plumbline(t, "", "logs", "r")
		if test.failed != "" {
			got.wantFailure(t, test.failed)
		} else if got.failed != nil || got.out != test.want {
			t.Errorf("%s: got %+v, want %q", name, got, test.want)
		}
	}
}

// A Run that is followed from before it has a Pod until its Pod is gone: each byte is printed once, wherever it is.
func TestLogsFollow(t *testing.T) {
	a := newAPI(t)
	a.hasRuns(run("r", "", false))
	step := 0
	a.says("GET "+objects+"runs/r", func(w http.ResponseWriter) {
		a.mu.Lock()
		defer a.mu.Unlock()
		step++
		r := run("r", "", false)
		if step > 2 {
			r = run("r", "p", step > 5)
		}
		_ = json.NewEncoder(w).Encode(r)
	})
	a.says("GET "+podLog+"p/log", func(w http.ResponseWriter) {
		a.mu.Lock()
		defer a.mu.Unlock()
		switch step {
		case 3:
			refuse(400, metav1.StatusReasonBadRequest, "ContainerCreating")(w)
		case 4:
			fmt.Fprint(w, "one\ntw")
		default:
			refuse(404, notFound, "no pod")(w)
		}
	})
	a.says("GET "+ofRun+"r/log", func(w http.ResponseWriter) {
		a.mu.Lock()
		defer a.mu.Unlock()
		switch {
		case step < 4:
			refuse(404, notFound, "no log")(w)
		case step == 5:
			fmt.Fprint(w, "one\n") // behind what the Pod has said
		case step == 6:
			fmt.Fprint(w, "one\ntwo\n")
		default:
			fmt.Fprint(w, "one\ntwo\nthe end\n")
		}
	})
	got := a.plumbline(t, "", "logs", "-f", "ws")
	if got.failed != nil || got.out != "one\ntwo\nthe end\n" {
		t.Errorf("got %q, %v", got.out, got.failed)
	}
	if strings.Count(got.err, "waiting for run r: Pending: it waits") != 1 {
		t.Errorf("it says %q", got.err)
	}
}

// TestLogsFollowByParts: what the archive has is asked for once, though the Pod was ahead of it at first.
func TestLogsFollowByParts(t *testing.T) {
	a := newAPI(t)
	step := 0
	a.says("GET "+objects+"runs/r", func(w http.ResponseWriter) {
		a.mu.Lock()
		defer a.mu.Unlock()
		step++
		_ = json.NewEncoder(w).Encode(run("r", "p", step > 5))
	})
	a.says("GET "+podLog+"p/log", func(w http.ResponseWriter) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if step <= 2 { // the first look is for the Run
			fmt.Fprint(w, "one\ntw")
			return
		}
		refuse(404, notFound, "no pod")(w)
	})
	chunks := []string{"one\n", "two\n", "three\n", "four\n"}
	end := func() int { return min(step-3, len(chunks)-1) }
	a.says("GET "+ofRun+"r/log/end", func(w http.ResponseWriter) {
		a.mu.Lock()
		defer a.mu.Unlock()
		fmt.Fprintf(w, `{"end":%d}`, end())
	})
	var asked []string
	a.says("GET "+ofRun+"r/log", func(w http.ResponseWriter) {
		a.mu.Lock()
		defer a.mu.Unlock()
		_, query, _ := strings.Cut(a.asked[len(a.asked)-1], "?")
		asked = append(asked, query)
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Error(err)
		}
		from := 0
		if after := values.Get("after"); after != "" {
			from, _ = strconv.Atoi(after)
			from++
		}
		until, _ := strconv.Atoi(values.Get("until"))
		fmt.Fprint(w, strings.Join(chunks[from:until+1], ""))
	})
	if got := a.plumbline(t, "", "logs", "-f", "run/r"); got.failed != nil || got.out != "one\ntwo\nthree\nfour\n" {
		t.Errorf("got %q, %v", got.out, got.failed)
	}
	want := []string{"until=0", "until=1", "after=1&until=2", "after=2&until=3"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("what the archive was asked for (-want +got):\n%s", diff)
	}
}

func TestPlanShow(t *testing.T) {
	a := newAPI(t)
	plan := run("plan", "", true)
	plan.Spec.Operation = v1alpha1.OperationPlan
	a.hasRuns(plan, run("apply", "", true))
	a.says("GET "+ofRun+"plan/plan.txt", "the plan")
	a.says("GET "+ofRun+"plan/plan.json", "{}")
	a.plumbline(t, "", "plan", "show", "plan").want(t, "the plan")
	a.plumbline(t, "", "plan", "show", "ws").want(t, "the plan")
	a.plumbline(t, "", "plan", "show", "plan", "--json").want(t, "{}")
	a.plumbline(t, "", "plan", "show", "apply").wantFailure(t, "plumbline logs apply")
}

func TestFlagsAreKubectls(t *testing.T) {
	a := newAPI(t)
	var who http.Header
	a.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who = r.Header
		a.serve(w, r)
	})
	a.says("GET "+people.Prefix+"/namespaces/other/workspaces/ws/state", "{}")
	a.plumbline(t, "", "state", "pull", "ws", "-n", "other", "--as", "jane", "--as-group", "devs").want(t, "{}")
	if who.Get("Impersonate-User") != "jane" || who.Get("Impersonate-Group") != "devs" {
		t.Errorf("asked with %v", who)
	}
	if got := New("/usr/bin/kubectl-plumbline", Surroundings{}).DisplayName(); got != "kubectl plumbline" {
		t.Errorf("as a plugin it is called %q", got)
	}
	gone := newAPI(t)
	gone.Close()
	gone.plumbline(t, "", "state", "pull", "ws").wantFailure(t, "kubectl version")
}
