package state

import "sync"

// hints remembers the newest record of journals. A hint is never believed without a look at the store (see journal), so
// losing or missing one costs a listing and nothing else.
type hints struct {
	mu sync.Mutex
	m  map[string]record
}

const (
	// maxHints bounds the memory: beyond it everything is forgotten at once, which is rare and cheap.
	maxHints = 50_000
	// maxHintData is the size up to which a record's data is remembered too: locks are, states are not.
	maxHintData = 2048
)

func newHints() *hints { return &hints{m: map[string]record{}} }

func (h *hints) get(dir string) (record, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.m[dir]
	return r, ok
}

func (h *hints) set(dir string, r record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.m) >= maxHints {
		clear(h.m)
	}
	if len(r.data) > maxHintData {
		r.data = nil
	}
	h.m[dir] = r
}

func (h *hints) forget(dir string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.m, dir)
}
