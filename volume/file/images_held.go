package file

import (
	"context"

	"elstore/volume"
)

// lengthenImage makes an image on the cluster longer.
func (h *held) lengthenImage(ctx context.Context, m volume.Meta, size int64, p volume.Prealloc) error {
	image, err := h.d.ref(dataName(m.Format))
	if err != nil {
		return err
	}
	if err := h.d.images.Resize(image, size); err != nil {
		return err
	}
	if p.Takes() {
		err = h.d.zeroImage(ctx, image, m.Size, size, nil)
	}
	h.d.images.Measure(image)
	return err
}

// zeroImage writes zeros to an image on the cluster, so that it takes its storage now.
func (d *dir) zeroImage(ctx context.Context, image string, off, end int64, m *meter) error {
	dev, err := d.images.OpenDevice(ctx, image, "", false)
	if err != nil {
		return err
	}
	defer dev.Close() //nolint:errcheck // Flush tells
	for at := off; at < end; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(end-at, chunk)
		if err := dev.WriteZeroes(at, n, false); err != nil {
			return err
		}
		at += n
		m.of(at-off, end-off)
	}
	return dev.Flush(ctx)
}

// flatten makes a clone on the cluster stand alone.
func (h *held) flatten(ctx context.Context, m volume.Meta, p volume.Progress) error {
	image, err := h.d.ref(dataName(volume.RBD))
	if err != nil {
		return err
	}
	if parent, err := h.d.images.Parent(image); err != nil || parent == "" {
		return err
	}
	total := newMeter(p, m.Size)
	if err := h.d.images.Flatten(ctx, image, total.program()); err != nil {
		return err
	}
	h.d.images.Measure(image)
	total.end()
	return nil
}

// snapshotImage freezes an image on the cluster. It may be open: what was acknowledged is in the snapshot.
func (h *held) snapshotImage(ctx context.Context, m volume.Meta) (volume.Image, func(), error) {
	if err := h.ready(ctx); err != nil {
		return volume.Image{}, nil, err
	}
	image, err := h.d.ref(dataName(m.Format))
	if err != nil {
		return volume.Image{}, nil, err
	}
	snap, release, err := h.d.images.Snapshot(image)
	if err != nil {
		return volume.Image{}, nil, err
	}
	img := h.Image(m)
	img.Path = h.d.images.Path(image, snap)
	return img, release, nil
}

// imageDisk is an open image on the cluster, and its part of the volume's lock.
type imageDisk struct {
	volume.Device
	volume.ExtentReader
	volume.VectorWriter
	volume.Parallel
	release func()
}

// Close closes the image. Whatever comes of it, nobody here uses it any more.
func (d *imageDisk) Close() error {
	err := d.Device.Close()
	d.release()
	return err
}

// openImage opens the volume's image on the cluster.
func (h *held) openImage(ctx context.Context, readonly bool) (volume.Device, error) {
	image, err := h.d.ref(dataName(volume.RBD))
	if err != nil {
		return nil, err
	}
	dev, err := h.d.images.OpenDevice(ctx, image, "", readonly)
	if err != nil {
		return nil, err
	}
	extents, _ := dev.(volume.ExtentReader)
	vector, _ := dev.(volume.VectorWriter)
	parallel, _ := dev.(volume.Parallel)
	return &imageDisk{dev, extents, vector, parallel, h.share()}, nil
}
