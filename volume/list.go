package volume

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"math"
	"slices"
	"sync"
	"time"

	"elstore/volume/fault"
)

// lookAtOnce bounds how many entries a list looks at before it lets changes through.
const lookAtOnce = 512

// Get returns a volume that stands in a pool. A private one of somebody else is not found; a nil by sees all.
// Of a damaged one the error is why.
func (s *Service) Get(ctx context.Context, id ID, by Who) (Volume, error) {
	s.mu.RLock()
	e := s.index.all[id]
	if e == nil || !e.found.Trashed.IsZero() {
		s.mu.RUnlock()
		return Volume{}, notFound(id)
	}
	v, seen := s.record(e), known(ctx, e, by)
	s.mu.RUnlock()
	if !seen {
		return Volume{}, notFound(id)
	}
	if v.Problem != nil {
		return Volume{}, v.Problem
	}
	return stat(v, e), nil
}

// Has reports whether a volume stands in a pool, damaged or not.
func (s *Service) Has(ctx context.Context, id ID, by Who) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.index.all[id]
	return e != nil && e.found.Trashed.IsZero() && known(ctx, e, by)
}

// Knows is Has for volumes in the bin, too.
func (s *Service) Knows(ctx context.Context, id ID, by Who) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.index.all[id]
	return e != nil && known(ctx, e, by)
}

// known reports whether by may be told of a volume. The caller holds mu.
func known(ctx context.Context, e *entry, by Who) bool {
	v := Volume{Meta: e.found.Meta}
	return v.Visible(by) && inside(ctx, e.pool.pool.Name()) && !nobodys(ctx, e, by)
}

// PoolOf returns the name of the pool that a volume is in, in its place or the bin, and whether there is such a volume.
func (s *Service) PoolOf(id ID) (pool string, there bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.index.all[id]
	if e == nil {
		return "", false
	}
	return e.pool.pool.Name(), true
}

// Query selects from the volumes that a client may see.
type Query struct {
	After *ID                // volumes with greater ids only; nil is from the first
	Limit int                // at most so many; 0 is all
	Keep  func(*Volume) bool // those it returns true for; nil is all. OnDisk and LastUpdated are not set yet.
}

// Accessible is the volumes that client may see, in the order of their ids: those that are not private, and its
// own. OnDisk and LastUpdated may be ten seconds old, unless the volume is in use; Get asks the storage. Each is as
// it was at one moment, the list as a whole is not. What this server is still making is not listed, nor what lies
// in a bin. A Volume is only valid until the next: a list may have a hundred thousand, and nobody needs them all
// at once. The end of ctx ends the list with its cause.
func (s *Service) Accessible(ctx context.Context, client Client, q Query) iter.Seq2[*Volume, error] {
	if keep := q.Keep; limits(ctx) != nil {
		q.Keep = func(v *Volume) bool { return inside(ctx, v.Pool) && (keep == nil || keep(v)) }
	}
	return func(yield func(*Volume, error) bool) {
		var after *entry
		if q.After != nil {
			after = &entry{id: *q.After}
		}
		left := q.Limit
		if left <= 0 {
			left = math.MaxInt
		}
		var page []Volume
		var entries []*entry
		for {
			look := lookAtOnce
			if q.Keep == nil {
				look = min(look, left)
			}
			page, entries = slices.Grow(page[:0], look), slices.Grow(entries[:0], look)
			s.mu.RLock()
			after = s.index.visible(client, after, look, func(e *entry) {
				v := s.record(e)
				if q.Keep == nil || q.Keep(&v) {
					page, entries = append(page, v), append(entries, e)
				}
			})
			s.mu.RUnlock()
			page = page[:min(left, len(page))]
			left -= len(page)
			statAll(page, entries)
			for i := range page {
				if !yield(&page[i], nil) {
					return
				}
			}
			if after == nil || left == 0 {
				return
			}
			if ctx.Err() != nil {
				yield(nil, context.Cause(ctx))
				return
			}
		}
	}
}

// Trashed returns what lies in the bins and by may see, the oldest first.
func (s *Service) Trashed(ctx context.Context, by Who) []Volume {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Volume
	for _, e := range s.index.trashed() {
		if known(ctx, e, by) {
			list = append(list, s.record(e))
		}
	}
	return list
}

// Damaged returns the volumes of all pools that can't be used, with the reason in Problem.
func (s *Service) Damaged() []Volume {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Volume
	for _, e := range s.index.all {
		if e.found.Problem != nil {
			list = append(list, s.record(e))
		}
	}
	return list
}

// Census is how many volumes there are of each state.
type Census struct {
	Standing int // in their pools, damaged ones included
	Trashed  int // in the bins
	Damaged  int // whose own files can't be understood
	Missing  int // whose pool is away
	Locked   int // by an operation that runs
	InUse    int // by an export
}

// Census counts the volumes of each pool, by the pool's name.
func (s *Service) Census() map[string]Census {
	s.mu.RLock()
	defer s.mu.RUnlock()
	census := map[string]Census{}
	for _, e := range s.index.all {
		name := e.pool.pool.Name()
		c := census[name]
		if e.found.Trashed.IsZero() {
			c.Standing++
		} else {
			c.Trashed++
		}
		if e.found.Problem != nil {
			c.Damaged++
		}
		if e.pool.gone {
			c.Missing++
		}
		if e.op != "" {
			c.Locked++
		}
		if e.opened != nil {
			c.InUse++
		}
		census[name] = c
	}
	return census
}

// Find returns the volumes of all pools that stand in their place, can be used, and that keep returns true for, in any order. OnDisk and
// Modified are not set.
func (s *Service) Find(keep func(*Volume) bool) []Volume {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Volume
	for _, e := range s.index.all {
		v := s.record(e)
		if v.Available && v.Problem == nil && v.Trashed.IsZero() && keep(&v) {
			list = append(list, v)
		}
	}
	return list
}

// record makes a Volume of an entry. The caller holds mu.
func (s *Service) record(e *entry) Volume {
	v := Volume{
		ID: e.id, Meta: e.found.Meta, Pool: e.pool.pool.Name(), ISOType: e.found.ISOType, Locked: e.op,
		Available: !e.pool.gone, Trashed: e.found.Trashed, Problem: e.found.Problem, LastUpdated: e.found.Changed,
	}
	if e.opened != nil {
		v.Exports = e.opened.names()
	}
	return v
}

// statLife is how long a list takes the storage's word for a volume that this server does not have open.
const statLife = 10 * time.Second

// statAll adds what changes without us to a list of entries' records. Most of the time of a long list would go into asking the
// storage, so its answers are kept for a while, and what is asked is shared among the processors.
func statAll(list []Volume, entries []*entry) {
	var ask []int
	fresh := time.Now().Add(-statLife)
	for i := range list {
		if st := entries[i].state.Load(); st != nil && st.at.After(fresh) && len(list[i].Exports) == 0 {
			list[i].take(st.Stat)
		} else {
			ask = append(ask, i)
		}
	}
	const share = 256
	var work sync.WaitGroup
	for part := range slices.Chunk(ask, share) {
		work.Go(func() {
			for _, i := range part {
				list[i] = stat(list[i], entries[i])
			}
		})
	}
	work.Wait()
}

// stat adds what changes without us. A volume that can't be asked keeps what was known.
func stat(v Volume, e *entry) Volume {
	if !v.Available {
		return v
	}
	st, err := e.pool.backend.Stat(v.ID, v.Meta)
	switch {
	case err == nil:
		v.take(st)
		e.state.Store(&stated{st, time.Now()})
	case !errors.Is(err, fs.ErrNotExist): // it is being destroyed or converted at this moment
		e.pool.pool.Unwell(fault.FromOS("stat volume", err))
	}
	return v
}

func (v *Volume) take(st Stat) {
	v.OnDisk, v.Modified = st.OnDisk, st.Modified
	if st.Modified.After(v.LastUpdated) {
		v.LastUpdated = st.Modified
	}
}

// now is the time as it is written down: UTC, without the clock that only this process knows.
func now() time.Time { return time.Now().UTC().Round(0) }
