package volume

import (
	"context"
	"encoding/json"

	"elstore/volume/fault"
)

// Change is a wish for other attributes. A nil field stays as it is.
type Change struct {
	Name      *string
	Private   *bool
	ReadOnly  *bool
	Shareable *bool
	Bootable  *bool
	Clonable  *bool
	Alg       *Alg
	Bus       *Bus
	Extra     map[string]json.RawMessage // merged into Meta.Extra; a null takes the key away
}

// Update changes attributes of a volume.
func (s *Service) Update(ctx context.Context, id ID, by Who, c Change) error {
	return s.operate(ctx, id, by, Operation{Purpose: "update"}, func(ctx context.Context, h *handle) error {
		if err := h.usable(); err != nil {
			return err
		}
		m, err := c.apply(h.found.Meta)
		if err != nil {
			return err
		}
		if m.ReadOnly != h.found.Meta.ReadOnly || m.Shareable != h.found.Meta.Shareable {
			if err := s.unused(h, fault.VolumeInUse, "readonly and shareable can't change"); err != nil {
				return err
			}
		}
		if m.Private && !h.found.Meta.Private {
			if err := s.ownersAlone(h, "it can't become private"); err != nil {
				return err
			}
		}
		if err := h.SetMeta(ctx, m); err != nil {
			return err
		}
		s.update(h, EventUpdated, m)
		return nil
	})
}

// apply returns m with the changes, or what speaks against them. Pure.
func (c Change) apply(m Meta) (Meta, error) {
	set(&m.Name, c.Name)
	set(&m.Private, c.Private)
	set(&m.ReadOnly, c.ReadOnly)
	set(&m.Shareable, c.Shareable)
	set(&m.Bootable, c.Bootable)
	set(&m.Clonable, c.Clonable)
	set(&m.Alg, c.Alg)
	set(&m.Bus, c.Bus)
	if len(c.Extra) > 0 {
		m.Extra = mergeExtra(m.Extra, c.Extra)
		if err := checkExtra(m.Extra); err != nil {
			return Meta{}, err
		}
	}
	if c.Name != nil {
		if err := CheckName(m.Name); err != nil {
			return Meta{}, err
		}
	}
	switch {
	case m.Bootable && m.Shareable:
		return Meta{}, fault.Errorf(fault.VolumeMetadataNotUpdatable, "bootable and shareable exclude each other")
	case m.Format == ISO && !m.ReadOnly:
		return Meta{}, fault.Errorf(fault.VolumeMetadataNotUpdatable, "an ISO volume is read-only")
	}
	return m, nil
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// Transfer gives a volume to another owner. One that is theirs already is transferred already.
func (s *Service) Transfer(ctx context.Context, id ID, by Who, to Client) error {
	err := s.operate(ctx, id, by, Operation{Purpose: "transfer"}, func(ctx context.Context, h *handle) error {
		if err := h.usable(); err != nil {
			return err
		}
		m := h.found.Meta
		if m.Creator == to {
			return nil
		}
		if err := s.held(h); err != nil {
			return err
		}
		if m.Private {
			if err := s.unused(h, fault.VolumeInUse, "a private volume can't change its owner"); err != nil {
				return err
			}
		}
		m.Creator = to
		if err := h.SetMeta(ctx, m); err != nil {
			return err
		}
		s.update(h, EventUpdated, m)
		return nil
	})
	if by != nil && (fault.Is(err, fault.NotAllowed) || fault.Is(err, fault.VolumeNotFound)) {
		// The same call again: its first answer may have been lost.
		s.mu.RLock()
		e := s.index.all[id]
		done := e != nil && inside(ctx, e.pool.pool.Name()) && e.found.Problem == nil && e.found.Meta.Creator == to && *by != to && !e.found.Meta.Private
		s.mu.RUnlock()
		if done {
			return nil
		}
	}
	return err
}
