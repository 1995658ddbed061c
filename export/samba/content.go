package samba

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"elstore/export"
	"elstore/export/samba/fuse"
	"elstore/volume/fault"
)

// sector is what every Device reads and writes wholes of, in bytes.
const sector = 512

// content is a volume's Device as one attachment's file.
type content struct {
	unit *unit
	gate *export.Gate
	pace export.Pacer

	reads, readBytes, writes, writeBytes, others, errs atomic.Uint64
	reading, writing                                   export.LatencyMeter
}

var _ fuse.Content = (*content)(nil)

// Size implements fuse.Content.
func (c *content) Size() int64 { return c.unit.device.Size() }

// ReadAt implements fuse.Content.
func (c *content) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := c.pace.Wait(ctx, export.Reading, len(p)); err != nil {
		return err
	}
	defer c.reading.Since(time.Now())
	c.reads.Add(1)
	c.readBytes.Add(uint64(len(p)))
	return c.failed(c.unit.readAt(p, off))
}

// WriteAt implements fuse.Content.
func (c *content) WriteAt(ctx context.Context, p []byte, off int64) error {
	if err := c.pace.Wait(ctx, export.Writing, len(p)); err != nil {
		return err
	}
	defer c.writing.Since(time.Now())
	c.writes.Add(1)
	c.writeBytes.Add(uint64(len(p)))
	return c.change(ctx, func() error { return c.unit.writeAt(p, off) })
}

// Zero implements fuse.Content.
func (c *content) Zero(ctx context.Context, off, length int64) error {
	if err := c.pace.Wait(ctx, export.Writing, 0); err != nil {
		return err
	}
	defer c.writing.Since(time.Now())
	c.writes.Add(1)
	return c.change(ctx, func() error { return c.unit.zero(off, length) })
}

// Flush implements fuse.Content.
func (c *content) Flush(ctx context.Context) error {
	c.others.Add(1)
	return c.failed(c.unit.device.Flush(ctx))
}

// change does what changes the medium, where the attachment may.
func (c *content) change(ctx context.Context, do func() error) error {
	if !c.gate.Enter(ctx) {
		return c.failed(syscall.EACCES)
	}
	defer c.gate.Leave()
	return c.failed(do())
}

// failed counts an error, and makes it one that a client understands.
func (c *content) failed(err error) error {
	if err == nil {
		return nil
	}
	c.errs.Add(1)
	switch {
	case fault.Is(err, fault.PoolFull):
		return fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	case fault.Is(err, fault.VolumeReadOnly):
		return fmt.Errorf("%w: %w", syscall.EROFS, err)
	}
	return err
}

func (c *content) counts() export.Counts {
	return export.Counts{
		ReadOperations: c.reads.Load(), ReadBytes: c.readBytes.Load(), WriteOperations: c.writes.Load(), WriteBytes: c.writeBytes.Load(),
		OtherOperations: c.others.Load(), Errors: c.errs.Load(),
		ReadLatency: c.reading.Latency(), WriteLatency: c.writing.Latency(),
	}
}

// sectors keeps writes of parts of a sector, which read the rest first, from those that they would undo.
type sectors struct {
	sync.RWMutex
	device export.Device
}

// around returns the whole sectors around a range.
func around(off, length int64) (first, whole int64) {
	first = off &^ (sector - 1)
	return first, (off+length+sector-1)&^(sector-1) - first
}

// readAt reads any bytes within the Device.
func (s *sectors) readAt(p []byte, off int64) error {
	first, whole := around(off, int64(len(p)))
	if whole == int64(len(p)) {
		_, err := s.device.ReadAt(p, off)
		return err
	}
	buf := make([]byte, whole)
	_, err := s.device.ReadAt(buf, first)
	copy(p, buf[off-first:])
	return err
}

// writeAt writes any bytes within the Device.
func (s *sectors) writeAt(p []byte, off int64) error {
	first, whole := around(off, int64(len(p)))
	if whole == int64(len(p)) {
		s.RLock()
		defer s.RUnlock()
		_, err := s.device.WriteAt(p, off)
		return err
	}
	s.Lock()
	defer s.Unlock()
	buf := make([]byte, whole)
	for _, at := range []int64{0, whole - sector} { // the first and the last one are those that may be parts
		if _, err := s.device.ReadAt(buf[at:at+sector], first+at); err != nil {
			return err
		}
	}
	copy(buf[off-first:], p)
	_, err := s.device.WriteAt(buf, first)
	return err
}

// zero makes any bytes within the Device zeros, and gives back the storage of what are whole sectors.
func (s *sectors) zero(off, length int64) error {
	head := min((sector-off%sector)%sector, length)
	tail := (length - head) % sector
	middle := length - head - tail
	for _, part := range []struct{ off, length int64 }{{off, head}, {off + head + middle, tail}} {
		if part.length > 0 {
			if err := s.writeAt(make([]byte, part.length), part.off); err != nil {
				return err
			}
		}
	}
	if middle == 0 {
		return nil
	}
	s.RLock()
	defer s.RUnlock()
	return s.device.WriteZeroes(off+head, middle, true)
}
