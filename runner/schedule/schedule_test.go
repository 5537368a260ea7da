package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

var created = at("2026-03-01T12:00:00Z")

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func ticks(t *testing.T, d v1alpha1.Drift) Ticks {
	t.Helper()
	s, err := For(d, "uid", created)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNext(t *testing.T) {
	madrid := func(s string) v1alpha1.Drift { return v1alpha1.Drift{Schedule: s, TimeZone: "Europe/Madrid"} }
	utc := func(s string) v1alpha1.Drift { return v1alpha1.Drift{Schedule: s} }
	for _, test := range []struct {
		name        string
		drift       v1alpha1.Drift
		after, want string
	}{
		{"five fields", utc("0 */6 * * *"), "2026-03-01T12:00:01Z", "2026-03-01T18:00:00Z"},
		{"a tick itself is not after itself", utc("0 */6 * * *"), "2026-03-01T12:00:00Z", "2026-03-01T18:00:00Z"},
		{"names of days and months", utc("30 4 * MAR SUN"), "2026-03-01T12:00:00Z", "2026-03-08T04:30:00Z"},
		{"@daily is midnight", utc("@daily"), "2026-03-01T12:00:00Z", "2026-03-02T00:00:00Z"},
		{"@every counts from the creation", utc("@every 30m"), "2026-03-01T12:10:00Z", "2026-03-01T12:30:00Z"},
		{"@every has no tick at the creation itself", utc("@every 30m"), "2026-03-01T12:00:00Z", "2026-03-01T12:30:00Z"},
		{"@every before the creation", utc("@every 30m"), "2026-03-01T11:00:00Z", "2026-03-01T12:30:00Z"},
		{"@every that doesn't divide the day", utc("@every 7h"), "2026-03-03T00:00:00Z", "2026-03-03T06:00:00Z"},
		{"hours are those of the time zone", madrid("0 9 * * *"), "2026-03-01T12:00:00Z", "2026-03-02T08:00:00Z"},
		{"and follow summer time", madrid("0 9 * * *"), "2026-03-29T12:00:00Z", "2026-03-30T07:00:00Z"},
		{"an hour that summer time skips comes the next day", madrid("30 2 * * *"), "2026-03-28T12:00:00Z",
			"2026-03-30T00:30:00Z"},
		{"an hour that winter time repeats comes twice", madrid("30 2 * * *"), "2026-10-25T00:30:00Z",
			"2026-10-25T01:30:00Z"},
		{"February 29th is waited for", utc("0 0 29 2 *"), "2026-03-01T12:00:00Z", "2028-02-29T00:00:00Z"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := ticks(t, test.drift).Next(at(test.after)); !got.Equal(at(test.want)) {
				t.Errorf("got %s, want %s", got.UTC().Format(time.RFC3339), test.want)
			}
		})
	}
}

func TestFor_RefusesWhatIsNoSchedule(t *testing.T) {
	for _, test := range []struct {
		name  string
		drift v1alpha1.Drift
		want  string
	}{
		{"a word", v1alpha1.Drift{Schedule: "foo"}, "spec.drift.schedule"},
		{"a minute over 59", v1alpha1.Drift{Schedule: "61 * * * *"}, "spec.drift.schedule"},
		{"six fields", v1alpha1.Drift{Schedule: "0 0 * * * *"}, "spec.drift.schedule"},
		{"@every what is no duration", v1alpha1.Drift{Schedule: "@every banana"}, "spec.drift.schedule"},
		{"February 30th", v1alpha1.Drift{Schedule: "0 0 30 2 *"}, "never comes"},
		{"no such time zone", v1alpha1.Drift{Schedule: "@daily", TimeZone: "Europe/Atlantis"}, "spec.drift.timeZone"},
		{"the controller's own time zone", v1alpha1.Drift{Schedule: "@daily", TimeZone: "Local"}, "spec.drift.timeZone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := For(test.drift, "uid", created)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestDue(t *testing.T) {
	for _, test := range []struct {
		name, schedule, since, now, want string
	}{
		{"nothing before the first tick", "@every 30m", "2026-03-01T12:00:00Z", "2026-03-01T12:29:59Z", ""},
		{"the tick's own moment counts", "@every 30m", "2026-03-01T12:00:00Z", "2026-03-01T12:30:00Z",
			"2026-03-01T12:30:00Z"},
		{"a tick that was acted on isn't due again", "@every 30m", "2026-03-01T12:30:00Z", "2026-03-01T12:45:00Z", ""},
		{"missed ticks collapse into the newest", "@every 30m", "2026-03-01T12:00:00Z", "2026-03-01T14:10:00Z",
			"2026-03-01T14:00:00Z"},
		{"of a month's ticks too", "*/5 * * * *", "2026-03-01T12:00:00Z", "2026-04-01T12:01:00Z", "2026-04-01T12:00:00Z"},
		{"a rare tick that was missed long ago", "0 0 1 4 *", "2026-03-01T12:00:00Z", "2026-08-01T00:00:00Z",
			"2026-04-01T00:00:00Z"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tick, due := ticks(t, v1alpha1.Drift{Schedule: test.schedule}).Due(at(test.since), at(test.now))
			if due != (test.want != "") || due && !tick.Equal(at(test.want)) {
				t.Errorf("got %s, %v, want %q", tick.UTC().Format(time.RFC3339), due, test.want)
			}
		})
	}
}

func TestJitter(t *testing.T) {
	d := v1alpha1.Drift{Schedule: "@hourly", Jitter: &metav1.Duration{Duration: 10 * time.Minute}}
	early, late, seen := 0, 0, map[time.Duration]bool{}
	for i := range 200 {
		s, err := For(d, types.UID(fmt.Sprintf("8a6f0c52-0000-4000-8000-%012d", i)), created)
		if err != nil {
			t.Fatal(err)
		}
		next := s.Next(at("2026-03-01T12:20:00Z"))
		delay := next.Sub(at("2026-03-01T13:00:00Z"))
		if delay < 0 || delay > 10*time.Minute {
			t.Fatalf("a tick at %s is outside the jitter", next)
		}
		if again := s.Next(next); again.Sub(next) != time.Hour {
			t.Fatalf("%s follows %s: the share of one Workspace is not always the same", again, next)
		}
		seen[delay] = true
		if delay < 5*time.Minute {
			early++
		} else {
			late++
		}
	}
	if len(seen) < 100 || early < 60 || late < 60 {
		t.Errorf("200 Workspaces have %d different moments, %d early and %d late", len(seen), early, late)
	}
}

func TestJitterBeforeItsFirstTick(t *testing.T) {
	d := v1alpha1.Drift{Schedule: "@every 1m", Jitter: &metav1.Duration{Duration: time.Hour}}
	s := ticks(t, d)
	first := s.Next(created)
	if first.Before(created.Add(time.Minute)) || first.After(created.Add(61*time.Minute)) {
		t.Errorf("the first tick is at %s", first)
	}
	if second := s.Next(first); second.Sub(first) != time.Minute {
		t.Errorf("%s follows %s", second, first)
	}
}

// TestSpread: without a jitter a thousand Workspaces come within a tenth of the time between two ticks, or a minute.
func TestSpread(t *testing.T) {
	for _, test := range []struct {
		schedule    string
		thousandths int64
		after, want string
	}{
		{"@hourly", 0, "2026-03-01T12:30:00Z", "2026-03-01T13:00:00Z"},
		{"@hourly", 500, "2026-03-01T12:30:00Z", "2026-03-01T13:00:30Z"},
		{"@hourly", 999, "2026-03-01T12:30:00Z", "2026-03-01T13:00:59Z"},
		{"*/5 * * * *", 999, "2026-03-01T12:01:00Z", "2026-03-01T12:05:29Z"},
		{"@every 20s", 999, "2026-03-01T12:01:00Z", "2026-03-01T12:01:01Z"},
		{"@every 1s", 999, "2026-03-01T12:01:00Z", "2026-03-01T12:01:01Z"},
		{"0 0 29 2 *", 500, "2026-03-01T12:01:00Z", "2028-02-29T00:00:30Z"},
	} {
		got := ticks(t, v1alpha1.Drift{Schedule: test.schedule}).Spread(test.thousandths).Next(at(test.after))
		if !got.Equal(at(test.want)) {
			t.Errorf("%s, %d: got %s, want %s", test.schedule, test.thousandths, got.UTC().Format(time.RFC3339), test.want)
		}
	}
	tenths := map[int64]int{}
	for i := range 1000 {
		uid := types.UID(fmt.Sprintf("uid-%d", i))
		n := Thousandths(uid)
		if n < 0 || n > 999 || n != Thousandths(uid) {
			t.Fatalf("got %d", n)
		}
		tenths[n/100]++
	}
	for tenth, n := range tenths {
		if n < 50 || n > 200 || len(tenths) != 10 {
			t.Errorf("%d of 1000 fall into tenth %d of %d", n, tenth, len(tenths))
		}
	}
}
