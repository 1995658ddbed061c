package volume

import (
	"context"
	"slices"

	"elstore/volume/fault"
)

// Convert changes the format of a volume that nothing uses. One that has the format is converted already.
func (s *Service) Convert(ctx context.Context, id ID, by Who, to Format, p Progress) error {
	if to == ISO {
		return fault.Errorf(fault.VolumeFormatNotAllowed, "format %q can't be converted to: use raw, qcow2 or rbd", to)
	}
	return s.operate(ctx, id, by, Operation{Purpose: "convert", Args: []string{string(to)}}, func(ctx context.Context, h *handle) error {
		if err := h.usable(); err != nil {
			return err
		}
		m := h.found.Meta
		switch {
		case m.Format == to:
			return nil
		case m.Format == ISO:
			return fault.Errorf(fault.VolumeImpossibleFormatMetaUpdate, "volume %s is an ISO image; its format can't change", id)
		case !slices.Contains(h.at.backend.Caps().Formats, to):
			return fault.Errorf(fault.UnsupportedFormat, "pool %s can't keep format %s; it keeps %v", h.at.pool.Name(), to, h.at.backend.Caps().Formats)
		}
		if err := s.held(h); err != nil {
			return err
		}
		if err := s.unused(h, fault.VolumeInUse, "it can't be converted"); err != nil {
			return err
		}
		need, err := s.copyRoom(h)
		if err != nil {
			return err
		}
		return s.rewrite(ctx, h, EventConverted, to, need, func() (Meta, error) { return h.Convert(ctx, m, to, p) })
	})
}

// Compact makes an overlay volume, or a clone on Ceph, that nothing uses stand alone. One that does is compacted already.
func (s *Service) Compact(ctx context.Context, id ID, by Who, p Progress) error {
	return s.operate(ctx, id, by, Operation{Purpose: "compact"}, func(ctx context.Context, h *handle) error {
		if err := h.usable(); err != nil {
			return err
		}
		if h.found.Meta.Base == "" && h.found.Meta.Format != RBD { // whose parent only the cluster knows
			return nil
		}
		if err := s.held(h); err != nil {
			return err
		}
		if err := s.unused(h, fault.VolumeInUse, "it can't be compacted"); err != nil {
			return err
		}
		need, err := s.copyRoom(h)
		if err != nil {
			return err
		}
		return s.rewrite(ctx, h, EventReplaced, h.found.Meta.Format, need, func() (Meta, error) { return h.Compact(ctx, h.found.Meta, p) })
	})
}

// rewrite makes room for the need bytes of another image, of a format, while fn makes it the volume's image.
func (s *Service) rewrite(ctx context.Context, h *handle, event string, format Format, need int64, fn func() (Meta, error)) error {
	return s.withRoom(ctx, h, format, need, func() error {
		m, err := fn()
		if err != nil {
			return s.reread(ctx, h, err)
		}
		s.update(h, event, m)
		h.at.pool.SetBase(h.at.backend.BaseBytes())
		return nil
	})
}

// withRoom reserves room for need bytes of an image of a format while fn writes them.
func (s *Service) withRoom(ctx context.Context, h *handle, format Format, need int64, fn func() error) error {
	rooms, err := s.cfg.Pools.Reserve(ctx, []Want{{Pool: h.at.pool.Name(), Size: h.found.Meta.Size, Write: need, Format: format}}, s.emptyOldest)
	if err != nil {
		return err
	}
	defer rooms[0].Release()
	return fn()
}

// copyRoom is what a copy of the image may take, in bytes: what the image takes, and of an overlay at most the whole.
func (s *Service) copyRoom(h *handle) (int64, error) {
	st, err := h.at.backend.Stat(h.found.ID, h.found.Meta)
	if err != nil {
		return 0, err
	}
	need := st.OnDisk + metadataRoom
	if h.found.Meta.Base != "" {
		need = min(h.found.Meta.Size, st.OnDisk+h.at.backend.BaseBytes()) + metadataRoom
	}
	return need, nil
}
