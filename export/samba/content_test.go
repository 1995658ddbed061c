package samba

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"elstore/export"
	"elstore/volume/fault"
)

// strict is a Device that takes whole sectors only.
type strict struct {
	export.Device
	data []byte
	err  error
}

func (d *strict) check(off, length int64) error {
	if off%sector != 0 || length%sector != 0 || length == 0 || off+length > int64(len(d.data)) {
		return errors.New("not whole sectors of the device")
	}
	return d.err
}

func (d *strict) Size() int64                 { return int64(len(d.data)) }
func (d *strict) Flush(context.Context) error { return d.err }

func (d *strict) ReadAt(p []byte, off int64) (int, error) {
	if err := d.check(off, int64(len(p))); err != nil {
		return 0, err
	}
	return copy(p, d.data[off:]), nil
}

func (d *strict) WriteAt(p []byte, off int64) (int, error) {
	if err := d.check(off, int64(len(p))); err != nil {
		return 0, err
	}
	return copy(d.data[off:], p), nil
}

func (d *strict) WriteZeroes(off, length int64, unmap bool) error {
	if err := d.check(off, length); err != nil || !unmap {
		return errors.Join(err, errors.New("kept"))
	}
	clear(d.data[off : off+length])
	return nil
}

func newContent(sectorsOf int) (*content, *strict, *export.Gate) {
	d, g := &strict{data: make([]byte, sectorsOf*sector)}, &export.Gate{}
	return &content{unit: &unit{sectors: sectors{device: d}}, gate: g}, d, g
}

// TestAnyBytesOfADeviceOfSectors compares random requests with the same on plain memory.
func TestAnyBytesOfADeviceOfSectors(t *testing.T) {
	c, d, _ := newContent(8)
	want := bytes.Clone(d.data)
	random := rand.New(rand.NewPCG(1, 2))
	size := len(want)
	for n := range 5000 {
		off := random.IntN(size)
		length := 1 + random.IntN(size-off)
		if n%3 == 0 {
			off, length = off&^(sector-1), sector
		}
		var err error
		switch random.IntN(3) {
		case 0:
			p := make([]byte, length)
			err = c.ReadAt(t.Context(), p, int64(off))
			if !bytes.Equal(p, want[off:off+length]) {
				t.Fatalf("%d bytes at %d are others", length, off)
			}
		case 1:
			p := bytes.Repeat([]byte{byte(n)}, length)
			err = c.WriteAt(t.Context(), p, int64(off))
			copy(want[off:], p)
		case 2:
			err = c.Zero(t.Context(), int64(off), int64(length))
			clear(want[off : off+length])
		}
		if err != nil || !bytes.Equal(d.data, want) {
			t.Fatalf("request %d of %d bytes at %d: %v", n, length, off, err)
		}
	}
	if n := c.counts(); n.ReadOperations == 0 || n.WriteOperations == 0 || n.ReadBytes < n.ReadOperations || n.Errors != 0 || n.ReadLatency.Sum <= 0 || n.WriteLatency.Sum <= 0 {
		t.Errorf("%+v", n)
	}
}

func TestContentErrors(t *testing.T) {
	c, d, g := newContent(2)
	for _, tt := range []struct {
		err  error
		want error
	}{
		{fault.Errorf(fault.PoolFull, "full"), syscall.ENOSPC},
		{fault.Errorf(fault.VolumeReadOnly, "read-only"), syscall.EROFS},
		{syscall.ENODEV, syscall.ENODEV},
	} {
		d.err = tt.err
		for name, err := range map[string]error{
			"read": c.ReadAt(t.Context(), make([]byte, sector), 0), "part of a sector": c.WriteAt(t.Context(), make([]byte, 1), 0),
			"write": c.WriteAt(t.Context(), make([]byte, sector), 0), "flush": c.Flush(t.Context()),
		} {
			if !errors.Is(err, tt.want) {
				t.Errorf("%v: %s gets %v", tt.err, name, err)
			}
		}
	}
	d.err = nil
	if n := c.counts(); n.Errors != 12 {
		t.Errorf("%+v", n)
	}
	if err := g.Shut(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteAt(t.Context(), []byte("x"), 0); !errors.Is(err, syscall.EACCES) || d.data[0] != 0 {
		t.Errorf("written through a shut gate: %v", err)
	}
	if err := c.Zero(t.Context(), 0, sector); !errors.Is(err, syscall.EACCES) {
		t.Errorf("zeroed through a shut gate: %v", err)
	}
	if err := c.ReadAt(t.Context(), make([]byte, 1), 0); err != nil {
		t.Errorf("read past a shut gate: %v", err)
	}
}

func TestRemovalEndsWaiting(t *testing.T) {
	c, _, _ := newContent(2)
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errEnded)
	slow := 1.0
	c.pace.Set(export.Rates{WriteIOPS: &slow})
	for range 3 { // what it may be ahead of its rates
		_ = c.pace.Wait(ended, export.Writing, 0)
	}
	if err := c.WriteAt(ended, []byte("x"), 0); !errors.Is(err, errEnded) {
		t.Errorf("%v", err)
	}
}
