package state

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"time"
)

const (
	// choresEvery is how often a server looks whether a chore is due: two small reads for each.
	choresEvery = 5 * time.Minute
	// sweepTimeout bounds one chore. Whoever hasn't finished by then is taken for dead, and another one begins.
	sweepTimeout = 10 * time.Minute

	sweepDir   = "sweep/"
	keepSweeps = 2
)

// Chore is work on the whole store that its servers do now and then: one of them, whichever looks first.
type Chore struct {
	Name  string
	Every time.Duration
	Do    func(ctx context.Context) error
}

// chore is a record of the journal sweep/<name>: a server has begun, or has finished.
type chore struct {
	// Nonce makes the record unlike any other, which journals rely on.
	Nonce string    `json:"nonce"`
	At    time.Time `json:"at"`
	Done  bool      `json:"done,omitempty"`
}

// due tells whether it is time to begin. A record from the future is one of a clock that was wrong.
func (c chore) due(now time.Time, every time.Duration) bool {
	since := now.Sub(c.At)
	return since < 0 || c.Done && since >= every || !c.Done && since >= sweepTimeout
}

// Sweep does chores when their time has come, until ctx ends. The store remembers when each was last done, so servers
// that restart, however often, neither forget one nor do it over and over.
func (s *Service) Sweep(ctx context.Context, chores ...Chore) {
	for {
		for _, c := range chores {
			if err := s.sweep(ctx, c); err != nil && ctx.Err() == nil {
				s.Log.WarnContext(ctx, "a chore failed; it is tried again", "chore", c.Name, "error", err)
			}
		}
		if pause(ctx, choresEvery) != nil {
			return
		}
	}
}

// sweep does one chore if it is due and nobody else has begun it.
func (s *Service) sweep(ctx context.Context, c Chore) error {
	j := s.journalAt(sweepDir + c.Name)
	begun := false
	err := s.apply(ctx, change{journal: j, keep: keepSweeps, data: func(last record) ([]byte, error) {
		if begun = s.isDue(last, c); !begun {
			return nil, errSettled
		}
		return s.encodeChore(chore{})
	}})
	if err != nil || !begun {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	if err := c.Do(bounded); err != nil {
		return err
	}
	return s.apply(ctx, change{journal: j, keep: keepSweeps, data: func(record) ([]byte, error) {
		return s.encodeChore(chore{Done: true})
	}})
}

// isDue also begins behind a record that can't be read: a chore is done once too often rather than never again.
func (s *Service) isDue(last record, c Chore) bool {
	var before chore
	if last.n == 0 || last.damaged != nil || json.Unmarshal(last.data, &before) != nil {
		return true
	}
	return before.due(s.Clock.Now(), c.Every)
}

func (s *Service) encodeChore(c chore) ([]byte, error) {
	c.Nonce, c.At = rand.Text(), s.Clock.Now().UTC()
	return encode(c)
}

// The chores of every store.

// tidyEvery is how often versions are looked for that have grown too old in Workspaces that nobody writes to.
const tidyEvery = 12 * time.Hour

// TidyVersions prunes versions by their age.
func (s *Service) TidyVersions() Chore {
	return Chore{Name: "versions", Every: tidyEvery, Do: func(ctx context.Context) error {
		if s.KeepAge == 0 {
			return nil
		}
		return s.tidy(ctx)
	}}
}

// archiveEvery is how often archives are looked for that are too old.
const archiveEvery = time.Hour

// TidyArchive removes archives by their age.
func (s *Service) TidyArchive(keep time.Duration) Chore {
	return Chore{Name: "archive", Every: archiveEvery, Do: func(ctx context.Context) error {
		return s.sweepArchive(ctx, keep)
	}}
}

// TidyDeleted removes what is kept of Workspaces that were deleted long enough ago.
func (s *Service) TidyDeleted() Chore {
	return Chore{Name: "deleted", Every: archiveEvery, Do: s.eraseDeleted}
}
