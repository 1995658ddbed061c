package samba

import (
	"context"
	"sync"
)

// ledger is the shares that an smbd is to have, and brings it into agreement. Several changes at once cost little more than one. Its
// methods may be called at the same time.
type ledger struct {
	// change makes smbd have the users of all; come and gone are the shares that it has otherwise than they are here.
	change func(ctx context.Context, all, come []share, gone []string) error

	applying sync.Mutex // one change of what smbd has at a time

	mu      sync.Mutex
	shares  map[string]share
	pending map[string]bool // shares that are to come to smbd's registry, or to go from it
	version uint64          // grows with each change of shares
	applied uint64          // the version that smbd has
}

func (l *ledger) init(change func(ctx context.Context, all, come []share, gone []string) error) {
	l.change, l.shares, l.pending = change, map[string]share{}, map[string]bool{}
}

// add makes a share, or replaces its user's password. It stands when nil is returned.
func (l *ledger) add(ctx context.Context, s share) error {
	l.mu.Lock()
	old, there := l.shares[s.name]
	l.shares[s.name] = s
	if !there || old.readonly != s.readonly || old.guests != s.guests {
		l.pending[s.name] = true
	}
	return l.apply(ctx, l.changed())
}

// remove removes a share and its user.
func (l *ledger) remove(ctx context.Context, name string) error {
	l.mu.Lock()
	delete(l.shares, name)
	l.pending[name] = true
	return l.apply(ctx, l.changed())
}

// changed ends a change of the shares, which began with l.mu, and returns its version.
func (l *ledger) changed() uint64 {
	defer l.mu.Unlock()
	l.version++
	return l.version
}

// apply makes smbd have what the shares are, unless another call did so for this version: one call does it for all that waited.
func (l *ledger) apply(ctx context.Context, version uint64) error {
	l.applying.Lock()
	defer l.applying.Unlock()
	l.mu.Lock()
	if l.applied >= version {
		l.mu.Unlock()
		return nil
	}
	version = l.version
	var all, come []share
	var gone []string
	for _, s := range l.shares {
		all = append(all, s)
	}
	for name := range l.pending {
		if s, there := l.shares[name]; there {
			come = append(come, s)
		} else {
			gone = append(gone, name)
		}
	}
	clear(l.pending)
	l.mu.Unlock()
	err := l.change(ctx, all, come, gone)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.applied = version
		return nil
	}
	for _, s := range come {
		l.pending[s.name] = true
	}
	for _, name := range gone {
		l.pending[name] = true
	}
	return err
}
