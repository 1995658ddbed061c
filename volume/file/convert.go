package file

import (
	"context"
	"errors"
	"log/slog"

	"elstore/volume"
	"elstore/volume/fault"
)

// builder returns a builder for an image in the volume's directory.
func (h *held) builder(name string, m volume.Meta, c volume.Content) *builder {
	return &builder{b: h.b, id: h.id, d: h.d, name: name, meta: m, content: c, lock: h.lock.file}
}

// Convert writes the image in the other format beside the old one. meta.json says which of them counts.
func (h *held) Convert(ctx context.Context, m volume.Meta, to volume.Format, p volume.Progress) (volume.Meta, error) {
	if err := h.ready(ctx); err != nil || m.Format == to {
		return m, err
	}
	if to == volume.ISO || m.Format == volume.ISO || to == volume.RBD && h.b.cfg.Images == nil {
		return m, fault.Errorf(fault.UnsupportedFormat, "an image of format %s can't be converted to %s in this pool: what is converted into each other is raw and qcow2, and rbd where the pool has a Ceph cluster", m.Format, to)
	}
	if err := h.begin(mark{Purpose: toConvert}); err != nil {
		return m, err
	}
	// What bears the name is a crash's whose .ignore file is gone.
	if err := h.d.remove(dataName(to)); err != nil {
		return m, err
	}
	total := newMeter(p, m.Size)
	img := h.Image(m)
	after := m
	after.Format = to
	u := h.builder(dataName(to), after, volume.Content{From: &img, Progress: total.part(0, 1).program()})
	defer u.release()
	after, err := u.build(ctx)
	if err == nil {
		err = h.d.sync(".")
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		_, err = h.commit(after)
	}
	if err != nil {
		if !h.torn {
			h.undone(h.d.remove(dataName(to)))
		}
		return m, err
	}
	h.committed(m, after)
	// One that can't be removed now is found with the .ignore file.
	if err := h.d.remove(dataName(m.Format)); err != nil {
		h.torn = true
		h.b.cfg.Log.Warn("old image left behind", slog.Any("volume", h.id), slog.Any("error", err))
	}
	h.end()
	total.end()
	return after, nil
}

// committed notes which base image the volume needs now.
func (h *held) committed(before, after volume.Meta) {
	h.b.bases.uses(h.id, after.Base)
	if before.Base == "" || before.Base == after.Base {
		return
	}
	if err := h.b.dropBase(before.Base); err != nil {
		h.b.cfg.Log.Warn("base image left behind", slog.Any("base", before.Base), slog.Any("error", err))
	}
}

// Compact replaces an overlay by a copy that stands alone.
func (h *held) Compact(ctx context.Context, m volume.Meta, p volume.Progress) (volume.Meta, error) {
	if err := h.ready(ctx); err != nil {
		return m, err
	}
	if m.Format == volume.RBD {
		return m, h.flatten(ctx, m, p)
	}
	if m.Base == "" {
		return m, nil
	}
	img := h.Image(m)
	img.Pool = nil // so that it is copied without its base
	return h.replace(ctx, toCompact, m, volume.Content{From: &img, Progress: p})
}

// Replace puts other content in place of the image. What has arrived for it is gone then.
func (h *held) Replace(ctx context.Context, m volume.Meta, c volume.Content) (volume.Meta, error) {
	if err := h.ready(ctx); err != nil {
		return m, err
	}
	return h.replace(ctx, toReplace, m, c)
}

// replace makes an image and exchanges it with the volume's file. Where both don't need the same base image, meta.json follows:
// between the two, settle goes by the image.
func (h *held) replace(ctx context.Context, purpose string, m volume.Meta, c volume.Content) (volume.Meta, error) {
	received, err := h.Received()
	if err != nil {
		return m, err
	}
	if err := h.begin(mark{Purpose: purpose, Before: received}); err != nil {
		return m, err
	}
	total := newMeter(c.Progress, m.Size)
	c.Progress = total.part(0, 1).program()
	temp := tempName()
	if m.Format == volume.RBD {
		temp += refSuffix
	}
	u := h.builder(temp, m, c)
	defer u.release()
	after, err := u.build(ctx)
	if err == nil {
		err = context.Cause(ctx)
	}
	uploaded := purpose == toReplace && h.d.has(uploadName)
	if err == nil && uploaded {
		err = h.begin(mark{Purpose: toReplace, Image: h.d.inode(temp)})
	}
	old, placed := "", false
	if err == nil {
		old, err = h.d.exchange(temp, dataName(m.Format))
		if placed = err == nil || old != "" || !h.d.has(temp); placed && err != nil && old == "" {
			// It is in place, and what was there is gone. What was uploaded may be the image by another name: with the .ignore file
			// that is found, and without it the next upload would be written into the image.
			h.torn, h.broken = true, err
		}
	}
	if err == nil && after.Base != m.Base {
		_, err = h.commit(after)
	}
	if err != nil {
		if !h.torn {
			h.undone(errors.Join(h.unexchange(old, temp, dataName(m.Format)), h.d.cutUpload(received)))
		}
		if h.torn && placed {
			u.leavePinned() // which image counts, and so what base it needs, is not known yet
		}
		return m, err
	}
	if old != "" {
		_ = h.d.remove(old) // one that stays is swept
	}
	if uploaded && h.DropIncoming() != nil {
		h.torn = true // it is found with the .ignore file
	}
	h.committed(m, after)
	h.end()
	total.end()
	return after, nil
}

// unexchange puts the old image back, if it is in a file, and removes the new one.
func (h *held) unexchange(old, temp, name string) (err error) {
	if old != "" {
		if temp, err = h.d.exchange(old, name); err != nil || temp == "" {
			return err
		}
	}
	return h.d.remove(temp)
}

// Snapshot makes a copy that shares the image's blocks.
func (h *held) Snapshot(ctx context.Context, m volume.Meta) (volume.Image, func(), error) {
	if m.Format == volume.RBD {
		return h.snapshotImage(ctx, m)
	}
	return h.temporary(ctx, func(t *temp) (volume.Image, error) {
		img := h.Image(m)
		from, err := h.d.open(dataName(m.Format), false)
		if err != nil {
			return img, fault.FromOS("open the image", err)
		}
		defer from.Close() //nolint:errcheck // nothing was written
		to, err := t.d.openNew(t.name)
		if err != nil {
			return img, fault.FromOS("make a snapshot", err)
		}
		defer to.Close() //nolint:errcheck // it need not survive
		if err := t.d.reflink(to, from); err != nil {
			if errors.Is(err, errNoReflink) {
				err = fault.Errorf(fault.NoReflink, "the file system of the pool can't share blocks between files, which a snapshot needs: %w", volume.ErrNoReflink)
			}
			return img, err
		}
		img.Path = t.path()
		return img, nil
	})
}

// Export makes a copy that stands alone.
func (h *held) Export(ctx context.Context, m volume.Meta, format volume.Format, p volume.Progress) (volume.Image, func(), error) {
	return h.temporary(ctx, func(t *temp) (volume.Image, error) {
		img := h.Image(m)
		if format == volume.RBD {
			return img, fault.Errorf(fault.UnsupportedFormat, "a copy is a file, of format raw or qcow2, not rbd")
		}
		if m.Format == volume.RBD { // which may be open
			snap, release, err := h.snapshotImage(ctx, m)
			if err != nil {
				return img, err
			}
			defer release()
			img = snap
		} else {
			img.Pool = nil // so that it is copied without its base
		}
		to := m
		to.Format = format
		u := h.builder(t.name, to, volume.Content{From: &img, Progress: p})
		u.d, u.passing = t.d, true
		if _, err := u.build(ctx); err != nil {
			return img, err
		}
		return volume.Image{
			Path: t.path(), Format: string(qemuFormat(format)), Size: m.Size, Pool: h.b, OnDisk: img.OnDisk, Owned: true,
		}, nil
	})
}

// temporary makes a file beside the image that lives until release is called, or this process ends.
func (h *held) temporary(ctx context.Context, fill func(*temp) (volume.Image, error)) (volume.Image, func(), error) {
	if err := h.ready(ctx); err != nil {
		return volume.Image{}, nil, err
	}
	t, err := h.d.newTemp()
	if err != nil {
		return volume.Image{}, nil, err
	}
	img, err := fill(t)
	if err != nil {
		t.release()
		return volume.Image{}, nil, err
	}
	return img, once(t.release), nil
}
