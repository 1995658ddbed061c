package file

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

// Open opens the image.
func (h *held) Open(ctx context.Context, m volume.Meta, readonly bool) (volume.Device, error) {
	if err := h.ready(ctx); err != nil {
		return nil, err
	}
	switch m.Format {
	case volume.QCOW2:
		return h.openDisk(ctx, m, readonly)
	case volume.RBD:
		return h.openImage(ctx, readonly)
	case volume.Raw, volume.ISO:
	}
	f, err := h.d.open(dataName(m.Format), !readonly)
	if err != nil {
		return nil, fault.FromOS("open the image", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close() //nolint:errcheck,gosec // nothing was written
		return nil, fault.FromOS("open the image", err)
	}
	d := newDevice(f, "volume "+h.id.String(), readonly, info.Size())
	if !h.b.cfg.Shared {
		d.release = h.share()
		return d, nil
	}
	x, err := h.d.direct(d, m)
	if err == nil {
		d.release = h.share()
	}
	return x, err
}

// direct has an open image go past the page cache. It is closed where that fails.
func (d *dir) direct(img *device, m volume.Meta) (volume.Device, error) {
	tail, err := d.open(dataName(m.Format), !img.readonly)
	if err != nil {
		return nil, errors.Join(fault.FromOS("open the image", err), img.f.Close())
	}
	x, err := newDirect(img, tail)
	if err != nil {
		return nil, errors.Join(err, tail.Close(), img.f.Close())
	}
	return x, nil
}

// device is an open raw image.
type device struct {
	f        *os.File
	name     string // for messages: "volume <id>"
	readonly bool
	pace     pace
	size     atomic.Int64
	data     knownData
	release  func() // gives up this device's part of the volume's lock

	// lost is the first error of a flush. The kernel reports a write that failed once and then calls its pages
	// clean: a later flush would succeed over data that is not there.
	lost   atomic.Pointer[error]
	closed atomic.Bool
}

var _ volume.Device = (*device)(nil)

func newDevice(f *os.File, name string, readonly bool, size int64) *device {
	d := &device{f: f, name: name, readonly: readonly, pace: paceOf(f), release: func() {}}
	d.size.Store(size)
	return d
}

// check refuses what is not wholly in the image. Sums can't overflow: both are checked apart.
func (d *device) check(off, length int64) error {
	size := d.size.Load()
	switch {
	case d.closed.Load():
		return os.ErrClosed
	case off < 0 || length < 0 || length > size || off > size-length:
		return fault.Errorf(fault.BadRequest, "%d bytes at %d are not within the %d bytes of %s", length, off, size, d.name)
	}
	return nil
}

func (d *device) checkWrite(off, length int64) error {
	if d.readonly {
		return fault.Errorf(fault.VolumeReadOnly, "%s is open for reading only", d.name)
	}
	return d.check(off, length)
}

func (d *device) ReadAt(p []byte, off int64) (int, error) {
	if err := d.check(off, int64(len(p))); err != nil {
		return 0, err
	}
	n, err := d.f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		if n == len(p) {
			return n, nil
		}
		err = fault.Errorf(fault.VolumeDamaged, "the image of %s became shorter than it was", d.name)
	}
	return n, fault.FromOS("read", err)
}

func (d *device) WriteAt(p []byte, off int64) (int, error) {
	if err := d.checkWrite(off, int64(len(p))); err != nil {
		return 0, err
	}
	n, err := d.f.WriteAt(p, off)
	return n, fault.FromOS("write", err)
}

func (d *device) Flush(ctx context.Context) error {
	switch {
	case d.closed.Load():
		return os.ErrClosed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return d.flush()
}

func (d *device) flush() error {
	if d.readonly {
		return nil
	}
	if lost := d.lost.Load(); lost != nil {
		return *lost
	}
	err := fault.FromOS("flush", retry(func() error { return unix.Fdatasync(int(d.f.Fd())) }))
	if err != nil {
		d.lost.CompareAndSwap(nil, &err)
	}
	return err
}

// Discard is a hint: where the file system can't give storage back, nothing is.
func (d *device) Discard(off, length int64) error {
	if err := d.checkWrite(off, length); err != nil || length == 0 {
		return err
	}
	defer d.data.discards.Add(1)
	err := punch(int(d.f.Fd()), off, length)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return fault.FromOS("discard", err)
}

// WriteZeroes lets the file system do it, and writes zeros where that can't.
func (d *device) WriteZeroes(off, length int64, unmap bool) error {
	if err := d.checkWrite(off, length); err != nil || length == 0 {
		return err
	}
	defer d.data.discards.Add(1)
	ways := []func(fd int, off, length int64) error{zeroRange}
	if unmap {
		ways = []func(fd int, off, length int64) error{punch, zeroRange}
	}
	for _, way := range ways {
		if err := way(int(d.f.Fd()), off, length); !errors.Is(err, unix.EOPNOTSUPP) {
			return fault.FromOS("write zeroes", err)
		}
	}
	zeros := make([]byte, min(length, 1<<20))
	for length > 0 {
		n, err := d.f.WriteAt(zeros[:min(length, int64(len(zeros)))], off)
		if err != nil {
			return fault.FromOS("write zeroes", err)
		}
		off, length = off+int64(n), length-int64(n)
	}
	return nil
}

func (d *device) Size() int64 { return d.size.Load() }

// Grow looks at the file, so that a request can't reach past its end.
func (d *device) Grow(size int64) error {
	info, err := d.f.Stat()
	if err != nil {
		return fault.FromOS("look at the image", err)
	}
	if size < d.size.Load() || size > info.Size() {
		return fault.Errorf(fault.InternalError, "%s can't grow from %d to %d bytes: its image has %d", d.name, d.size.Load(), size, info.Size())
	}
	d.size.Store(size)
	return nil
}

func (d *device) Close() error {
	if d.closed.Swap(true) {
		return nil
	}
	err := d.flush()
	if cerr := d.f.Close(); err == nil {
		err = fault.FromOS("close the image", cerr)
	}
	d.release()
	return err
}
