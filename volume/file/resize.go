package file

import (
	"context"
	"os"

	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/qemu"
)

// setSize gives the volume's image the size. It is durable when it returns nil.
func (b *Backend) setSize(ctx context.Context, d *dir, m volume.Meta, size int64, shrink bool, lock *os.File) error {
	return b.setSizeOf(ctx, d, dataName(m.Format), m, size, shrink, lock)
}

// setSizeOf gives the image name in d the size.
func (b *Backend) setSizeOf(ctx context.Context, d *dir, name string, m volume.Meta, size int64, shrink bool, lock *os.File) error {
	if m.Format == volume.QCOW2 {
		return b.resizeQCOW2(ctx, d, name, qemu.ResizeOptions{Size: size, Shrink: shrink}, lock)
	}
	if m.Format == volume.RBD {
		return d.resizeImage(name, size)
	}
	f, err := d.open(name, true)
	if err != nil {
		return fault.FromOS("open the image", err)
	}
	defer f.Close() //nolint:errcheck // fsync tells
	if err := d.truncate(f, size); err != nil {
		return err
	}
	return d.fsync(f)
}

// resizeQCOW2 gives a qcow2 image another size, through its daemon if it is open.
func (b *Backend) resizeQCOW2(ctx context.Context, d *dir, name string, o qemu.ResizeOptions, lock *os.File) error {
	if open := b.disks.get(qemuFile(d, name, qemu.QCOW2).Path); open != nil {
		if o.Preallocation != "" && o.Preallocation != qemu.PreallocOff {
			return fault.Errorf(fault.VolumeInUse, "the volume is in use, and one in qcow2 format can be preallocated only while it is not")
		}
		if err := d.step.ask("block_resize", name); err != nil {
			return err
		}
		return open.Resize(ctx, o.Size)
	}
	tool, err := b.tool()
	if err != nil {
		return err
	}
	if err := d.step.ask("qemu-img resize", name); err != nil {
		return err
	}
	return tool.Resize(ctx, qemuFile(d, name, qemu.QCOW2), o, lock)
}

// Resize makes the image larger or, with shrink, smaller. meta.json counts: an image is made larger before it is
// replaced, and smaller after, so that a crash leaves one that is cut to what meta.json says.
func (h *held) Resize(ctx context.Context, m volume.Meta, size int64, shrink bool, p volume.Prealloc) (volume.Meta, error) {
	switch {
	case size < volume.SectorSize || size > volume.MaxSize || size%volume.SectorSize != 0:
		return m, fault.Errorf(fault.BadRequest, "size %d is not a multiple of %d bytes from %d to %d",
			size, volume.SectorSize, volume.SectorSize, int64(volume.MaxSize))
	case size < m.Size && !shrink:
		return m, fault.Errorf(fault.VolumeDimensionNotShrinkable, "volume %s has %d bytes, and %d are fewer", h.id, m.Size, size)
	}
	if err := h.ready(ctx); err != nil || size == m.Size {
		return m, err
	}
	if err := h.begin(mark{Purpose: toResize, Before: m.Size, After: size}); err != nil {
		return m, err
	}
	after := m
	after.Size = size
	if size < m.Size {
		return h.shrink(ctx, m, after)
	}
	err := h.lengthen(ctx, m, size, p)
	if err == nil {
		_, err = h.commit(after)
	}
	switch {
	case err == nil:
		h.end()
		return after, nil
	case !h.torn: // then the image may have to keep its new size
		// The context may be why it failed. Cutting what was added is quick.
		h.undone(h.b.setSize(context.WithoutCancel(ctx), h.d, m, m.Size, true, h.lock.file))
	}
	return m, err
}

// lengthen makes the image longer.
func (h *held) lengthen(ctx context.Context, m volume.Meta, size int64, p volume.Prealloc) error {
	if m.Format == volume.QCOW2 {
		return h.b.resizeQCOW2(ctx, h.d, dataName(m.Format), qemu.ResizeOptions{Size: size, Preallocation: qemu.Preallocation(p)}, h.lock.file)
	}
	if m.Format == volume.RBD {
		return h.lengthenImage(ctx, m, size, p)
	}
	f, err := h.d.open(dataName(m.Format), true)
	if err != nil {
		return fault.FromOS("open the image", err)
	}
	defer f.Close() //nolint:errcheck // fsync tells
	if err := h.d.extend(ctx, f, m.Size, size, p, nil); err != nil {
		return err
	}
	return h.d.fsync(f)
}

// shrink cuts the image after meta.json says so. If the cut fails, the old meta.json is put back: a raw image then
// is as it was; of a qcow2 image what lay past the new size may be lost. After the cut there is no way back, and what
// is left to do is done by whoever has the lock next.
func (h *held) shrink(ctx context.Context, before, after volume.Meta) (volume.Meta, error) {
	putBack, err := h.commit(after)
	if err != nil {
		return before, err
	}
	if err = h.b.setSize(ctx, h.d, after, after.Size, true, h.lock.file); err == nil {
		h.end()
		return after, nil
	}
	size, _, lerr := lookAtImage(int(h.d.fd.Fd()), after.Format)
	if after.Format == volume.RBD {
		size, lerr = h.d.imageSize(dataName(after.Format))
	}
	if lerr == nil && size <= after.Size {
		h.torn = true
		return after, err
	}
	h.undone(putBack())
	return before, err
}
