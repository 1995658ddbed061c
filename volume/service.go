package volume

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"elstore/volume/fault"
	"elstore/volume/keylock"
)

// Config is what a Service needs. Pools, Events and Log are required.
type Config struct {
	Pools   Pools
	Events  *Events
	Log     *slog.Logger
	Fetch   Fetcher      // nil: nothing can be imported from URLs
	Inspect Inspector    // nil: nothing can be imported or uploaded
	ISO     ISOInspector // nil: ISO volumes get no content
	State   *os.Root     // where the journal of unfinished sets lies; nil: CreateMany is not all or nothing across a crash

	// Held refuses, with its error, what would change the size, format, owner or existence of a volume. Nil refuses nothing.
	Held func(id ID) error

	// Exported says why a volume, whose directory is dir, is exported though nobody has claimed it at this moment, "" where it is not. It
	// is asked under the volume's locks, of volumes that have RecordsDir alone, before what can't be done to one that is used. Nil: none is.
	Exported func(id ID, dir *os.Root) string

	ImportDirs []string      // absolute directories that files may be imported from
	LockWait   time.Duration // how long an operation waits for the one before it; default 5 s
}

// Service is the life cycle of volumes. Its methods may be called at the same time. Every method that changes
// something is idempotent where its second call can be told from a new wish, and returns after the change is durable.
type Service struct {
	cfg   Config
	locks keylock.Map[ID]

	sets  sync.Mutex // guards the journals of sets
	mu    sync.RWMutex
	index index
	pools map[string]*attached
}

// attached is a pool that was added, and its volumes with it, until a pool of the same name is added again.
type attached struct {
	pool    Pool
	backend Backend
	gone    bool // guarded by Service.mu

	standing int    // volumes in the index that stand in the pool, not in its bin; guarded by Service.mu
	agreed   agreed // guarded by Service.mu

	life context.Context //nolint:containedctx // ends when the pool goes, and every operation on it with it
	end  context.CancelCauseFunc
	busy sync.WaitGroup // operations that touch it; joined under Service.mu, and not once it is gone
}

// agreed is when the pool's directory and the index had the same volumes.
type agreed struct {
	stamp    int64 // of the backend; 0 is never
	standing int
}

// New returns a Service without pools.
func New(cfg Config) (*Service, error) {
	if cfg.Pools == nil || cfg.Events == nil || cfg.Log == nil {
		return nil, errors.New("volume: Config needs Pools, Events and Log")
	}
	if cfg.LockWait == 0 {
		cfg.LockWait = 5 * time.Second
	}
	return &Service{cfg: cfg, index: newIndex(), pools: map[string]*attached{}}, nil
}

// AddPool recovers and reads the volumes of a pool and adds them to the index. The pool's use is accounted
// when it returns. A pool of the same name that was removed before is replaced.
func (s *Service) AddPool(ctx context.Context, p Pool, b Backend) error {
	var found []Found
	if err := b.Scan(ctx, func(f Found) error { found = append(found, f); return nil }); err != nil {
		return err
	}
	found, err := s.rollBackSets(ctx, p.Name(), b, found)
	if err != nil {
		return err
	}
	at := &attached{pool: p, backend: b}
	at.life, at.end = context.WithCancelCause(context.WithoutCancel(ctx))
	s.mu.Lock()
	if old := s.pools[p.Name()]; old != nil && !old.gone {
		s.mu.Unlock()
		return fault.Errorf(fault.PoolUnavailable, "a pool named %s is there already", p.Name())
	}
	s.forget(p.Name())
	s.pools[p.Name()] = at
	var use Usage
	var doubles []ID
	for _, f := range found {
		if s.index.all[f.ID] != nil {
			doubles = append(doubles, f.ID)
			continue
		}
		s.index.put(&entry{id: f.ID, pool: at}, f)
		use.add(f, 1)
	}
	s.mu.Unlock()
	for _, id := range doubles {
		s.cfg.Log.Error("volume ignored: another pool holds the same id", slog.Any("volume", id), slog.String("pool", p.Name()))
	}
	p.Account(use)
	p.SetBase(b.BaseBytes())
	s.cfg.Events.Publish(Event{Type: EventPool, Pool: p.Name()})
	return nil
}

// RemovePool makes a pool's volumes unavailable, not forgotten: they stay in lists as they were last known.
// Operations on them fail from now on, and those that run are cancelled and waited for, so that the caller can close the backend.
func (s *Service) RemovePool(name string) {
	s.mu.Lock()
	at := s.pools[name]
	if at != nil {
		at.gone = true
	}
	s.mu.Unlock()
	if at != nil {
		at.end(fault.Errorf(fault.PoolUnavailable, "pool %s went while this ran", name))
		at.busy.Wait()
	}
	s.cfg.Events.Publish(Event{Type: EventPool, Pool: name})
}

// forget drops the entries of a pool. The caller holds mu.
func (s *Service) forget(pool string) {
	for _, e := range s.index.all {
		if e.pool.pool.Name() == pool {
			s.index.drop(e)
		}
	}
}

// Refresh looks at what stands in a pool now, and takes up volumes that came and lets go of those that went
// without us. It returns how many of each.
func (s *Service) Refresh(ctx context.Context, pool string) (came, went int, err error) {
	ctx, at, leave, err := s.enter(ctx, pool)
	if err != nil {
		return 0, 0, err
	}
	defer leave()
	stamp, certain := at.backend.Stamp()
	if certain && s.agrees(at, stamp) {
		return 0, 0, nil
	}
	ids, err := at.backend.List(ctx)
	if err != nil {
		return 0, 0, err
	}
	odd := s.differ(at, ids)
	if len(odd) == 0 && certain {
		s.mu.Lock()
		at.agreed = agreed{stamp, len(ids)}
		s.mu.Unlock()
	}
	for _, id := range odd {
		delta, err := s.reconcile(ctx, at, id)
		if err != nil {
			return came, went, err
		}
		came, went = came+max(delta, 0), went-min(delta, 0)
	}
	return came, went, nil
}

// agrees reports whether nothing came or went since a Refresh that found nothing odd.
func (s *Service) agrees(at *attached, stamp int64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return at.agreed == agreed{stamp, at.standing}
}

// differ returns the volumes of which either the index or the pool's directory, which holds ids, does not know.
func (s *Service) differ(at *attached, ids []ID) (odd []ID) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	known := 0
	for _, id := range ids {
		switch e := s.index.all[id]; {
		case e == nil:
			odd = append(odd, id)
		case e.pool == at && e.found.Trashed.IsZero():
			known++
		}
	}
	if known == at.standing {
		return odd // as always, and without a look at each
	}
	there := make(map[ID]bool, len(ids))
	for _, id := range ids {
		there[id] = true
	}
	for id, e := range s.index.all {
		if e.pool == at && e.found.Trashed.IsZero() && !there[id] {
			odd = append(odd, id)
		}
	}
	return odd
}

// reconcile makes the index agree with the disk about one volume that no operation of ours holds: 1 it came, -1 it went.
func (s *Service) reconcile(ctx context.Context, at *attached, id ID) (int, error) {
	unlock, free := s.locks.TryLock(id)
	if !free {
		return 0, nil // an operation is at it, and leaves index and disk in agreement
	}
	defer unlock()
	f, err := at.backend.Load(ctx, id)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return 0, err
	}
	s.mu.Lock()
	e := s.index.all[id]
	switch {
	case missing && e != nil && e.pool == at && e.found.Trashed.IsZero():
		old := e.found
		s.index.drop(e)
		s.mu.Unlock()
		at.pool.Observe(Usage{}.with(old, -1))
		s.publish(EventLost, at, old)
		return -1, nil
	case !missing && e == nil:
		s.index.put(&entry{id: id, pool: at}, f)
		s.mu.Unlock()
		at.pool.Observe(Usage{}.with(f, 1))
		s.publish(EventFound, at, f)
		return 1, nil
	}
	s.mu.Unlock()
	return 0, nil
}

// Recheck looks again at the volumes that can't be used, since somebody may have mended them, or what a crash left
// behind may have let go of them. It returns how many can be used now.
func (s *Service) Recheck(ctx context.Context) (mended int) {
	for _, v := range s.Damaged() {
		loadCtx, at, leave, err := s.enter(ctx, v.Pool)
		if err != nil {
			continue
		}
		if v.Trashed.IsZero() {
			var f Found
			if f, err = at.backend.Load(loadCtx, v.ID); err == nil {
				err = f.Problem
			}
		}
		leave()
		if err != nil {
			continue
		}
		// Under its lock, so that what was left behind is recovered first. One that fails is as it was.
		_ = s.operate(ctx, v.ID, nil, Operation{Purpose: "recheck"}, func(_ context.Context, h *handle) error {
			if h.found.Problem == nil {
				mended++
				s.publish(EventFound, h.at, h.found)
			}
			return nil
		})
	}
	return mended
}

// add counts n times what f takes of its pool's limits.
func (u *Usage) add(f Found, n int) {
	u.Volumes += n
	u.Bytes += int64(n) * f.Meta.Size
	if !f.Trashed.IsZero() {
		u.BinVolumes += n
		u.BinBytes += int64(n) * f.Meta.Size
	}
}

func (u Usage) with(f Found, n int) Usage {
	u.add(f, n)
	return u
}

// publish tells that something happened to a volume, to those who may see it.
func (s *Service) publish(kind string, at *attached, f Found) {
	e := Event{Type: kind, Volume: &f.ID, Pool: at.pool.Name()}
	if f.Meta.Private {
		e.Owner = &f.Meta.Creator
	}
	s.cfg.Events.Publish(e)
}

// replace puts what is on disk now into the index, and returns by how much it changes the pool's use: for Account where we
// changed it, for Observe where it was found so.
func (s *Service) replace(e *entry, f Found) (change Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change = Usage{}.with(f, 1).with(e.found, -1)
	s.index.put(e, f)
	return change
}

// remove takes a volume that is gone for good out of the index, and returns by how much that changes the pool's use.
func (s *Service) remove(e *entry) (change Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change = Usage{}.with(e.found, -1)
	s.index.drop(e)
	return change
}

// Close closes what is still open. Operations must have ended.
func (s *Service) Close() error {
	s.mu.Lock()
	var open []*opened
	for _, e := range s.index.all {
		if e.opened != nil {
			open = append(open, e.opened)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, o := range slices.Clip(open) {
		errs = append(errs, o.device.Close())
	}
	return errors.Join(errs...)
}
