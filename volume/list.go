package volume

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"elstore/volume/fault"
)

// lookAtOnce bounds how many entries a list looks at before it lets changes through.
const lookAtOnce = 2000

// Get returns a volume that stands in a pool. A private one of somebody else is not found; a nil by sees all.
// Of a damaged one the error is why.
func (s *Service) Get(_ context.Context, id ID, by Who) (Volume, error) {
	s.mu.RLock()
	e := s.index.all[id]
	if e == nil || !e.found.Trashed.IsZero() {
		s.mu.RUnlock()
		return Volume{}, notFound(id)
	}
	v, at := s.record(e), e.pool
	s.mu.RUnlock()
	if v.Problem != nil {
		return Volume{}, v.Problem
	}
	if !v.Visible(by) {
		return Volume{}, notFound(id)
	}
	return stat(v, at), nil
}

// Has reports whether a volume stands in a pool, damaged or not.
func (s *Service) Has(id ID, by Who) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.index.all[id]
	if e == nil || !e.found.Trashed.IsZero() {
		return false
	}
	v := s.record(e)
	return v.Visible(by)
}

// Query selects from the volumes that a client may see.
type Query struct {
	After *ID                // volumes with greater ids only; nil is from the first
	Limit int                // at most so many; 0 is all
	Keep  func(*Volume) bool // those it returns true for; nil is all. OnDisk and LastUpdated are not set yet.
}

// Accessible returns the volumes that client may see, in the order of their ids: those that are not private,
// and its own. Each is as it was at one moment, the list as a whole need not be. What an import or clone is
// still making is not listed, nor what lies in a bin.
func (s *Service) Accessible(ctx context.Context, client Client, q Query) ([]Volume, error) {
	var after *entry
	if q.After != nil {
		after = &entry{id: *q.After}
	}
	if q.Limit <= 0 {
		q.Limit = int(^uint(0) >> 1)
	}
	var list []Volume
	var places []*attached
	for {
		s.mu.RLock()
		_, more := s.index.visible(nil, client, after, q.Limit-len(list), lookAtOnce, func(e *entry) bool {
			v := s.record(e)
			if q.Keep != nil && !q.Keep(&v) {
				return false
			}
			list, places = append(list, v), append(places, e.pool)
			return true
		})
		s.mu.RUnlock()
		if more == nil {
			break
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		after = more
	}
	statAll(list, places)
	return list, nil
}

// Trashed returns what lies in the bins and by may see, the oldest first.
func (s *Service) Trashed(by Who) []Volume {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Volume
	for _, e := range s.index.trashed() {
		if v := s.record(e); v.Visible(by) {
			list = append(list, v)
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

// statAll asks for what changes without us. Long lists are shared among the processors: nearly all of the time goes into system calls.
func statAll(list []Volume, places []*attached) {
	const share = 256
	var work sync.WaitGroup
	for from := 0; from < len(list); from += share {
		part := func() {
			for i := from; i < min(from+share, len(list)); i++ {
				list[i] = stat(list[i], places[i])
			}
		}
		if len(list) <= share {
			part()
			return
		}
		work.Go(part)
	}
	work.Wait()
}

// stat adds what changes without us. A volume that can't be asked keeps what was known.
func stat(v Volume, at *attached) Volume {
	if !v.Available {
		return v
	}
	st, err := at.backend.Stat(v.ID, v.Meta)
	switch {
	case err == nil:
		v.OnDisk, v.Modified = st.OnDisk, st.Modified
		if st.Modified.After(v.LastUpdated) {
			v.LastUpdated = st.Modified
		}
	case !errors.Is(err, fs.ErrNotExist): // it is being destroyed or converted at this moment
		at.pool.Unwell(fault.FromOS("stat volume", err))
	}
	return v
}

// now is the time as it is written down: UTC, without the clock that only this process knows.
func now() time.Time { return time.Now().UTC().Round(0) }
