package volume

import (
	"context"
	"errors"
	"io/fs"

	"elstore/volume/fault"
)

// Who is the caller of a change, as far as it is known: nil where the request names nobody.
type Who = *Client

// handle is a volume with its locks held, for the length of one operation.
type handle struct {
	Held
	entry *entry
	at    *attached
	found Found // as it was when the lock was taken; the operation replaces it through update
}

// comeTo waits for the volume's turn in this process, and finds it in its pool, which stays until leave is called. by must own it if it is
// known.
func (s *Service) comeTo(ctx context.Context, id ID, by Who) (_ context.Context, e *entry, leave func(), err error) {
	unlock, err := s.lock(ctx, id)
	if err != nil {
		return nil, nil, nil, err
	}
	if e, err = s.owned(ctx, id, by); err != nil {
		unlock()
		return nil, nil, nil, err
	}
	ctx, at, exit, err := s.enter(ctx, e.pool.pool.Name())
	if err != nil {
		unlock()
		return nil, nil, nil, err
	}
	leave = func() {
		exit()
		unlock()
	}
	if at != e.pool {
		leave()
		return nil, nil, nil, fault.Errorf(fault.PoolUnavailable, "pool %s went and came back at this moment; try again", at.pool.Name())
	}
	return ctx, e, leave, nil
}

// operate runs fn as the one operation on a volume of the pool or its bin. by must own the volume if it is known. found is loaded anew
// under the lock: another server of a shared pool, or a person, may have changed it.
func (s *Service) operate(ctx context.Context, id ID, by Who, op Operation, fn func(ctx context.Context, h *handle) error) error {
	if err := s.refused(ctx, id, by); err != nil {
		return err
	}
	ctx, e, leave, err := s.comeTo(ctx, id, by)
	if err != nil {
		return err
	}
	defer leave()
	s.mu.Lock()
	e.op = op.Purpose
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		e.op = ""
		s.mu.Unlock()
	}()
	lockCtx, cancel := context.WithTimeoutCause(ctx, s.cfg.LockWait, errLockWait)
	defer cancel()
	held, err := e.pool.backend.Lock(lockCtx, id, op)
	if err != nil {
		return s.lost(e, err)
	}
	defer held.Unlock()
	found, err := held.Load(ctx)
	if err != nil {
		return s.lost(e, err)
	}
	e.pool.pool.Observe(s.replace(e, found))
	// Whoever owned it when the index was read may not own it now that disk was.
	if _, err := s.owned(ctx, id, by); err != nil {
		return err
	}
	err = fn(ctx, &handle{Held: held, entry: e, at: e.pool, found: found})
	if k := fault.KindOf(err); err != nil && (k == fault.Unavailable || k == fault.Internal) {
		e.pool.pool.Unwell(err)
	}
	return err
}

var errLockWait = errors.New("the lock did not become free in time")

// lock takes the volume's key.
func (s *Service) lock(ctx context.Context, id ID) (func(), error) {
	wait, cancel := context.WithTimeoutCause(ctx, s.cfg.LockWait, errLockWait)
	defer cancel()
	unlock, err := s.locks.Lock(wait, id)
	if err == nil {
		return unlock, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	op := "another operation"
	s.mu.RLock()
	if e := s.index.all[id]; e != nil && e.op != "" {
		op = e.op
	}
	s.mu.RUnlock()
	return nil, fault.Errorf(fault.VolumeAlreadyLocked, "volume %s is locked by %s; try again when that has ended", id, op)
}

// refused is the error of owned, for a volume that is known by now: who may not change it neither waits for its lock nor hears what
// holds it, since either would tell that it is there. One that is being made has still to be waited for.
func (s *Service) refused(ctx context.Context, id ID, by Who) error {
	if _, there := s.PoolOf(id); !there {
		return nil
	}
	_, err := s.owned(ctx, id, by)
	return err
}

// enter joins the operations that touch a pool: its backend stays open until leave, and the context ends when the pool goes.
func (s *Service) enter(ctx context.Context, pool string) (_ context.Context, at *attached, leave func(), err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at = s.pools[pool]
	if at == nil {
		return nil, nil, nil, fault.Errorf(fault.PoolNotFound, "no pool is named %.80q", pool)
	}
	if at.gone {
		return nil, nil, nil, fault.Errorf(fault.PoolUnavailable, "pool %s is not there now", pool)
	}
	at.busy.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(at.life, func() { cancel(context.Cause(at.life)) })
	return ctx, at, func() { stop(); cancel(nil); at.busy.Done() }, nil
}

// owned returns the entry of a volume that by may change.
func (s *Service) owned(ctx context.Context, id ID, by Who) (*entry, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.index.all[id]
	switch {
	case e == nil, !inside(ctx, e.pool.pool.Name()), nobodys(ctx, e, by), by != nil && e.owned() && e.found.Meta.Private && e.found.Meta.Creator != *by:
		return nil, notFound(id)
	case by != nil && e.owned() && e.found.Meta.Creator != *by:
		return nil, fault.Errorf(fault.NotAllowed, "volume %s belongs to somebody else; only its owner may change it", id)
	}
	return e, nil
}

// lost drops a volume whose directory is gone from the index.
func (s *Service) lost(e *entry, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.mu.RLock()
	old := e.found
	s.mu.RUnlock()
	e.pool.pool.Observe(s.remove(e))
	s.publish(EventLost, e.pool, old)
	return notFound(e.id)
}

// update records what an operation made of the volume, and tells everybody.
func (s *Service) update(h *handle, kind string, m Meta) {
	h.at.pool.Account(s.updated(h, kind, m))
}

// updated is update for who accounts for the change, which it returns, in another way.
func (s *Service) updated(h *handle, kind string, m Meta) (change Usage) {
	f := h.found
	f.Meta = m
	f.Changed = now()
	h.found = f
	change = s.replace(h.entry, f)
	s.publish(kind, h.at, f)
	return change
}

// usable refuses volumes that are damaged or lie in the bin.
func (h *handle) usable() error {
	switch {
	case h.found.Problem != nil:
		return h.found.Problem
	case !h.found.Trashed.IsZero():
		return fault.Errorf(fault.VolumeInTrash, "volume %s lies in the bin of pool %s; restore it first", h.found.ID, h.at.pool.Name())
	}
	return nil
}

// readable is usable for somebody who need not own the volume but see it: it may have become private while its lock was waited for.
func (h *handle) readable(by Who) error {
	if now := (Volume{Meta: h.found.Meta}); !now.Visible(by) {
		return notFound(h.found.ID)
	}
	return h.usable()
}

func notFound(id ID) error {
	return fault.Errorf(fault.VolumeNotFound, "no volume %s", id)
}
