package server

import (
	"crypto/sha256"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// remember is for how long a token's identity, or its refusal, is believed without asking again. Writes ask about the
	// Run anyway.
	remember = 10 * time.Second
	// maxRemembered bounds the memory of each kind.
	maxRemembered = 4096
)

// remembered are answers about tokens, by the tokens' hashes. Its methods may be called at once.
type remembered[T any] struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	answers map[[sha256.Size]byte]remembrance[T]
}

type remembrance[T any] struct {
	answer T
	until  time.Time
}

func (m *remembered[T]) recall(key [sha256.Size]byte) (T, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.answers[key]
	return r.answer, ok && m.clock.Now().Before(r.until)
}

func (m *remembered[T]) retain(key [sha256.Size]byte, answer T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	for k, r := range m.answers {
		if !now.Before(r.until) || len(m.answers) >= maxRemembered {
			delete(m.answers, k)
		}
	}
	if m.answers == nil {
		m.answers = map[[sha256.Size]byte]remembrance[T]{}
	}
	m.answers[key] = remembrance[T]{answer, now.Add(remember)}
}
