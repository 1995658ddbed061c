package volume

import (
	"context"

	"elstore/volume/fault"
)

// ResizeRequest is a wish for another size.
type ResizeRequest struct {
	Size     int64 // bytes
	Shrink   bool  // cutting off the end, and what is there, is meant
	Prealloc Prealloc
}

// Resize changes a volume's size: it grows at any time, and shrinks only where Shrink says so and nothing uses it.
func (s *Service) Resize(ctx context.Context, id ID, by Who, r ResizeRequest) error {
	if r.Size < SectorSize || r.Size > MaxSize || r.Size%SectorSize != 0 {
		return fault.Errorf(fault.BadRequest, "size %d is not a multiple of %d bytes from %d to %d", r.Size, SectorSize, SectorSize, int64(MaxSize))
	}
	return s.operate(ctx, id, by, Operation{Purpose: "resize"}, func(ctx context.Context, h *handle) error {
		if err := h.usable(); err != nil {
			return err
		}
		m := h.found.Meta
		if m.Size != r.Size {
			if err := s.held(h); err != nil {
				return err
			}
		}
		switch {
		case m.ReadOnly:
			return fault.Errorf(fault.VolumeDimensionNotUpdatable, "volume %s is read-only; its size can't change", id)
		case r.Size == m.Size:
			return s.announce(ctx, h, m.Size) // where that failed the last time
		case r.Size < m.Size && !r.Shrink:
			return fault.Errorf(fault.VolumeDimensionNotShrinkable,
				"volume %s has %d bytes, and %d would cut off what is behind; say \"shrink\": true if that is meant", id, m.Size, r.Size)
		case r.Size < m.Size:
			if err := s.unused(h, fault.VolumeInUse, "it can't shrink"); err != nil {
				return err
			}
			m, err := h.Resize(ctx, m, r.Size, true, PreallocOff)
			if err != nil {
				return s.reread(ctx, h, err)
			}
			s.update(h, EventResized, m)
			return nil
		}
		if o := s.inUse(h); o != nil && o.lent() {
			return fault.Errorf(fault.VolumeInUse, "volume %s is used by %s, which has its image's path; while that lasts it can't grow", id, o.names())
		}
		return s.grow(ctx, h, r)
	})
}

func (s *Service) grow(ctx context.Context, h *handle, r ResizeRequest) error {
	m := h.found.Meta
	w := Want{Pool: h.at.pool.Name(), Size: r.Size, Bytes: r.Size - m.Size, Format: m.Format}
	if r.Prealloc.Takes() {
		w.Write = w.Bytes
	}
	rooms, err := s.cfg.Pools.Reserve(ctx, []Want{w}, s.emptyOldest)
	if err != nil {
		return err
	}
	defer rooms[0].Release()
	if m, err = h.Resize(ctx, m, r.Size, false, r.Prealloc); err != nil {
		return s.reread(ctx, h, err)
	}
	rooms[0].Keep(0, s.updated(h, EventResized, m).Bytes)
	return s.announce(ctx, h, m.Size)
}

// announce tells the Device of a volume in use and everybody who claims it that it grew, if they don't know. Only for that are
// requests held back: what was added lies behind all of them.
func (s *Service) announce(ctx context.Context, h *handle, size int64) error {
	o := s.inUse(h)
	if o == nil || o.device.Size() == size {
		return nil
	}
	release, err := o.device.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := o.device.Grow(size); err != nil {
		return err
	}
	s.mu.RLock()
	claims := append([]*Claim(nil), o.claims...)
	s.mu.RUnlock()
	for _, c := range claims {
		if c.Resized != nil {
			c.Resized(size)
		}
	}
	return nil
}

// reread takes up what a failed operation left on disk, and returns its error.
func (s *Service) reread(ctx context.Context, h *handle, err error) error {
	if f, lerr := h.Load(context.WithoutCancel(ctx)); lerr == nil {
		h.at.pool.Account(s.replace(h.entry, f))
	}
	return s.unwell(h.at, err)
}
