package file

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"

	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/qemu"
)

// onCluster reports whether an image lies on a cluster.
func onCluster(img *volume.Image) bool { return img != nil && strings.HasPrefix(img.Path, "rbd:") }

// onCluster makes the image on the cluster, after the reference to it.
func (u *builder) onCluster(ctx context.Context) error {
	images := u.b.cfg.Images
	name, ref := images.New(u.id)
	if err := u.d.replace(u.name, ref); err != nil {
		return err
	}
	if err := u.fillImage(ctx, name); err != nil {
		return err
	}
	images.Measure(name)
	u.meter.end()
	return nil
}

func (u *builder) fillImage(ctx context.Context, name string) error {
	images, from := u.b.cfg.Images, u.content.From
	if onCluster(from) && from.Pool == volume.Backend(u.b) {
		parent, snap, ok := images.FromPath(from.Path)
		if !ok {
			return fault.Errorf(fault.VolumeDamaged, "the image to copy is not on the pool's cluster")
		}
		if err := images.Clone(parent, snap, name); err != nil || u.meta.Size == from.Size {
			return err
		}
		return images.Resize(name, u.meta.Size)
	}
	if err := images.Create(name, u.meta.Size); err != nil {
		return err
	}
	switch {
	case from == nil && u.content.Prealloc.Takes():
		return u.d.zeroImage(ctx, name, 0, u.meta.Size, u.meter)
	case from == nil:
		return nil
	}
	source, rest, release, err := u.source(ctx)
	if err != nil {
		return err
	}
	defer release()
	to, err := images.OpenDevice(ctx, name, "", false)
	if err != nil {
		return err
	}
	defer to.Close() //nolint:errcheck // Flush tells
	if err := copyDevice(ctx, to, source, from.Size, rest); err != nil {
		return err
	}
	return to.Flush(ctx)
}

// source opens what is to be copied as a Device. What only qemu-img can read becomes a raw file for the time of it. rest is the
// meter of what is left to do.
func (u *builder) source(ctx context.Context) (dev volume.Device, rest *meter, release func(), err error) {
	from := u.content.From
	path, rest, drop := from.Path, u.meter, func() {}
	switch {
	case onCluster(from):
		dev, err = openCluster(ctx, from)
	case from.Format != string(qemu.Raw):
		var t *temp
		if t, err = u.d.newTemp(); err != nil {
			return nil, nil, nil, err
		}
		path, rest, drop = t.path(), u.meter.part(1, 2), t.release
		err = u.temporary(ctx, t, *from, u.meter.part(0, 2))
		fallthrough
	default:
		var f *os.File
		if err == nil {
			f, err = openSource(path)
		}
		if err == nil {
			dev, err = OpenImage(f, "the image to copy", true)
		}
	}
	if err != nil {
		drop()
		return nil, nil, nil, err
	}
	return dev, rest, func() {
		dev.Close() //nolint:errcheck,gosec // nothing was written
		drop()
	}, nil
}

// temporary makes a raw file of an image, which stands alone and need not survive a crash.
func (u *builder) temporary(ctx context.Context, t *temp, from volume.Image, m *meter) error {
	if from.Base != "" {
		from.Pool = nil // so that it is copied without its base
	}
	raw := &builder{
		b: u.b, id: u.id, d: t.d, name: t.name, lock: u.lock, passing: true, meta: volume.Meta{Format: volume.Raw, Size: sectors(from.Size)},
		content: volume.Content{From: &from, Alg: u.content.Alg, Progress: m.program()},
	}
	_, err := raw.build(ctx)
	return err
}

// openCluster opens an image on a cluster that some pool has.
func openCluster(ctx context.Context, img *volume.Image) (volume.Device, error) {
	if b, ok := img.Pool.(*Backend); ok && b.cfg.Images != nil {
		if name, snap, ok := b.cfg.Images.FromPath(img.Path); ok {
			return b.cfg.Images.OpenDevice(ctx, name, snap, true)
		}
	}
	return nil, fault.Errorf(fault.VolumeDamaged, "the image to copy is not on a cluster that is known")
}

// fromCluster makes a file of an image on a cluster.
func (u *builder) fromCluster(ctx context.Context) error {
	if u.meta.Format == volume.QCOW2 {
		t, err := u.d.newTemp()
		if err != nil {
			return err
		}
		defer t.release()
		if err := u.temporary(ctx, t, *u.content.From, u.meter.part(0, 2)); err != nil {
			return err
		}
		whole := u.meter
		u.meter = whole.part(1, 2)
		u.content.From = &volume.Image{Path: t.path(), Format: string(qemu.Raw), Size: u.content.From.Size}
		err = u.convert(ctx)
		u.meter = whole
		if err == nil {
			whole.end()
		}
		return err
	}
	from, err := openCluster(ctx, u.content.From)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // nothing was written
	f, err := u.d.openNew(u.name)
	if err != nil {
		return fault.FromOS("make the image", err)
	}
	defer f.Close() //nolint:errcheck // fsync tells
	if err := u.d.truncate(f, u.meta.Size); err != nil {
		return err
	}
	if err := copyDevice(ctx, newDevice(f, "the copy", false, u.meta.Size), from, u.content.From.Size, u.meter); err != nil {
		return err
	}
	if err := u.sync(f); err != nil {
		return err
	}
	u.meter.end()
	return nil
}

// copyDevice copies the first size bytes of a Device, or all where it has fewer, to another that reads as zeros, leaving out what are zeros,
// with several requests at once: each of them may cross a network.
func copyDevice(ctx context.Context, to, from volume.Device, size int64, m *meter) error {
	const atOnce, piece = 4, 4 << 20
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	defer work.Wait()
	zeros := make([]byte, piece)
	buffers := make(chan []byte, atOnce)
	for range atOnce {
		buffers <- make([]byte, piece)
	}
	holes, _ := from.(volume.ExtentReader)
	size = min(size, from.Size())
	for off := int64(0); off < size; {
		length, mapped := size-off, true
		if holes != nil {
			var err error
			if length, mapped, err = holes.NextExtent(ctx, off); err != nil {
				return err
			}
		}
		end := min(off+length, size)
		for ; mapped && off < end; off += piece {
			var buf []byte
			select {
			case buf = <-buffers:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			p, at := buf[:min(end-off, piece)], off
			work.Go(func() {
				defer func() { buffers <- buf }()
				_, err := from.ReadAt(p, at)
				if err == nil && !bytes.Equal(p, zeros[:len(p)]) {
					_, err = to.WriteAt(p, at)
				}
				if err != nil {
					cancel(err)
				}
			})
			m.of(at, size)
		}
		off = end
	}
	work.Wait()
	return context.Cause(ctx)
}
