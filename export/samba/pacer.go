package samba

import (
	"context"
	"sync"
	"time"

	"elstore/export"
)

// way is which rates a request counts for.
type way int

const (
	reading way = iota
	writing
)

// allowance is how long an attachment may be ahead of its rates, after it did less before.
const allowance = time.Second

// pacer delays requests so that an attachment keeps to its rates.
type pacer struct {
	mu    sync.Mutex
	rates [2][2]int64     // operations and bytes per second of each way; 0 is no limit
	paid  [2][2]time.Time // until when what was let through is paid for
}

// set makes rates those that count.
func (p *pacer) set(r export.Rates) {
	readBytes, writeBytes, readOperations, writeOperations := r.PerSecond()
	p.mu.Lock()
	defer p.mu.Unlock()
	if rates := [2][2]int64{{readOperations, readBytes}, {writeOperations, writeBytes}}; rates != p.rates {
		p.rates, p.paid = rates, [2][2]time.Time{}
	}
}

// wait lets a request through when its time has come.
func (p *pacer) wait(ctx context.Context, w way, bytes int) error {
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
func (p *pacer) charge(now time.Time, w way, bytes int) (delay time.Duration) {
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
