package volume

import (
	"context"
	"errors"

	"elstore/volume/fault"
)

// CloneRequest says what a clone is to be.
type CloneRequest struct {
	ID      ID // of the clone; zero: a random one
	Creator Client
	Name    string
	Private *bool // nil: as the source
	Alg     *Alg  // nil: as the source
	Pool    string
}

// Clone makes a new volume with the content that id has now. A volume in use is cloned as it is at one moment, where its
// storage can share blocks; else the error is NoReflink.
func (s *Service) Clone(ctx context.Context, id ID, r CloneRequest, p Progress) (Volume, error) {
	var made Volume
	if r.ID.IsZero() {
		r.ID = NewID()
	}
	source, err := s.Get(ctx, id, &r.Creator)
	if err != nil {
		return Volume{}, err
	}
	n := NewVolume{ID: r.ID, Meta: source.Meta, Pool: r.Pool}
	n.Meta.Creator, n.Meta.Name = r.Creator, r.Name
	if v, ok, err := s.already(ctx, &n); ok || err != nil {
		return v, err
	}
	if err := clonable(&source, r); err != nil {
		return Volume{}, err
	}
	// Anybody who sees it may clone it, so the owner is not asked for.
	err = s.operate(ctx, id, nil, Operation{Purpose: "clone", Args: []string{n.ID.String()}}, func(ctx context.Context, h *handle) error {
		if err := h.readable(&r.Creator); err != nil {
			return err
		}
		now := Volume{ID: id, Meta: h.found.Meta}
		if err := clonable(&now, r); err != nil {
			return err
		}
		n.Meta, n.ISOType = cloneMeta(h.found.Meta, r), h.found.ISOType
		if n.Files, err = filesOf(h); err != nil {
			return err
		}
		made, err = s.cloneHeld(ctx, h, n, p)
		return err
	})
	return made, err
}

func clonable(v *Volume, r CloneRequest) error {
	if err := CheckName(r.Name); err != nil {
		return err
	}
	if !v.Meta.Clonable || v.Meta.Alg == NoClone {
		return fault.Errorf(fault.VolumeNotClonable, "volume %s may not be cloned: its owner set clonable to %t and alg to %s",
			v.ID, v.Meta.Clonable, v.Meta.Alg)
	}
	return nil
}

func cloneMeta(m Meta, r CloneRequest) Meta {
	m.Creator, m.Name = r.Creator, r.Name
	set(&m.Private, r.Private)
	set(&m.Alg, r.Alg)
	return m
}

// filesOf reads what lies beside a volume's image.
func filesOf(h *handle) (map[string][]byte, error) {
	names, err := h.Files()
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte, len(names))
	for _, name := range names {
		if files[name], err = h.ReadFile(name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (s *Service) cloneHeld(ctx context.Context, h *handle, n NewVolume, p Progress) (Volume, error) {
	img := h.Image(h.found.Meta)
	if o := s.inUse(h); o != nil {
		snap, release, err := s.snapshot(ctx, h, o)
		if err != nil {
			return Volume{}, err
		}
		defer release()
		img = snap
	}
	need, err := s.copyRoom(h)
	if err != nil {
		return Volume{}, err
	}
	w := n.want()
	w.Write = need
	fill := func(ctx context.Context, mk *making) (Meta, error) {
		return mk.stage.Fill(ctx, n.Meta, Content{From: &img, Alg: n.Meta.Alg, Progress: p})
	}
	shares := h.at.backend.Caps().Reflink || n.Meta.Format == RBD
	if n.Pool == "" && shares {
		// Beside its source the clone takes no room and no time; elsewhere only where there is no room.
		near := w
		near.Pool, near.Write = h.at.pool.Name(), metadataRoom
		v, err := s.make(ctx, &n, near, fill)
		if err == nil || fault.KindOf(err) != fault.NoSpace {
			return v, err
		}
	} else if n.Pool == h.at.pool.Name() && shares {
		w.Write = metadataRoom
	}
	return s.make(ctx, &n, w, fill)
}

// snapshot freezes the content of a volume in use: requests wait for the moment that it takes.
func (s *Service) snapshot(ctx context.Context, h *handle, o *opened) (Image, func(), error) {
	resume, err := o.device.hold(ctx)
	if err != nil {
		return Image{}, nil, err
	}
	defer resume()
	img, release, err := h.Snapshot(ctx, h.found.Meta)
	if errors.Is(err, ErrNoReflink) {
		return Image{}, nil, fault.Errorf(fault.NoReflink,
			"volume %s is used by %s, and pool %s can't share blocks, which a copy of a volume in use needs: %w",
			h.found.ID, o.names(), h.at.pool.Name(), err)
	}
	return img, release, err
}
