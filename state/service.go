// Package state is Plumbline's state service: Terraform's http backend with locks, versions and outputs, above a Store.
//
//	runner Pod --TLS, Pod-bound token--> server --> Service --> Store (kube: Secrets in the system namespace)
//	controller --TLS, its own token----> server --> Service
//
// The Service knows nothing of HTTP or tokens: it is told which Workspace (by UID) and which Holder, and keeps a
// few journals for each Workspace: lock/<uid>, state/<uid>, outputs/<uid>, unsaved/<uid> and made/<uid>. Whose they are
// stands in others (owner.go). All correctness rests on Store.Create being atomic, so any number of servers can work
// side by side over one store.
//
// Beside the journals lies the archive: what Runs leave behind, written once (archive.go), for a time (retention.go).
package state

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
)

var (
	// ErrInvalid is returned for what the caller should not have sent.
	ErrInvalid = errors.New("invalid request")
	// ErrNotHolder is returned for a write or an unlock by somebody who doesn't hold the lock.
	ErrNotHolder = errors.New("the lock is not held by this run")
	// ErrOutdated is returned for a state that is older than the one that is stored.
	ErrOutdated = errors.New("a newer state is stored")
	// ErrConflict is returned for a state that can't come after the one that is stored: of another lineage, or of the
	// same serial with other content.
	ErrConflict = errors.New("another state is stored")
	// ErrInUse is returned by Purge for a Workspace that still manages resources or is locked.
	ErrInUse = errors.New("the workspace is in use")
	// ErrBusy is returned when others were always faster; the request may be repeated.
	ErrBusy = errors.New("too many writers at once")
)

// How many records of each journal stay; pruneEvery of them more may be waiting to be pruned. Old locks are of no use
// but to servers that remember them (see journal), and to whoever asks who broke one.
const (
	keepLocks   = 8
	keepOutputs = 2
	pruneEvery  = 4
	// keepLeast stay whatever their age: a writer looks at the record before its own.
	keepLeast = 2

	// DefaultKeepVersions and MaxKeepVersions are of a state; each version describes all that are kept.
	DefaultKeepVersions = 20
	MaxKeepVersions     = 500
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
	// KeepVersions is how many versions of a state stay, DefaultKeepVersions when 0. KeepAge is for how long those before
	// the newest stay, forever when 0.
	KeepVersions int
	KeepAge      time.Duration
	// KeepDeleted is for how long what is kept of a Workspace outlives its deletion; no time when 0.
	KeepDeleted time.Duration
	// StoreID tells this store from others, and Installation this service: both stand in what it keeps.
	StoreID, Installation string
	// Metrics counts locks and versions; nil for nobody who asks.
	Metrics prometheus.Registerer
}

// Service keeps states, locks and outputs.
type Service struct {
	Options
	hints   *hints
	logs    logSizes
	prunes  chan prune
	metrics *metrics
	// registered are UIDs whose owner is noted in the store.
	registered known
}

type prune struct {
	journal journal
	keep    int
	age     time.Duration
}

// New returns a Service; Maintain must run for old records to go.
func New(o Options) *Service {
	o.KeepVersions = max(keepLeast, min(cmp.Or(o.KeepVersions, DefaultKeepVersions), MaxKeepVersions))
	return &Service{
		Options: o, hints: newHints(), prunes: make(chan prune, pruneQueue), metrics: newMetrics(o.Metrics),
	}
}

func (s *Service) journalAt(dir string) journal {
	return journal{store: s.Store, dir: dir, hints: s.hints}
}

const statesDir = "state/"

func (j journal) ofStates() bool { return strings.HasPrefix(j.dir, statesDir) }

func (s *Service) locks(uid string) journal   { return s.journalAt("lock/" + uid) }
func (s *Service) states(uid string) journal  { return s.journalAt(statesDir + uid) }
func (s *Service) outputs(uid string) journal { return s.journalAt("outputs/" + uid) }

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
	age     time.Duration
	// data returns what to append after last: errSettled when that is done already, another error when it is forbidden.
	data func(last record) ([]byte, error)
	// unclear tells that it was tried, and may have been done and overtaken.
	unclear bool
}

// applyFast is apply that begins with what this server believes to be the newest record, without a look: append notices
// when it isn't, and only a belief that leads to an append is acted on.
func (s *Service) applyFast(ctx context.Context, c change) error {
	if last, ok := s.hints.get(c.journal.dir); ok {
		if data, err := c.data(last); err == nil {
			err := s.append(ctx, c, last, data)
			if !errors.Is(err, errMoved) {
				return err
			}
			c.unclear = errors.Is(err, errUnclear)
		}
	}
	return s.apply(ctx, c)
}

// apply appends unless the change is settled; when somebody else was faster it looks again. A refusal is errUnclear too
// when an attempt before it may have been the newest record for a while.
func (s *Service) apply(ctx context.Context, c change) error {
	for range attempts {
		last, err := c.journal.newest(ctx)
		if err != nil {
			return err
		}
		data, err := c.data(last)
		switch {
		case errors.Is(err, errSettled):
			return nil
		case err != nil && errors.Is(err, errMoved):
			continue // somebody went on while what is there was read
		case err != nil && c.unclear:
			return fmt.Errorf("%w, and then: %w", errUnclear, err)
		case err != nil:
			return err
		}
		err = s.append(ctx, c, last, data)
		if !errors.Is(err, errMoved) {
			return err
		}
		c.unclear = c.unclear || errors.Is(err, errUnclear)
	}
	return ErrBusy
}

func (s *Service) append(ctx context.Context, c change, last record, data []byte) error {
	r, err := c.journal.append(ctx, last, data)
	if err == nil {
		s.pruneLater(r, prune{journal: c.journal, keep: c.keep, age: c.age})
	}
	return err
}
