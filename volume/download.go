package volume

import (
	"context"
	"errors"
	"os"

	"elstore/volume/fault"
)

// Download is an image that can be read for as long as it is open.
type Download struct {
	File    *os.File
	Size    int64 // of the file in bytes
	Format  Format
	Volume  Volume
	release func()
}

// Close ends the download and frees what it held.
func (d *Download) Close() error {
	err := d.File.Close()
	d.release()
	return err
}

// Download opens a volume's image for reading, as it is at this moment, in a format: "" is the one that it has. It is a
// file of its own, that stands alone, wherever the storage shares blocks, the volume is in use, or the format asks for
// it; else the volume stays locked until the download is closed.
func (s *Service) Download(ctx context.Context, id ID, by Who, format Format, p Progress) (*Download, error) {
	v, err := s.Get(ctx, id, by)
	if err != nil {
		return nil, err
	}
	switch {
	case format != "":
	case v.Meta.Format == RBD:
		format = Raw
	default:
		format = v.Meta.Format
	}
	d := &Download{Format: format, Volume: v}
	ready := make(chan error, 1)
	closed := make(chan struct{})
	// The operation lasts as long as the download where nothing else protects what is read.
	go func() {
		ready <- s.operate(context.WithoutCancel(ctx), id, nil, Operation{Purpose: "download"}, func(pool context.Context, h *handle) error {
			opening, cancel := context.WithCancelCause(pool)
			stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
			locked, err := s.openDownload(opening, h, d, by, p)
			stop()
			cancel(nil)
			if err != nil || !locked {
				return err
			}
			ready <- nil
			select {
			case <-closed:
				return nil
			case <-pool.Done(): // the pool goes, and must not wait for a client that reads at leisure
				return d.File.Close()
			}
		})
	}()
	if err := <-ready; err != nil {
		return nil, err
	}
	inner := d.release
	d.release = func() {
		inner()
		close(closed)
	}
	return d, nil
}

// openDownload opens what is to be read. locked says that it is the volume's own file, which must not change meanwhile.
func (s *Service) openDownload(ctx context.Context, h *handle, d *Download, by Who, p Progress) (locked bool, err error) {
	if err := h.readable(by); err != nil {
		return false, err
	}
	m := h.found.Meta
	var img Image
	d.release = func() {}
	switch o := s.inUse(h); {
	case m.Format == RBD: // in use or not: the copy is of a snapshot
		img, d.release, err = s.exportImage(ctx, h, d.Format, p)
	case o != nil && d.Format == m.Format && m.Base == "":
		img, d.release, err = s.snapshot(ctx, h, o)
	case o != nil:
		return false, fault.Errorf(fault.VolumeInUse, "volume %s is used by %s, and can be downloaded only as %s now", h.found.ID, o.names(), m.Format)
	case d.Format != m.Format || m.Base != "":
		img, d.release, err = s.exportImage(ctx, h, d.Format, p)
	case h.at.backend.Caps().Reflink:
		img, d.release, err = h.Snapshot(ctx, m)
	default:
		img, locked = h.Image(m), true
	}
	if err != nil {
		return false, err
	}
	d.File, err = os.OpenFile(img.Path, os.O_RDONLY|openNoFollow, 0)
	if err == nil {
		var info os.FileInfo
		if info, err = d.File.Stat(); err == nil {
			d.Size = info.Size()
			return locked, nil
		}
		err = errors.Join(err, d.File.Close())
	}
	d.release()
	return false, fault.FromOS("open image", err)
}

// exportImage makes a copy of the image in a format that stands alone.
func (s *Service) exportImage(ctx context.Context, h *handle, format Format, p Progress) (img Image, release func(), err error) {
	release = func() {}
	need, err := s.copyRoom(h)
	if err != nil {
		return img, release, err
	}
	err = s.withRoom(ctx, h, format, need, func() (err error) {
		img, release, err = h.Export(ctx, h.found.Meta, format, p)
		return err
	})
	return img, release, err
}
