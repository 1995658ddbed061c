package export

import (
	"context"
	"sync"
	"time"
)

// Way is which rates a request counts for.
type Way int

// The ways.
const (
	Reading Way = iota
	Writing
)

// allowance is how long an attachment may be ahead of its rates, after it did less before.
const allowance = time.Second

// Pacer delays requests so that an attachment keeps to its rates, for kinds that have no limiter of their own. The zero value limits
// nothing. Its methods may be called at the same time.
type Pacer struct {
	mu    sync.Mutex
	rates [2][2]int64     // operations and bytes per second of each way; 0 is no limit
	paid  [2][2]time.Time // until when what was let through is paid for
}

// Set makes rates those that count.
func (p *Pacer) Set(r Rates) {
	readBytes, writeBytes, readOperations, writeOperations := r.PerSecond()
	p.mu.Lock()
	defer p.mu.Unlock()
	if rates := [2][2]int64{{readOperations, readBytes}, {writeOperations, writeBytes}}; rates != p.rates {
		p.rates, p.paid = rates, [2][2]time.Time{}
	}
}

// Wait lets a request of so many bytes through when its time has come, or returns why ctx ended before.
func (p *Pacer) Wait(ctx context.Context, w Way, bytes int) error {
	delay := p.charge(time.Now(), w, bytes)
	if delay == 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// charge enters a request, and returns how long it is to wait.
func (p *Pacer) charge(now time.Time, w Way, bytes int) (delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, amount := range [2]int{1, bytes} {
		rate, paid := p.rates[w][i], &p.paid[w][i]
		if rate == 0 {
			continue
		}
		if paid.Before(now) {
			*paid = now
		}
		delay = max(delay, paid.Sub(now)-allowance)
		*paid = paid.Add(time.Duration(float64(amount) / float64(rate) * float64(time.Second)))
	}
	return delay
}
