package volume

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"time"

	"elstore/volume/fault"
)

// Edit is a volume whose lock the caller holds, with the files beside its image. Used by one goroutine, and not after the
// function that it was given to has returned.
type Edit struct {
	s   *Service
	h   *handle
	ctx context.Context //nolint:containedctx // of the operation, for whose length it lives
}

// Edit runs fn as the one operation on a volume, which must be usable. by must own it if it is known.
func (s *Service) Edit(ctx context.Context, id ID, by Who, purpose string, fn func(ctx context.Context, e *Edit) error) error {
	return s.operate(ctx, id, by, Operation{Purpose: purpose}, func(ctx context.Context, h *handle) error {
		if err := h.usable(); err != nil {
			return err
		}
		return fn(ctx, &Edit{s, h, ctx})
	})
}

// Volume returns the volume as it is now.
func (e *Edit) Volume() Volume {
	e.s.mu.RLock()
	defer e.s.mu.RUnlock()
	return e.s.record(e.h.entry)
}

// Files lists the files beside the image; see CheckBeside.
func (e *Edit) Files() ([]string, error) { return e.h.Files() }

// ReadFile reads a file beside the image. os.ErrNotExist is in the error's chain if it is not there.
func (e *Edit) ReadFile(name string) ([]byte, error) { return e.h.ReadFile(name) }

// Room refuses, with NoSpace, to begin a change that writes more bytes than there is room for now.
func (e *Edit) Room(bytes int64) error {
	return e.s.withRoom(e.ctx, e.h, e.h.found.Meta.Format, bytes+metadataRoom, func() error { return nil })
}

// WriteFile replaces a file beside the image, or makes it.
func (e *Edit) WriteFile(name string, data []byte) error {
	return e.s.withRoom(e.ctx, e.h, e.h.found.Meta.Format, int64(len(data))+metadataRoom, func() error { return e.h.WriteFile(name, data) })
}

// RemoveFile removes a file beside the image, which may be absent.
func (e *Edit) RemoveFile(name string) error { return e.h.RemoveFile(name) }

// Unused refuses, with VolumeInUse, a volume that an export uses; what says what can't be done meanwhile.
func (e *Edit) Unused(what string) error { return e.s.unused(e.h, fault.VolumeInUse, what) }

// SetImage makes data, whole sectors, the image of an ISO volume that nothing uses, in one moment.
func (e *Edit) SetImage(data []byte) (err error) {
	if e.h.found.Meta.Format != ISO {
		return fault.Errorf(fault.VolumeFormatNotAllowed, "volume %s is no ISO volume", e.h.found.ID)
	}
	if err := e.Unused("its image can't be replaced"); err != nil {
		return err
	}
	f, err := e.h.Incoming()
	if err != nil {
		return err
	}
	defer f.Close()
	defer func() {
		if err != nil {
			_ = e.h.DropIncoming()
		}
	}()
	if err := f.Truncate(0); err != nil { // what an interrupted call left
		return fault.FromOS("write image", err)
	}
	if err := copyInto(e.ctx, f, bytes.NewReader(data), int64(len(data)), nil); err != nil {
		return err
	}
	return e.s.setImage(e.ctx, e.h, Image{Path: f.Name(), Format: string(Raw), Size: int64(len(data)), OnDisk: int64(len(data))}, nil)
}

// ISOContent is the image of an ISO volume, open for reading. It stays as it is whatever becomes of the volume.
type ISOContent struct {
	io.ReaderAt
	Size   int64 // in bytes
	Volume Volume
	Tag    time.Time // when the image last changed
	file   *os.File
	stop   func() bool
}

// Close ends the reading.
func (c *ISOContent) Close() error {
	c.stop()
	return c.file.Close()
}

// OpenISO opens the image of an ISO volume for reading, also while it is exported: it never changes in place.
func (s *Service) OpenISO(ctx context.Context, id ID, by Who) (*ISOContent, error) {
	v, err := s.Get(ctx, id, by)
	if err != nil {
		return nil, err
	}
	c := &ISOContent{Volume: v}
	err = s.operate(ctx, id, nil, Operation{Purpose: "read"}, func(_ context.Context, h *handle) error {
		if err := h.readable(by); err != nil {
			return err
		}
		m := h.found.Meta
		if m.Format != ISO {
			return fault.Errorf(fault.VolumeFormatNotAllowed, "volume %s is no ISO volume: its format is %s", id, m.Format)
		}
		f, err := os.OpenFile(h.Image(m).Path, os.O_RDONLY|openNoFollow, 0)
		var info fs.FileInfo
		if err == nil {
			info, err = f.Stat()
		}
		if err != nil {
			return fault.FromOS("open image", err)
		}
		c.file, c.ReaderAt, c.Size, c.Tag = f, f, info.Size(), info.ModTime()
		// A pool that goes must not wait for a client that reads at leisure.
		//nolint:contextcheck // the reading outlives the call
		c.stop = context.AfterFunc(h.at.life, func() { _ = f.Close() })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}
