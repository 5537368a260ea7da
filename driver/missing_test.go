package driver

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// reads is an engine that looks at the state first, and plans when it was shown one, or none.
func reads(c call) int {
	if status := c.state("GET", ""); status >= http.StatusMultipleChoices {
		c.fail("", "Failed to load state: HTTP remote state endpoint returned an error")
		return 1
	}
	return c.applies("apply")
}

func TestAMissingStateEndsTheRun(t *testing.T) {
	for _, operation := range []job.Operation{job.Apply, job.Destroy} {
		t.Run(string(operation), func(t *testing.T) {
			b := newBench(t)
			b.useFake("reads")
			b.cfg.Params.Operation = operation
			b.cfg.Params.Place = job.Place{Lineage: "x", Serial: 7, Store: "store-0"}
			b.state.missing = "the state is missing: the last Run left serial 7"
			got := b.run(t.Context())
			if got.Class != job.StateMissing || got.Message != b.state.missing {
				t.Errorf("%s: %s", got.Class, got.Message)
			}
			if got.Changes != nil || got.StateSerial != 0 || got.StoreID != "" {
				t.Errorf("it tells of a state: %+v", got)
			}
			if b.state.state != nil || slices.Contains(b.state.asked, "POST /state") {
				t.Errorf("a state was written: %v", b.state.asked)
			}
			if calls, _ := os.ReadFile(filepath.Join(b.cfg.Paths.Work, "calls.apply")); strings.Count(string(calls), "\n") > 1 {
				t.Errorf("it was tried again: %s", calls)
			}
			if want := `{"lineage":"x","serial":7,"store":"store-0"}`; b.state.expects != want {
				t.Errorf("it said that it expects %s, want %s", b.state.expects, want)
			}
		})
	}
}

func TestAStateThatIsThereIsToldOf(t *testing.T) {
	b := newBench(t)
	b.useFake("reads")
	b.state.state = []byte(stateOf(0))
	got := b.run(t.Context())
	if got.Class != job.Applied || got.StateSerial != 1 || got.StateLineage != "x" || got.StoreID != "store-1" {
		t.Errorf("%+v", got)
	}
	if b.state.expects != "" {
		t.Errorf("nothing is known, and it expects %s", b.state.expects)
	}
}

func TestWhatIsExpectedOfTheStateService(t *testing.T) {
	s3 := &job.Backend{Type: "s3"}
	known := job.Place{Lineage: "x", Serial: 7, Store: "s"}
	moving, fromS3 := known, known
	moving.Move = true
	fromS3.Move, fromS3.From = true, s3
	for _, test := range []struct {
		name    string
		place   job.Place
		backend *job.Backend
		want    string
	}{
		{"the state lies there", known, nil, `{"lineage":"x","serial":7,"store":"s"}`},
		{"nothing is known, or by an older controller", job.Place{}, nil, ""},
		{"it lies in another backend", known, s3, ""},
		{"it is moved away", moving, s3, `{"lineage":"x","serial":7,"store":"s"}`},
		{"it is moved there", fromS3, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := expectedOfOwn(test.place, test.backend); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestAnOlderStateElsewhereIsRefused(t *testing.T) {
	for serial, refused := range map[int64]bool{2: false, 3: false, 4: true} {
		b := newBench(t)
		b.abroad(nil, nil)
		b.file(remote, stateOf(3))
		b.cfg.Params.Place = job.Place{Lineage: "x", Serial: serial}
		got := b.run(t.Context())
		if (got.Class == job.StateMissing) != refused || refused && !strings.Contains(got.Message, "it is older") {
			t.Errorf("serial 3 where %d was left: %s: %s", serial, got.Class, got.Message)
		}
	}
}
