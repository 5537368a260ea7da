package driver

import (
	"context"
	"fmt"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// made follows, by address, what an apply has created and destroyed: 1 for a resource that there is now and wasn't
// before, -1 for the opposite, 0 for one that was replaced. The zero made is empty.
type made map[string]int

func (m *made) note(c change) {
	if *m == nil {
		*m = made{}
	}
	switch c.Action {
	case "create":
		(*m)[c.Resource.Addr]++
	case "delete":
		(*m)[c.Resource.Addr]--
	}
}

// differs tells whether the state is another one for certain. One resource replaced by its like, or an update of what
// no state holds, may leave it as it was.
func (m made) differs() bool {
	for _, n := range m {
		if n != 0 {
			return true
		}
	}
	return false
}

// mark is what was stored before an apply.
type mark struct {
	writes int
	seen   snapshot
}

func (r *run) mark() mark {
	if r.foreign() {
		return mark{seen: r.seen}
	}
	return mark{writes: r.proxy.stored()}
}

// delivered makes sure that an apply which changed something has stored a state where it belongs.
func (r *run) delivered(ctx context.Context, before mark) error {
	if !r.said.made.differs() {
		return nil
	}
	stored := false
	if r.foreign() {
		now, _, err := r.pull(ctx)
		if err != nil {
			return err
		}
		stored = now.serial != before.seen.serial || now.lineage != before.seen.lineage
		r.seen, r.fresh = now, true
	} else {
		stored = r.proxy.stored() > before.writes
	}
	if stored {
		return nil
	}
	return &failure{job.StateUnsaved, fmt.Sprintf("%s, and no state that says so was stored in %s: the next Run would do "+
		"it again. Look into the log for what was made, and for a backend of the source's own",
		r.said.summary, r.wanted().name)}
}
