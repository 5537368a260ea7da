// Package schedule turns a drift schedule (cron or @every, a time zone, a jitter) into ticks. It is pure: the same
// Workspace has the same ticks on every controller, and after every restart.
//
// The jitter is a share of the window that a hash of the Workspace's UID picks: many Workspaces with one schedule are
// spread, and each keeps its place.
package schedule

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// Ticks are the moments of one Workspace's schedule.
type Ticks struct {
	cron   cron.Schedule
	every  time.Duration
	anchor time.Time
	offset time.Duration
	zone   *time.Location
}

// For reads a Workspace's schedule. The error names the field of spec.drift that is wrong.
func For(d v1alpha1.Drift, uid types.UID, created time.Time) (Ticks, error) {
	zone, err := time.LoadLocation(d.TimeZone)
	if err != nil || d.TimeZone == "Local" {
		return Ticks{}, fmt.Errorf("spec.drift.timeZone %q is not a time zone: use an IANA name such as Europe/Madrid",
			d.TimeZone)
	}
	parsed, err := cron.ParseStandard(d.Schedule)
	if err != nil {
		return Ticks{}, fmt.Errorf("spec.drift.schedule %q: %w", d.Schedule, err)
	}
	t := Ticks{cron: parsed, anchor: created, zone: zone, offset: share(d, uid)}
	if constant, ok := parsed.(cron.ConstantDelaySchedule); ok {
		t.every = constant.Delay
	}
	if t.Next(created).IsZero() {
		return Ticks{}, fmt.Errorf("spec.drift.schedule %q has a date that never comes", d.Schedule)
	}
	return t, nil
}

// share is the part of the jitter that belongs to the UID.
func share(d v1alpha1.Drift, uid types.UID) time.Duration {
	if d.Jitter == nil || d.Jitter.Duration <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(uid)) // never fails
	seconds := uint64(d.Jitter.Duration / time.Second)
	return time.Duration(h.Sum64()%(seconds+1)) * time.Second //nolint:gosec // at most the jitter, which is an int64
}

// Thousandths is a number from 0 to 999 that a hash of the UID picks: always the same for one Workspace.
func Thousandths(uid types.UID) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(uid)) // never fails
	return int64(h.Sum64() % 1000)
}

// mostDefault is the longest delay of a schedule without a jitter.
const mostDefault = time.Minute

// Spread delays each tick of a schedule that asks for no jitter, by so many thousandths of a tenth of the time between
// two ticks, or of a minute where that is less: a thousand Workspaces with one schedule would else come at once.
func (s Ticks) Spread(thousandths int64) Ticks {
	first := s.Next(s.anchor)
	most := mostDefault
	if second := s.Next(first); !second.IsZero() {
		most = min(most, second.Sub(first)/10)
	}
	s.offset = (most * time.Duration(thousandths) / 1000).Truncate(time.Second)
	return s
}

// Next is the first tick after t; zero when there is none, as for February 30th.
func (s Ticks) Next(t time.Time) time.Time {
	if s.every > 0 {
		first := s.anchor.Add(s.offset)
		if t.Before(first) {
			return first.Add(s.every)
		}
		return first.Add((t.Sub(first)/s.every + 1) * s.every)
	}
	next := s.cron.Next(t.Add(-s.offset).In(s.zone))
	if next.IsZero() {
		return next
	}
	return next.Add(s.offset)
}

// From is the same schedule for a Workspace that was created by a clock that is ahead of now: an @every schedule would
// else begin then.
func (s Ticks) From(now time.Time) Ticks {
	if s.every > 0 && s.anchor.After(now) {
		s.anchor = s.anchor.Add(-((s.anchor.Sub(now)-1)/s.every + 1) * s.every)
	}
	return s
}

// Due is the newest tick after since and not after now: ticks that were missed count as one.
func (s Ticks) Due(since, now time.Time) (tick time.Time, due bool) {
	// A frequent schedule that was missed for long would be walked tick by tick: the last day is enough of it.
	if recent := now.Add(-24 * time.Hour); since.Before(recent) && s.inside(recent, now) {
		since = recent
	}
	for next := s.Next(since); !next.IsZero() && !next.After(now); next = s.Next(next) {
		tick, due = next, true
	}
	return tick, due
}

func (s Ticks) inside(from, to time.Time) bool {
	next := s.Next(from)
	return !next.IsZero() && !next.After(to)
}
