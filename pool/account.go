package pool

import (
	"context"
	"errors"
	"time"

	"elstore/volume/fault"
)

// The ledger of a shared pool as one Pool keeps its part of it. p.made and p.reserved are the truth about this
// server, and every writing of the ledger takes them whole.

// openLedger locks the ledger and takes in what other servers made. closeLedger must follow.
func (p *Pool) openLedger(ctx context.Context) (*ledger, error) {
	l, err := p.shared.begin(ctx)
	if err != nil {
		p.shun(err)
		return nil, err
	}
	if l == nil {
		l = newLedger()
	}
	if !p.takeIn(l) {
		return nil, errors.Join(fault.Errorf(fault.PoolUnavailable, "it is going out of use"), p.shared.end(nil))
	}
	return l, nil
}

// shun keeps calls for any pool from waiting for this one, where its lock was waited for in vain.
func (p *Pool) shun(err error) {
	if fault.Is(err, fault.PoolUnavailable) {
		p.set.mu.Lock()
		p.shunned = time.Now().Add(p.set.cfg.Rescan)
		p.set.mu.Unlock()
	}
}

// takeIn notes what other servers made. It returns false if the pool is not in use any more.
func (p *Pool) takeIn(l *ledger) bool {
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	if !p.counted {
		return false
	}
	p.shunned = time.Time{}
	if _, known := l.Servers[p.shared.key]; !known {
		// Somebody removed or spoilt the ledger. Whoever comes first begins it anew with what is in the directory,
		// and what the others had told before is in there.
		p.made, p.told = p.made.minus(p.told), tally{}
		if !l.Complete {
			made, _ := l.others(p.shared.key)
			l.Complete, l.Counts, p.made = true, p.seen().minus(made), tally{}
		}
	}
	p.othersUse, p.othersReserved = l.others(p.shared.key)
	return true
}

// closeLedger writes this server's part and unlocks the ledger. With nil it only unlocks it.
func (p *Pool) closeLedger(l *ledger) error {
	if l == nil {
		return p.shared.end(nil)
	}
	p.set.mu.Lock()
	l.Servers[p.shared.key] = entry{Holder: p.shared.self, Made: p.made, Reserved: p.reserved}
	number, made := p.change, p.made
	p.set.mu.Unlock()
	if err := p.shared.end(l); err != nil {
		return err
	}
	p.set.mu.Lock()
	if number >= p.flushed {
		p.flushed, p.told = number, made
	}
	p.set.mu.Unlock()
	return nil
}

// flush sees to it that the ledger has the change of this number, 0 for none. If it can't be written now, a
// later change or the next look at the pool takes it along.
func (p *Pool) flush(number int64) {
	if number == 0 {
		return
	}
	l, err := p.openLedger(context.Background()) // it gives up by itself
	if err == nil {
		p.set.mu.Lock()
		if p.flushed >= number { // another's writing took it along
			l = nil
		}
		p.set.mu.Unlock()
		err = p.closeLedger(l)
	}
	if err != nil {
		p.Unwell(err)
	}
}

// peek takes in what other servers made, without locking anything: the ledger is always replaced whole.
func (p *Pool) peek() error {
	l, err := readLedger(p.root)
	if err != nil || l == nil {
		return err
	}
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	p.othersUse, p.othersReserved = l.others(p.shared.key)
	return nil
}

// tend drops servers that are gone from the ledger, and writes what could not be written before.
func (p *Pool) tend(ctx context.Context) error {
	l, err := p.openLedger(ctx)
	if err != nil {
		return err
	}
	dropped := l.prune(p.root, p.shared.key)
	p.set.mu.Lock()
	p.othersUse, p.othersReserved = l.others(p.shared.key)
	if p.flushed == p.change && !dropped {
		l = nil
	}
	p.set.mu.Unlock()
	return p.closeLedger(l)
}
