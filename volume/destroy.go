package volume

import (
	"context"
	"log/slog"
	"time"

	"elstore/volume/fault"
)

// Destroy puts a volume into its pool's bin, or with purge removes it for good, from its place or from the bin.
// What is not there, or may not be seen, is destroyed already.
func (s *Service) Destroy(ctx context.Context, id ID, by Who, purge bool) error {
	if !purge && !s.Has(ctx, id, by) {
		return nil
	}
	op := Operation{Purpose: "destroy"}
	if purge {
		op.Args = []string{"purge"}
	}
	err := s.operate(ctx, id, by, op, func(ctx context.Context, h *handle) error {
		if err := s.held(h); err != nil {
			return err
		}
		if err := s.unused(h, fault.VolumeCannotBeDeleted, "it can't be destroyed"); err != nil {
			return err
		}
		retention, _ := h.at.pool.Bin()
		if purge || retention <= 0 {
			return s.purge(ctx, h)
		}
		if !h.found.Trashed.IsZero() {
			return nil
		}
		f := h.found
		f.Trashed = now()
		err := h.Trash(ctx, f.Trashed)
		if fault.KindOf(err) == fault.NoSpace {
			return fault.Errorf(fault.CodeOf(err), "the disk of pool %s is so full that volume %s can't go to the bin; with \"purge\": true it is removed at once, for good, "+
				"which needs no room: %w", h.at.pool.Name(), id, err)
		}
		if err != nil {
			return err
		}
		h.at.pool.Account(s.replace(h.entry, f))
		s.publish(EventTrashed, h.at, f)
		return nil
	})
	if fault.Is(err, fault.VolumeNotFound) {
		return nil
	}
	return err
}

// Restore brings a volume back from the bin. One that stands in its pool is restored already.
func (s *Service) Restore(ctx context.Context, id ID, by Who) (Volume, error) {
	err := s.operate(ctx, id, by, Operation{Purpose: "restore"}, func(ctx context.Context, h *handle) error {
		if h.found.Trashed.IsZero() {
			return nil
		}
		if err := h.Restore(ctx); err != nil {
			return err
		}
		f := h.found
		f.Trashed = time.Time{}
		h.at.pool.Account(s.replace(h.entry, f))
		s.publish(EventRestored, h.at, f)
		return nil
	})
	if err != nil {
		return Volume{}, err
	}
	return s.Get(ctx, id, nil)
}

// EmptyTrash purges what lies in the bins: of one pool, or of all for "", and only what by owns if it is known.
// It returns how many volumes it purged.
func (s *Service) EmptyTrash(ctx context.Context, pool string, by Who) (int, error) {
	return s.purgeTrashed(ctx, by, func(e *entry) bool {
		return inside(ctx, e.pool.pool.Name()) && (pool == "" || e.pool.pool.Name() == pool) && (by == nil || e.found.Meta.Creator == *by)
	}, -1)
}

// emptyOldest purges the oldest volume in a pool's bin, if there is one.
func (s *Service) emptyOldest(ctx context.Context, pool string) (bool, error) {
	n, err := s.purgeTrashed(ctx, nil, func(e *entry) bool { return e.pool.pool.Name() == pool }, 1)
	return n > 0, err
}

// Sweep purges what has lain in a bin for longer than its pool keeps it.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	return s.purgeTrashed(ctx, nil, func(e *entry) bool {
		retention, _ := e.pool.pool.Bin()
		return time.Since(e.found.Trashed) >= retention
	}, -1)
}

// Run rechecks what can't be used and sweeps the bins, every interval until ctx ends.
func (s *Service) Run(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if n := s.Recheck(ctx); n > 0 {
				s.cfg.Log.Info("volumes can be used again", slog.Int("volumes", n))
			}
			if n, err := s.Sweep(ctx); err != nil {
				s.cfg.Log.Warn("bin not swept", slog.Any("error", err))
			} else if n > 0 {
				s.cfg.Log.Info("bin swept", slog.Int("volumes", n))
			}
		}
	}
}

// purgeTrashed purges the oldest first, at most limit, or all for -1. One that fails doesn't keep the others.
func (s *Service) purgeTrashed(ctx context.Context, by Who, match func(*entry) bool, limit int) (purged int, err error) {
	var ids []ID
	s.mu.RLock()
	for _, e := range s.index.trashed() {
		if !e.pool.gone && match(e) {
			ids = append(ids, e.id)
		}
	}
	s.mu.RUnlock()
	for _, id := range ids {
		if purged == limit || ctx.Err() != nil {
			break
		}
		perr := s.operate(ctx, id, by, Operation{Purpose: "purge"}, func(ctx context.Context, h *handle) error {
			if h.found.Trashed.IsZero() { // restored meanwhile
				return nil
			}
			if err := s.purge(ctx, h); err != nil {
				return err
			}
			purged++
			return nil
		})
		if perr != nil && !fault.Is(perr, fault.VolumeNotFound) {
			err = perr
		}
	}
	return purged, err
}

// purge removes a volume for good.
func (s *Service) purge(ctx context.Context, h *handle) error {
	if err := h.Purge(ctx); err != nil {
		return err
	}
	h.at.pool.Account(s.remove(h.entry))
	h.at.pool.SetBase(h.at.backend.BaseBytes())
	s.publish(EventPurged, h.at, h.found)
	return nil
}
