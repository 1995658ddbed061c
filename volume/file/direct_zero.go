package file

import (
	"errors"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// Discard implements volume.Device, of whole units.
func (d *direct) Discard(off, length int64) error {
	if err := d.checkWrite(off, length); err != nil {
		return err
	}
	first, end := d.units(off, length)
	if first >= end {
		return nil
	}
	d.parts.RLock()
	defer d.parts.RUnlock()
	return d.device.Discard(first, end-first)
}

// units returns the whole units in a range, none where first is not below end. The last one of a file may be shorter.
func (d *direct) units(off, length int64) (first, end int64) {
	first, end = (off+d.unit-1)&^(d.unit-1), (off+length)&^(d.unit-1)
	return first, end
}

// WriteZeroes implements volume.Device: whole units by the file system, and the rest as data.
func (d *direct) WriteZeroes(off, length int64, unmap bool) error {
	if err := d.checkWrite(off, length); err != nil || length == 0 {
		return err
	}
	first, end := d.units(off, length)
	if first >= end {
		return d.zero(off, length)
	}
	if err := errors.Join(d.zero(off, first-off), d.zero(end, off+length-end)); err != nil {
		return err
	}
	ways := []func(fd int, off, length int64) error{zeroRange}
	if unmap {
		ways = []func(fd int, off, length int64) error{punch, zeroRange}
	}
	for _, way := range ways {
		d.parts.RLock()
		err := way(int(d.f.Fd()), first, end-first)
		d.parts.RUnlock()
		if !errors.Is(err, unix.EOPNOTSUPP) {
			return fault.FromOS("write zeroes", err)
		}
	}
	return d.zero(first, end-first)
}

// zero writes zeros.
func (d *direct) zero(off, length int64) error {
	if length == 0 {
		return nil
	}
	zeros := aligned(int(min(d.up(length), maxBounce)), d.align)
	for length > 0 {
		n, err := d.WriteAt(zeros[:min(length, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off, length = off+int64(n), length-int64(n)
	}
	return nil
}
