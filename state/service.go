// Package state is Plumbline's state service: Terraform's http backend with locks, versions and outputs, above a Store.
//
//	runner Pod --TLS, Pod-bound token--> server --> Service --> Store (kube: Secrets in the system namespace)
//	controller --TLS, its own token----> server --> Service
//
// The Service knows nothing of HTTP or tokens: it is told which Workspace (by UID) and which Holder, and keeps three
// journals for each Workspace: lock/<uid>, state/<uid> and outputs/<uid>. All correctness rests on Store.Create being
// atomic, so any number of servers can work side by side over one store.
package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"k8s.io/utils/clock"
)

var (
	// ErrInvalid is returned for what the caller should not have sent.
	ErrInvalid = errors.New("invalid request")
	// ErrNotHolder is returned for a write or an unlock by somebody who doesn't hold the lock.
	ErrNotHolder = errors.New("the lock is not held by this run")
	// ErrOutdated is returned for a state that is older than the one that is stored.
	ErrOutdated = errors.New("a newer state is stored")
	// ErrInUse is returned by Purge for a Workspace that still manages resources or is locked.
	ErrInUse = errors.New("the workspace is in use")
	// ErrBusy is returned when others were always faster; the request may be repeated.
	ErrBusy = errors.New("too many writers at once")
)

// How many records of each journal stay; pruneEvery of them more may be waiting to be pruned. Old locks are of no use
// but to servers that remember them (see journal).
const (
	keepLocks   = 8
	keepStates  = 10
	keepOutputs = 2
	pruneEvery  = 4
)

const (
	// attempts bounds how often an append is tried again after somebody else was faster.
	attempts     = 5
	pruneTimeout = time.Minute
	pruneQueue   = 1024
)

// Pods tells what became of a lock's holder.
type Pods interface {
	// Gone tells whether the holder's Pod has certainly ended. What can't be found out is an error, never gone.
	Gone(ctx context.Context, h Holder) (bool, error)
}

// Options are what a Service works with.
type Options struct {
	Store Store
	Pods  Pods
	Clock clock.PassiveClock
	Log   *slog.Logger
}

// Service keeps states, locks and outputs.
type Service struct {
	Options
	hints  *hints
	prunes chan prune
}

type prune struct {
	journal journal
	keep    int
}

// New returns a Service; Maintain must run for old records to go.
func New(o Options) *Service {
	return &Service{Options: o, hints: newHints(), prunes: make(chan prune, pruneQueue)}
}

func (s *Service) journal(kind, uid string) journal {
	return journal{store: s.Store, dir: kind + "/" + uid, hints: s.hints}
}

func (s *Service) locks(uid string) journal   { return s.journal("lock", uid) }
func (s *Service) states(uid string) journal  { return s.journal("state", uid) }
func (s *Service) outputs(uid string) journal { return s.journal("outputs", uid) }

// Healthy tells whether the store answers.
func (s *Service) Healthy(ctx context.Context) error {
	if _, err := s.Store.Get(ctx, "health"); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("asking the store: %w", err)
	}
	return nil
}

// change is a record to append, which depends on the one before it.
type change struct {
	journal journal
	keep    int
	data    []byte
	// settled tells whether nothing is to be appended after last: because it is done already, or, by an error, because
	// it is forbidden.
	settled func(last record) (bool, error)
}

// applyFast is apply that begins with what this server believes to be the newest record, without a look: append notices
// when it isn't, and only a belief that leads to an append is acted on.
func (s *Service) applyFast(ctx context.Context, c change) error {
	if last, ok := s.hints.get(c.journal.dir); ok {
		if settled, err := c.settled(last); !settled && err == nil {
			if err := s.append(ctx, c, last); !errors.Is(err, errMoved) {
				return err
			}
		}
	}
	return s.apply(ctx, c)
}

// apply appends unless the change is settled; when somebody else was faster it looks again.
func (s *Service) apply(ctx context.Context, c change) error {
	for range attempts {
		last, err := c.journal.newest(ctx)
		if err != nil {
			return err
		}
		if settled, err := c.settled(last); settled || err != nil {
			return err
		}
		if err := s.append(ctx, c, last); !errors.Is(err, errMoved) {
			return err
		}
	}
	return ErrBusy
}

func (s *Service) append(ctx context.Context, c change, last record) error {
	r, err := c.journal.append(ctx, last, c.data)
	if err == nil {
		s.pruneLater(c.journal, r, c.keep)
	}
	return err
}

// pruneLater has old records deleted now and then. When the queue is full the next writes will ask again.
func (s *Service) pruneLater(j journal, r record, keep int) {
	if r.n%pruneEvery != 0 {
		return
	}
	select {
	case s.prunes <- prune{journal: j, keep: keep}:
	default:
	}
}

// Maintain prunes old records until ctx ends. It works off the path of requests: nobody waits for it.
func (s *Service) Maintain(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-s.prunes:
			s.prune(ctx, p)
		}
	}
}

func (s *Service) prune(ctx context.Context, p prune) {
	ctx, cancel := context.WithTimeout(ctx, pruneTimeout)
	defer cancel()
	if err := p.journal.prune(ctx, p.keep); err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, "pruning failed; a later write tries again", "error", err)
	}
}

// Purge removes all that is kept of a destroyed Workspace. It returns ErrInUse while the newest state still has
// resources or a live Run holds the lock, and ErrNotFound when nothing is kept.
func (s *Service) Purge(ctx context.Context, uid string) error {
	if uid == "" || strings.Contains(uid, "/") {
		return fmt.Errorf("%w: a workspace's UID is needed", ErrInvalid)
	}
	kept, err := s.purgeable(ctx, uid)
	if err != nil {
		return err
	}
	// The lock goes last: until then a second Purge still finds something and goes on.
	if err := s.eraseArchive(ctx, archiveOf(uid)); err != nil {
		return err
	}
	for _, j := range []journal{s.outputs(uid), s.states(uid), s.locks(uid)} {
		if err := j.erase(ctx); err != nil {
			return err
		}
	}
	if !kept {
		return fmt.Errorf("workspace %s: %w", uid, ErrNotFound)
	}
	return nil
}

// purgeable tells whether anything is kept, or returns ErrInUse.
func (s *Service) purgeable(ctx context.Context, uid string) (bool, error) {
	lock, now, err := s.newestLock(ctx, uid)
	if err != nil {
		return false, err
	}
	if err := s.passable(ctx, now); err != nil {
		return false, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	st, err := s.states(uid).newest(ctx)
	if err != nil {
		return false, err
	}
	n, err := countResources(st.data)
	if err != nil {
		return false, err
	}
	if n > 0 {
		return false, fmt.Errorf("%w: its state still has %d resources; destroy them first", ErrInUse, n)
	}
	out, err := s.outputs(uid).newest(ctx)
	return lock.n+st.n+out.n > 0, err
}

// countResources counts the managed resources of a state; data sources are not counted, they manage nothing.
func countResources(data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil
	}
	var st struct {
		Resources []struct {
			Mode      string            `json:"mode"`
			Instances []json.RawMessage `json:"instances"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return 0, fmt.Errorf("%w: its state can't be read: %w", ErrInUse, err)
	}
	n := 0
	for _, r := range st.Resources {
		if r.Mode != "data" {
			n += len(r.Instances)
		}
	}
	return n, nil
}
