package pool

import (
	"context"
	"log/slog"
	"slices"

	"elstore/volume"
	"elstore/volume/fault"
)

var _ volume.Pools = (*Set)(nil)

// Reserve takes room for all of wants, or for none: see volume.Pools. What it costs does not depend on how many
// volumes there are: every pool that comes into question is asked for its free space, and in a shared one the
// ledger is read and written.
func (s *Set) Reserve(
	ctx context.Context, wants []volume.Want, empty func(ctx context.Context, pool string) (bool, error),
) ([]volume.Reservation, error) {
	var emptied map[*Pool]bool // pools whose bins have nothing more to give
	emptying := false
	defer func() {
		if emptying {
			<-s.emptying
		}
	}()
	for {
		taken, bin, err := s.reserve(ctx, wants, emptied)
		if err == nil || bin == nil || empty == nil {
			return taken, err
		}
		if !emptying { // one at a time, so that nobody purges what another's purge made needless
			select {
			case s.emptying <- struct{}{}:
				emptying = true
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		freed, eerr := empty(ctx, bin.name)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if eerr != nil {
			s.log.Warn("bin not emptied to make room", slog.String("pool", bin.name), slog.Any("error", eerr))
		}
		if !freed {
			if emptied == nil {
				emptied = map[*Pool]bool{}
			}
			emptied[bin] = true
		}
	}
}

// reserve tries once. Where it fails and would not if bins were emptied, bin is the first pool to empty.
func (s *Set) reserve(ctx context.Context, wants []volume.Want, emptied map[*Pool]bool) (taken []volume.Reservation, bin *Pool, err error) {
	m, err := s.market(ctx, wants, true)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	m.open(emptied)
	chosen, failed := place(m.offers, wants, false)
	if failed >= 0 {
		err = m.refuse(wants, failed)
		if with, no := place(m.offers, wants, true); no < 0 {
			i := slices.IndexFunc(with, func(o *offer) bool { return o.empties })
			bin = with[i].pool
		}
	}
	list := make([]*reservation, 0, len(chosen))
	for i, o := range chosen {
		w := &wants[i]
		r := &reservation{pool: o.pool, elsewhere: elsewhere(o.pool.ceph, w), room: tally{Volumes: int64(w.Volumes), Bytes: w.Bytes, Write: w.Write}}
		r.hold()
		m.changed(o.pool)
		list = append(list, r)
	}
	s.mu.Unlock()
	if cerr := m.close(); err == nil && cerr != nil {
		for _, r := range list {
			r.Release() //nolint:contextcheck // giving back does not end with the caller
		}
		return nil, nil, cerr
	}
	for _, r := range list {
		taken = append(taken, r)
	}
	return taken, bin, err
}

// Count returns how many pools could take want now, the bin counted as free where it may be emptied.
func (s *Set) Count(ctx context.Context, want volume.Want) (int, error) {
	m, err := s.market(ctx, []volume.Want{want}, false)
	if err != nil {
		return 0, unlessFull(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.open(nil)
	n := 0
	for _, o := range m.offers {
		if o.lacks(&want, true) == fits {
			n++
		}
	}
	return n, nil
}

// Fit reports whether all of wants could be placed together now, the bins counted as free where they may be emptied.
func (s *Set) Fit(ctx context.Context, wants []volume.Want) (bool, error) {
	m, err := s.market(ctx, wants, false)
	if err != nil {
		return false, unlessFull(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.open(nil)
	_, failed := place(m.offers, wants, true)
	return failed < 0, nil
}

// reservation is room in a pool that is not used yet.
type reservation struct {
	pool      *Pool
	elsewhere bool // the bytes to write take no room of the file system's

	// Guarded by set.mu.
	room  tally
	ended bool
}

// Pool returns the name of the pool that was chosen.
func (r *reservation) Pool() string { return r.pool.name }

// hold takes the room. The caller holds set.mu.
func (r *reservation) hold() {
	p := r.pool
	p.reserved = p.reserved.plus(r.room)
	if !r.elsewhere {
		p.set.disk(p.storage.device).inFlight += r.room.Write
	}
}

// Keep turns the reservation into use, at most what was reserved.
func (r *reservation) Keep(volumes int, bytes int64) {
	r.give(func() (back, kept tally) {
		r.ended = true
		return r.room, tally{
			Volumes: min(max(int64(volumes), 0), r.room.Volumes),
			Bytes:   min(max(bytes, 0), r.room.Bytes),
		}
	})
}

// Release gives back what was not kept.
func (r *reservation) Release() { r.Keep(0, 0) }

// Wrote gives back the bytes to write.
func (r *reservation) Wrote() {
	r.give(func() (back, kept tally) {
		back.Write, r.room.Write = r.room.Write, 0
		return back, tally{}
	})
}

// give gives back a part of the room, and what of it is kept is use from now on. What it is is asked with set.mu held.
func (r *reservation) give(what func() (back, kept tally)) {
	p, s := r.pool, r.pool.set
	s.mu.Lock()
	if r.ended {
		s.mu.Unlock()
		return
	}
	back, kept := what()
	p.reserved = p.reserved.minus(back)
	if !r.elsewhere {
		d := s.disk(p.storage.device)
		d.inFlight -= back.Write
		d.ended += back.Write
	}
	p.use.Volumes += int(kept.Volumes)
	p.use.Bytes += kept.Bytes
	number := p.make(kept)
	if p.counted && number == 0 {
		p.change++ // the ledger still has the reservation
		number = p.change
	}
	s.mu.Unlock()
	p.flush(number)
}

// unlessFull drops the error that no pool is valid: then none could take anything, which is an answer.
func unlessFull(err error) error {
	if fault.Is(err, fault.VolumeAvailablePathNotFound) || fault.Is(err, fault.PoolUnavailable) {
		return nil
	}
	return err
}
