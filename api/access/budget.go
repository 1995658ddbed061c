package access

import (
	"sync"
	"time"
)

// budget is how many requests a token may still make: it fills at a rate, up to what a second brings, and at least 1.
type budget struct {
	rate float64 // requests per second

	mu   sync.Mutex
	left float64
	at   time.Time // when left was right
}

// newBudget returns a full budget, nil for no limit.
func newBudget(rate float64) *budget {
	if rate <= 0 {
		return nil
	}
	return &budget{rate: rate, left: max(1, rate), at: time.Now()}
}

// take takes one request, or returns how long it takes until there is one.
func (b *budget) take() (wait time.Duration) {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.left = min(max(1, b.rate), b.left+b.rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.left < 1 {
		return max(time.Millisecond, time.Duration((1-b.left)/b.rate*float64(time.Second)))
	}
	b.left--
	return 0
}
