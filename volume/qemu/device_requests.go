package qemu

import (
	"context"
	"errors"
	"syscall"

	"elstore/volume/fault"
	"elstore/volume/nbdwire"
)

// check refuses what is not wholly on the disk.
func (d *Device) check(off, length int64) error {
	if size := d.size.Load(); off < 0 || length < 0 || length > size || off > size-length {
		return fault.Errorf(fault.BadRequest, "%d bytes at %d are not within the %d bytes of volume %s", length, off, size, d.options.Name)
	}
	return nil
}

func (d *Device) checkChange(off, length int64) error {
	if d.options.ReadOnly {
		return fault.Errorf(fault.VolumeReadOnly, "volume %s is open for reading only", d.options.Name)
	}
	return d.check(off, length)
}

// ReadAt fills p from off.
func (d *Device) ReadAt(p []byte, off int64) (int, error) {
	if err := d.check(off, int64(len(p))); err != nil || len(p) == 0 {
		return 0, err
	}
	r := request{ctx: context.Background(), kind: doRead, p: p, off: off}
	if err := d.do(&r); err != nil {
		return 0, fault.FromOS("read", err)
	}
	return len(p), nil
}

// WriteAt writes p at off.
func (d *Device) WriteAt(p []byte, off int64) (n int, err error) {
	if err := d.checkChange(off, int64(len(p))); err != nil {
		return 0, err
	}
	for len(p) > 0 {
		part := p[:min(len(p), d.most)]
		r := request{ctx: context.Background(), kind: doWrite, p: part, change: newWrite(off, len(part), part)}
		if err := d.do(&r); err != nil {
			return n, fault.FromOS("write", err)
		}
		p, off, n = p[len(part):], off+int64(len(part)), n+len(part)
	}
	return n, nil
}

// WriteVectorAt writes all pieces, one behind the other, at off.
func (d *Device) WriteVectorAt(pieces [][]byte, off int64) (n int, err error) {
	length := 0
	for _, p := range pieces {
		length += len(p)
	}
	if err := d.checkChange(off, int64(length)); err != nil || length == 0 {
		return 0, err
	}
	if length <= d.most {
		r := request{ctx: context.Background(), kind: doWriteVector, pieces: pieces, change: newWrite(off, length, pieces...)}
		if err := d.do(&r); err != nil {
			return 0, fault.FromOS("write", err)
		}
		return length, nil
	}
	for _, p := range pieces {
		done, err := d.WriteAt(p, off+int64(n))
		n += done
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Flush returns once every change that returned before the call is on stable storage.
func (d *Device) Flush(ctx context.Context) error {
	err := d.flush(ctx, false)
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
		return err
	}
	return fault.FromOS("flush", err)
}

func (d *Device) flush(ctx context.Context, holder bool) error {
	r := request{ctx: ctx, kind: doFlush, holder: holder}
	return d.do(&r) //nolint:contextcheck // a flush by ourselves is nobody's
}

// Discard gives back the storage of length bytes at off.
func (d *Device) Discard(off, length int64) error {
	err := d.change(changeDiscard, off, length)
	if errors.Is(err, syscall.ENOTSUP) {
		return nil // it is a hint
	}
	return fault.FromOS("discard", err)
}

// WriteZeroes makes length bytes at off read as zeros; with unmap their storage may be given back.
func (d *Device) WriteZeroes(off, length int64, unmap bool) error {
	kind := changeZero
	if unmap {
		kind = changeZeroUnmap
	}
	return fault.FromOS("write zeroes", d.change(kind, off, length))
}

// change makes a change that has no data.
func (d *Device) change(kind changeKind, off, length int64) error {
	if err := d.checkChange(off, length); err != nil || length == 0 {
		return err
	}
	r := request{ctx: context.Background(), kind: doChange, change: newChange(kind, off, length)}
	return d.do(&r)
}

// Extent is a stretch of a disk, all of which has storage or has none.
type Extent struct {
	Length int64 // bytes
	Hole   bool  // it has no storage
	Zero   bool  // it is known to read as zeros
}

// Extents returns what is known about the length bytes at off: at least one extent, and perhaps not all.
func (d *Device) Extents(ctx context.Context, off, length int64) ([]Extent, error) {
	return d.extents(ctx, off, length, false)
}

// NextExtent returns for how many bytes from off on, 1 at least where off is on the disk, there is all storage or none. What
// has none reads as zeros.
func (d *Device) NextExtent(ctx context.Context, off int64) (length int64, mapped bool, err error) {
	extents, err := d.extents(ctx, off, d.size.Load()-off, true)
	if err != nil || len(extents) == 0 {
		return 0, false, err
	}
	e := extents[0]
	return e.Length, !e.Hole || !e.Zero, nil
}

func (d *Device) extents(ctx context.Context, off, length int64, one bool) ([]Extent, error) {
	if err := d.check(off, length); err != nil || length == 0 {
		return nil, err
	}
	r := request{ctx: ctx, kind: doStatus, off: off, length: length, one: one}
	if err := d.do(&r); err != nil { //nolint:contextcheck // a flush by ourselves is nobody's
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
			return nil, err
		}
		return nil, fault.FromOS("look for holes", err)
	}
	found := make([]Extent, len(r.extents))
	for i, e := range r.extents {
		found[i] = Extent{e.length, e.flags&nbdwire.StateHole != 0, e.flags&nbdwire.StateZero != 0}
	}
	return found, nil
}
