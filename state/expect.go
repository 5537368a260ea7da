package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// MissingError is returned for a state that isn't what its Workspace's last Run left, or that may be kept under another
// UID. An empty state in its place would have everything made a second time.
type MissingError struct{ Text string }

// Error implements error.
func (e *MissingError) Error() string { return e.Text }

// NewestExpected is Newest for a Run, which says what it expects. A UID without a state, of a name that others have a
// state of, is missing one too.
func (s *Service) NewestExpected(ctx context.Context, o Owner, want job.Expected) (Version, []byte, error) {
	v, data, err := s.Newest(ctx, o.UID)
	switch {
	case errors.Is(err, ErrNotFound):
		if missing := s.absent(ctx, o, want); missing != nil {
			return Version{}, nil, missing
		}
		return Version{}, nil, err
	case err != nil:
		return Version{}, nil, err
	}
	if why := s.differs(v, want); why != "" {
		return Version{}, nil, s.unlike(o, v, why)
	}
	if err := s.Register(ctx, o); err != nil {
		// What is read is right all the same, and the next one tries again.
		s.Log.WarnContext(ctx, "noting whose a state is failed", "uid", o.UID, "error", err)
	}
	return v, data, nil
}

// Claim lets a UID have a state: that is where its first one is written. It costs nothing once the owner is known.
func (s *Service) Claim(ctx context.Context, o Owner) error {
	if s.registered.has(o.UID) {
		return nil
	}
	_, _, err := s.Newest(ctx, o.UID)
	if errors.Is(err, ErrNotFound) {
		err = s.absent(ctx, o, job.Expected{})
	}
	if err != nil {
		return err
	}
	return s.Register(ctx, o)
}

// differs says in what a state isn't the expected one; empty when it is.
func (s *Service) differs(v Version, want job.Expected) string {
	switch {
	case want.Store != "" && s.StoreID != "" && want.Store != s.StoreID:
		return fmt.Sprintf("it was in store %s, and this is store %s", want.Store, s.StoreID)
	case want.Lineage != "" && v.Lineage != want.Lineage:
		return fmt.Sprintf("its lineage was %s, and is %s", want.Lineage, v.Lineage)
	case int64(v.Serial) < want.Serial: //nolint:gosec // serials count writes
		return fmt.Sprintf("it had serial %d, and what is stored has %d: it is older", want.Serial, v.Serial)
	}
	return ""
}

const nothingDone = "Nothing was planned and nothing changed."

func (s *Service) unlike(o Owner, v Version, why string) error {
	return &MissingError{fmt.Sprintf("the state is not the one that the last Run left: %s. %s "+
		"Bring the store back as it was and ask for a rerun, or, to go on with what is stored (version %d, serial %d%s), "+
		"set the annotation plumbline.dev/adopt-state to %s (or: plumbline state adopt %s --from %s)",
		why, nothingDone, v.Number, v.Serial, written(v.At), o.UID, o.Name, o.UID)}
}

// absent returns why a UID may not begin with an empty state; nil when it may.
func (s *Service) absent(ctx context.Context, o Owner, want job.Expected) error {
	uids, err := s.uidsOf(ctx, o.Namespace, o.Name)
	if err != nil {
		return err
	}
	if len(uids) == 0 && !want.Anything() {
		return nil
	}
	own, err := s.OwnerOf(ctx, o.UID)
	if err == nil {
		err = s.onlyBegun(ctx, own, o.Name)
	}
	if err != nil || own.Exists() && !want.Anything() {
		return err
	}
	others, err := s.others(ctx, o.UID, uids)
	if err != nil || len(others) == 0 && !want.Anything() {
		return err
	}
	return &MissingError{s.explain(o, want, others)}
}

// onlyBegun says of a take-over that is not done that it isn't.
func (s *Service) onlyBegun(ctx context.Context, own OwnerRecord, name string) error {
	arrived, err := s.arrived(ctx, own)
	if err != nil || arrived || own.From == "" {
		return err
	}
	return &MissingError{fmt.Sprintf("the state of UID %s is being taken over, and is not there yet. %s If it stays so, "+
		"repeat: plumbline state adopt %s --from %s", own.From, nothingDone, name, own.From)}
}

// arrived tells whether a take-over is done that had no state to bring, but what Runs could not save or have made: its
// last step takes the source off the list of its name.
func (s *Service) arrived(ctx context.Context, to OwnerRecord) (bool, error) {
	if to.From == "" {
		return false, nil
	}
	source, err := s.OwnerOf(ctx, to.From)
	if err != nil || source.TakenBy != to.UID || source.Name == "" {
		return false, err
	}
	if _, _, err := s.Newest(ctx, to.From); !errors.Is(err, ErrNotFound) {
		return false, err
	}
	listed, err := s.uidsOf(ctx, source.Namespace, source.Name)
	return err == nil && !slices.Contains(listed, to.From), err
}

// others are the states of UIDs that have something in them, or may have.
func (s *Service) others(ctx context.Context, uid string, uids []string) ([]Kept, error) {
	var found []Kept
	for _, other := range uids {
		if other == uid {
			continue
		}
		k, err := s.keptFor(ctx, other)
		if err != nil {
			return nil, err
		}
		if k != nil && !k.wasDeleted() && (k.Resources == nil || *k.Resources > 0) {
			found = append(found, *k)
		}
	}
	return found, nil
}

// maxListed bounds a message.
const maxListed = 5

// explain says what is missing, what there is, and what to do.
func (s *Service) explain(o Owner, want job.Expected, others []Kept) string {
	var b strings.Builder
	if want.Anything() {
		fmt.Fprintf(&b, "the state is missing: the last Run left %s, and nothing is kept for UID %s", describeWanted(want),
			o.UID)
		if want.Store != "" && s.StoreID != "" && want.Store != s.StoreID {
			fmt.Fprintf(&b, " in this store, which is %s", s.StoreID)
		}
	} else {
		fmt.Fprintf(&b, "the state is missing: nothing is kept for UID %s, but for earlier Workspaces of this name", o.UID)
	}
	fmt.Fprintf(&b, ". %s", nothingDone)
	if len(others) == 0 {
		fmt.Fprintf(&b, " Bring the store back and ask for a rerun")
	}
	for i, k := range others {
		if i == maxListed {
			fmt.Fprintf(&b, " And %d more: see plumbline state orphans.", len(others)-i)
			break
		}
		fmt.Fprintf(&b, " There is UID %s: serial %d, %s%s.", k.UID, k.Serial, countText(k.Resources), written(k.At))
	}
	if len(others) > 0 {
		fmt.Fprintf(&b, " To take one over set the annotation plumbline.dev/adopt-state to its UID (or: plumbline state "+
			"adopt %s --from UID)", o.Name)
	}
	b.WriteString("; to start afresh, with everything made anew, set plumbline.dev/adopt-state to none")
	return b.String()
}

func describeWanted(want job.Expected) string {
	text := fmt.Sprintf("serial %d", want.Serial)
	if want.Lineage != "" {
		text += " of lineage " + want.Lineage
	}
	if want.Store != "" {
		text += " in store " + want.Store
	}
	return text
}

func countText(n *int) string {
	switch {
	case n == nil:
		return "its resources can't be counted (it is encrypted or damaged)"
	case *n == 1:
		return "1 resource"
	}
	return fmt.Sprintf("%d resources", *n)
}

func written(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return ", written " + at.UTC().Format(time.RFC3339)
}
