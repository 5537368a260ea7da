package credentials

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// counting counts the timers that are made: one for each wait for a lease's time, and one for each renewal.
type counting struct {
	*clocktesting.FakeClock
	made atomic.Int32
}

func (c *counting) NewTimer(d time.Duration) clock.Timer {
	defer c.made.Add(1)
	return c.FakeClock.NewTimer(d)
}

// keeping is a Keep that goes on, with the clock in the test's hand.
type keeping struct {
	*harness
	start time.Time
	// waiting is how many timers there are while nothing is due, and made how many will have been made by then.
	waiting, made int
	done          chan error
	stop          context.CancelFunc
}

func (h *harness) keep(t *testing.T, s *Session, margin time.Duration) *keeping {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	k := &keeping{harness: h, start: h.clock.Now(), done: make(chan error, 1), stop: cancel}
	t.Cleanup(cancel)
	for _, l := range s.leases {
		if !l.ends.IsZero() {
			k.waiting++
		}
	}
	k.made = int(h.clock.made.Load()) + k.waiting
	for len(h.asked) > 0 {
		<-h.asked
	}
	go func() { k.done <- s.Keep(ctx, margin) }()
	return k
}

// rest waits until every lease waits for its time.
func (k *keeping) rest(t *testing.T) {
	t.Helper()
	for k.clock.Waiters() != k.waiting || int(k.clock.made.Load()) != k.made {
		runtime.Gosched()
	}
}

// to brings the clock to a time after the start, and fails when something was due before it.
func (k *keeping) to(t *testing.T, at time.Duration) {
	t.Helper()
	k.rest(t)
	k.clock.SetTime(k.start.Add(at - time.Second))
	if n := k.clock.Waiters(); n != k.waiting {
		t.Fatalf("at %s something is done already", at-time.Second)
	}
	k.clock.SetTime(k.start.Add(at))
}

func (k *keeping) wantCall(t *testing.T, at time.Duration, path string) {
	t.Helper()
	k.to(t, at)
	if got := <-k.asked; got != path {
		t.Fatalf("at %s: asked for %s, want %s", at, got, path)
	}
	k.made += 2
}

func (k *keeping) wantEnd(t *testing.T, words string) {
	t.Helper()
	wantClass(t, <-k.done, job.CredentialsExpired, words)
}

const (
	renewToken = "auth/token/renew-self"
	revokeSelf = "auth/token/revoke-self"
	renewLease = "sys/leases/renew"
	lookup     = "auth/token/lookup-self"
	mounts     = "sys/internal/ui/mounts"
	health     = "sys/health"
)

// granting answers renewals one after the other, the last one again and again.
func granting(format func(ttl int, renewable bool) string, seconds ...int) handler {
	return func(map[string]any) (int, string) {
		n := seconds[0]
		if len(seconds) > 1 {
			seconds = seconds[1:]
		}
		return 200, format(n, true)
	}
}

func TestKeepRenewsUntilItIsStopped(t *testing.T) {
	h := newHarness(t)
	h.set("db/creds/app", says(200, leased(1800, true)))
	h.set(renewLease, granting(leased, 1800))
	h.set(renewToken, granting(login, 3600))
	s := h.login(t)
	h.fetch(t, s)
	k := h.keep(t, s, time.Minute)
	k.wantCall(t, 20*time.Minute, renewLease)
	k.rest(t)
	k.clock.SetTime(k.start.Add(40 * time.Minute)) // both are due
	first, second := <-k.asked, <-k.asked
	k.made += 4
	if got := first + second; !strings.Contains(got, renewLease) || !strings.Contains(got, renewToken) {
		t.Errorf("asked for %s and %s", first, second)
	}
	k.wantCall(t, 60*time.Minute, renewLease)
	k.rest(t)
	k.stop()
	if err := <-k.done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestKeepWithNothingToRenewWaits(t *testing.T) {
	h := newHarness(t)
	h.set("auth/jwt/login", says(200, login(0, false)))
	k := h.keep(t, h.login(t), time.Minute)
	k.stop()
	if err := <-k.done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestKeepTellsWhatEnds(t *testing.T) {
	const lease = "the lease of db/creds/app ends at 2026-07-01T12:10:00Z and can't be renewed: "
	for name, test := range map[string]struct {
		fetched string
		paths   map[string]handler
		margin  time.Duration
		run     func(t *testing.T, k *keeping)
	}{
		"a lease that is not renewable": {leased(600, false), nil, time.Minute, func(t *testing.T, k *keeping) {
			k.to(t, 9*time.Minute)
			k.wantEnd(t, lease+"it is not renewable")
		}},
		"a margin as long as the lease": {leased(600, false), nil, time.Hour, func(t *testing.T, k *keeping) {
			k.to(t, 500*time.Second)
			k.wantEnd(t, lease)
		}},
		"the most that the server gives": {
			leased(600, true), map[string]handler{renewLease: granting(leased, 300, 100)}, time.Minute,
			func(t *testing.T, k *keeping) {
				k.wantCall(t, 400*time.Second, renewLease)
				k.wantCall(t, 600*time.Second, renewLease)
				k.to(t, 640*time.Second)
				k.wantEnd(t, "ends at 2026-07-01T12:11:40Z and can't be renewed: its maximum time to live is reached")
				if !strings.Contains(k.log.String(), "can't be renewed any more") {
					t.Errorf("logged %q", k.log)
				}
			},
		},
		"so little that it ends within the margin": {
			leased(600, true), map[string]handler{renewLease: granting(leased, 30)}, time.Minute,
			func(t *testing.T, k *keeping) {
				k.wantCall(t, 400*time.Second, renewLease)
				k.wantEnd(t, "its maximum time to live is reached")
			},
		},
		"an engine that says no with a bad request": {
			leased(600, true), map[string]handler{renewLease: refuses(400, "the database is starting up")}, time.Minute,
			func(t *testing.T, k *keeping) {
				k.wantCall(t, 400*time.Second, renewLease)
				<-k.asked // again and again
				k.made--
				k.to(t, 9*time.Minute)
				k.wantEnd(t, "the database is starting up")
			},
		},
		"a server that is sealed and stays so": {
			leased(600, true), map[string]handler{renewLease: refuses(503, "Vault is sealed")}, time.Minute,
			func(t *testing.T, k *keeping) {
				k.wantCall(t, 400*time.Second, renewLease)
				<-k.asked // again and again
				k.made--
				k.to(t, 9*time.Minute)
				k.wantEnd(t, "Vault is sealed")
			},
		},
		"a lease that somebody revoked": {
			leased(600, true), map[string]handler{renewLease: refuses(400, "lease not found")}, time.Minute,
			func(t *testing.T, k *keeping) {
				k.wantCall(t, 400*time.Second, renewLease)
				k.wantEnd(t, "lease not found")
			},
		},
		"a token that somebody revoked": {
			leased(600, true), map[string]handler{
				renewLease: refuses(403, "permission denied"), lookup: refuses(403, "permission denied; invalid token"),
				mounts: refuses(403, "permission denied"),
			}, time.Minute,
			func(t *testing.T, k *keeping) {
				k.wantCall(t, 400*time.Second, renewLease)
				k.wantEnd(t, "permission denied")
			},
		},
		"a token that somebody revoked, as OpenBao says it": {
			leased(600, true), map[string]handler{
				renewLease: refuses(403, "permission denied"), lookup: refuses(403, "permission denied"),
				mounts: refuses(403, "permission denied"),
			}, time.Minute,
			func(t *testing.T, k *keeping) {
				k.wantCall(t, 400*time.Second, renewLease)
				k.wantEnd(t, "permission denied")
			},
		},
		"a token that may neither renew nor look at itself": {
			leased(600, true), map[string]handler{
				renewLease: refuses(403, "permission denied"), lookup: refuses(403, "permission denied"),
			}, time.Minute,
			func(t *testing.T, k *keeping) {
				k.wantCall(t, 400*time.Second, renewLease)
				k.to(t, 9*time.Minute)
				k.wantEnd(t, "permission denied")
			},
		},
		"a policy that forbids renewals": {
			leased(600, true), map[string]handler{renewLease: refuses(403, "permission denied")}, time.Minute,
			func(t *testing.T, k *keeping) {
				k.wantCall(t, 400*time.Second, renewLease)
				if got := <-k.asked; got != lookup {
					t.Errorf("asked for %s, want %s", got, lookup)
				}
				k.to(t, 9*time.Minute)
				k.wantEnd(t, lease+`writing to sys/leases/renew as role "deployer": permission denied`)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.set("db/creds/app", says(200, test.fetched))
			for path, answer := range test.paths {
				h.set(path, answer)
			}
			s := h.login(t)
			h.fetch(t, s)
			test.run(t, h.keep(t, s, test.margin))
		})
	}
}

// A server that is sealed for a while, or elects a leader, costs nothing.
func TestKeepRidesOutASealedServer(t *testing.T) {
	h := newHarness(t)
	h.set("db/creds/app", says(200, leased(600, true)))
	h.set(renewLease, flaky(3, granting(leased, 600)))
	s := h.login(t)
	h.fetch(t, s)
	k := h.keep(t, s, time.Minute)
	k.wantCall(t, 400*time.Second, renewLease)
	for range 3 {
		<-k.asked
	}
	k.wantCall(t, 800*time.Second, renewLease)
}

func TestKeepEndsWithTheRunsTime(t *testing.T) {
	h := newHarness(t)
	h.cfg.MaxTTL = 10 * time.Minute
	h.set("auth/jwt/login", says(200, login(300, true)))
	var increments []string
	h.set(renewToken, func(body map[string]any) (int, string) {
		increments = append(increments, fmt.Sprint(body["increment"]))
		asked, _ := body["increment"].(float64)
		return 200, login(int(asked), true)
	})
	k := h.keep(t, h.login(t), time.Minute)
	k.wantCall(t, 200*time.Second, renewToken)
	k.wantCall(t, 400*time.Second, renewToken)
	k.to(t, 550*time.Second) // a sixth of the first 300 s is less than the margin
	k.wantEnd(t, "the login token ends at 2026-07-01T12:10:00Z and can't be renewed: the Run's time ends then")
	if got := strings.Join(increments, " "); got != "300 200" {
		t.Errorf("asked for %s seconds, want 300 and then what is left", got)
	}
}
