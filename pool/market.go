package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// market is all that could take some wants, looked up outside of set.mu: nobody waits for another's file system.
type market struct {
	set    *Set
	pools  []*Pool
	rooms  []room // of the pools, in their order
	closed []refusal
	books  []book

	ended  map[string]int64 // what had been written on each device when its room was not yet asked for
	offers []*offer
}

// refusal is why a pool takes nothing.
type refusal struct{ pool, reason string }

// book is a shared pool's ledger, locked.
type book struct {
	pool    *Pool
	ledger  *ledger
	changed bool // something was reserved
}

// device is what is known of writing on one device. Guarded by Set.mu.
type device struct {
	inFlight int64 // bytes that reservations are going to write
	ended    int64 // bytes of all reservations that ended: it only grows
}

// market looks up the pools that wants allow. For a reservation the ledgers of shared pools stay locked until
// close. Its error is about the pools that wants name, or that there are none.
func (s *Set) market(ctx context.Context, wants []volume.Want, reserve bool) (*market, error) {
	m := &market{set: s}
	if err := m.visit(wants); err != nil {
		return nil, err
	}
	m.each(func(p *Pool) error { return m.read(ctx, p, reserve) })
	// What ends while the rooms are asked for may or may not be seen in them, and is counted as in flight still.
	m.ended = map[string]int64{}
	s.mu.Lock()
	for _, p := range m.pools {
		m.ended[p.storage.device] = s.disk(p.storage.device).ended
	}
	s.mu.Unlock()
	m.each(func(p *Pool) error {
		r, err := p.storage.ask()
		if err == nil {
			m.rooms = append(m.rooms, r)
		}
		return err
	})
	if ctx.Err() != nil {
		_ = m.close()
		return nil, context.Cause(ctx)
	}
	return m, nil
}

// visit collects the pools that wants allow.
func (m *market) visit(wants []volume.Want) error {
	named := map[string]bool{}
	for i := range wants {
		name := wants[i].Pool
		switch {
		case name != "" && !wants[i].Takes(name):
			return fault.Errorf(fault.PoolNotFound, "no pool is named %.80q", name)
		case name != "":
			named[name] = true
		}
	}
	takes := func(p *Pool) bool {
		return slices.ContainsFunc(wants, func(w volume.Want) bool { return w.Takes(p.name) })
	}
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	for _, p := range m.set.pools {
		if p.phase == gone || !takes(p) {
			continue
		}
		switch {
		case p.valid() && !named[p.name] && time.Now().Before(p.shunned):
			m.closed = append(m.closed, refusal{p.name, "its lock did not become free for long"})
		case p.valid():
			m.pools = append(m.pools, p)
			delete(named, p.name)
		default:
			m.closed = append(m.closed, refusal{p.name, p.why()})
		}
	}
	for _, r := range m.closed {
		if named[r.pool] {
			return fault.Errorf(fault.PoolUnavailable, "pool %s takes no volumes now: %s", r.pool, r.reason)
		}
	}
	for name := range named {
		return fault.Errorf(fault.PoolNotFound, "no pool is named %.80q", name)
	}
	if len(m.pools) == 0 && len(wants) > 0 {
		return fault.Errorf(fault.VolumeAvailablePathNotFound, "there is no valid pool%s", reasons(m.closed))
	}
	return nil
}

// each calls fn for every pool, and goes on without those for which it fails.
func (m *market) each(fn func(p *Pool) error) {
	pools := m.pools[:0]
	for _, p := range m.pools {
		if err := fn(p); err != nil {
			m.closed = append(m.closed, refusal{p.name, err.Error()})
			continue
		}
		pools = append(pools, p)
	}
	m.pools = pools
}

// read takes in what other servers made of a shared pool.
func (m *market) read(ctx context.Context, p *Pool, reserve bool) error {
	switch {
	case p.shared == nil:
		return nil
	case !reserve:
		return p.peek()
	}
	l, err := p.openLedger(ctx)
	if err == nil {
		m.books = append(m.books, book{pool: p, ledger: l})
	}
	return err
}

// open makes offers of what was found. emptied are pools whose bins don't count. The caller holds set.mu.
func (m *market) open(emptied map[*Pool]bool) {
	disks := map[string]*disk{}
	for i, p := range m.pools {
		if !p.valid() {
			m.closed = append(m.closed, refusal{p.name, p.why()})
			continue
		}
		taken, limits := p.taken(), p.settings.Limits
		o := &offer{
			pool: p, name: p.name, limits: limits, keepsBin: p.settings.BinKeep, keeps: p.keeps,
			volumes: Unlimited, bytes: Unlimited, used: taken, free: m.rooms[i].free, reserve: p.settings.Reserve,
			cluster: p.ceph,
		}
		if limits.Volumes != Unlimited {
			o.volumes = limits.Volumes - taken.Volumes
		}
		if limits.TotalSize != Unlimited {
			o.bytes = limits.TotalSize - taken.Bytes
		}
		if !emptied[p] && p.use.BinVolumes > 0 {
			o.bin = tally{Volumes: int64(p.use.BinVolumes), Bytes: p.use.BinBytes}
		}
		name := p.storage.device
		if disks[name] == nil {
			d := m.set.disk(name)
			disks[name] = &disk{inFlight: d.inFlight + d.ended - m.ended[name]}
		}
		o.disk = disks[name]
		if !p.ceph { // of which it is not known what they write where
			o.disk.inFlight += p.othersReserved.Write
		}
		m.offers = append(m.offers, o)
	}
}

// changed notes that something was reserved in a pool.
func (m *market) changed(p *Pool) {
	for i := range m.books {
		m.books[i].changed = m.books[i].changed || m.books[i].pool == p
	}
}

// close gives the ledgers back, after writing those in which something was reserved.
func (m *market) close() error {
	var errs []error
	for _, b := range m.books {
		if !b.changed {
			b.ledger = nil
		}
		errs = append(errs, b.pool.closeLedger(b.ledger))
	}
	return errors.Join(errs...)
}

// refuse is the error for the want that could not be placed.
func (m *market) refuse(wants []volume.Want, failed int) error {
	w := wants[failed]
	offers := slices.DeleteFunc(slices.Clone(m.offers), func(o *offer) bool { return !w.Takes(o.name) })
	if len(offers) == 0 {
		return fault.Errorf(fault.PoolUnavailable, "no pool takes volumes now%s", reasons(m.closed))
	}
	what := describe(&w)
	if slices.ContainsFunc(offers, func(o *offer) bool { return o.lacks(&w, false) == fits }) {
		// Each alone could be placed: it is all together that are too much.
		for i := range wants {
			if i != failed {
				w.Volumes, w.Bytes, w.Write = w.Volumes+wants[i].Volumes, w.Bytes+wants[i].Bytes, w.Write+wants[i].Write
			}
		}
		what = fmt.Sprintf("%d volumes of %s together", w.Volumes, formatSize(w.Bytes))
	}
	list := slices.Clone(m.closed)
	for _, o := range offers {
		list = append(list, refusal{o.name, o.explain(&w, o.lacks(&w, false))})
	}
	return fault.Errorf(fault.VolumeNotAllocable, "no pool has room for %s%s", what, reasons(list))
}

// describe names a want in a sentence.
func describe(w *volume.Want) string {
	switch {
	case w.Volumes > 0:
		return "a volume of " + formatSize(w.Size)
	case w.Bytes > 0:
		return formatSize(w.Bytes) + " more"
	}
	return formatSize(w.Write) + " to be written"
}

// reasons lists why pools refuse, those of the first few.
func reasons(list []refusal) string {
	const most, longest = 8, 300
	var b strings.Builder
	for i, r := range list {
		if i == most {
			fmt.Fprintf(&b, "; and %d more pools", len(list)-most)
			break
		}
		reason := []rune(r.reason)
		if len(reason) > longest {
			reason = append(reason[:longest], '…')
		}
		fmt.Fprintf(&b, "; %s: %s", r.pool, string(reason))
	}
	return b.String()
}
