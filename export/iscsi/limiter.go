package iscsi

import (
	"context"
	"fmt"
	"sync"
	"time"

	"elstore/export/scsi"
)

// Rates are what a volume may do per second. 0 is as much as it can.
type Rates struct {
	ReadBytes, WriteBytes           int64
	ReadOperations, WriteOperations int64
}

// allowance is how long a volume may be ahead of its rates, after it did less before.
const allowance = time.Second

// Limiter delays commands so that a volume keeps to its rates. Commands that change the medium without data of
// the initiator, such as UNMAP, count as write operations. One Limiter may be that of several targets. Its
// methods may be called from many goroutines at once.
type Limiter struct {
	mu    sync.Mutex
	rates Rates

	// Until when what was let through is paid for.
	readBytes, writeBytes, readOperations, writeOperations time.Time
}

// NewLimiter returns a Limiter.
func NewLimiter(r Rates) (*Limiter, error) {
	l := &Limiter{}
	return l, l.Set(r)
}

// Set changes the rates. What waits keeps waiting as long as it was to.
func (l *Limiter) Set(r Rates) error {
	if min(r.ReadBytes, r.WriteBytes, r.ReadOperations, r.WriteOperations) < 0 {
		return fmt.Errorf("the rates %+v are not all 0 or more", r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rates = r
	l.readBytes, l.writeBytes, l.readOperations, l.writeOperations = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return nil
}

// limits reports whether there is a rate to keep to. A nil Limiter has none.
func (l *Limiter) limits() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rates != Rates{}
}

// admit lets a command through, after the time that it returns.
func (l *Limiter) admit(kind scsi.Kind, bytes int64) time.Duration {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rates == (Rates{}) {
		return 0
	}
	now := time.Now()
	switch kind {
	case scsi.KindRead, scsi.KindVerify:
		return max(pay(&l.readOperations, now, 1, l.rates.ReadOperations), pay(&l.readBytes, now, bytes, l.rates.ReadBytes))
	case scsi.KindWrite, scsi.KindZero, scsi.KindCopy:
		return max(pay(&l.writeOperations, now, 1, l.rates.WriteOperations), pay(&l.writeBytes, now, bytes, l.rates.WriteBytes))
	case scsi.KindOther, scsi.KindFlush:
	}
	return 0
}

// wait is admit that waits, or fails with the context's error.
func (l *Limiter) wait(ctx context.Context, kind scsi.Kind, bytes int64) error {
	wait := l.admit(kind, bytes)
	if wait == 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pay charges an account, and returns how long it is until it was not more than the allowance ahead before.
func pay(paid *time.Time, now time.Time, amount, rate int64) time.Duration {
	if rate == 0 {
		return 0
	}
	if paid.Before(now) {
		*paid = now
	}
	wait := paid.Sub(now) - allowance
	*paid = paid.Add(time.Duration(float64(amount) / float64(rate) * float64(time.Second)))
	return max(wait, 0)
}

// delay holds a command back where it has to be, once. s.mu is held.
func (s *session) delay(t *task) (delayed bool) {
	if t.paced || t.noUnit {
		return false
	}
	t.paced = true
	wait := s.target.cfg.Limiter.admit(t.plan.Kind, t.plan.Length)
	if wait == 0 {
		return false
	}
	t.state = queued
	seq := t.seq
	t.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed || t.seq != seq || t.state != queued { // it was aborted, and may be another's now
			return
		}
		s.launch(t)
	})
	return true
}
