package file

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// WriteAt implements volume.Device.
func (d *direct) WriteAt(p []byte, off int64) (int, error) {
	if err := d.checkWrite(off, int64(len(p))); err != nil {
		return 0, err
	}
	// What is behind the last whole block is apart from the rest.
	end := d.down(d.size.Load())
	inside := p[:max(0, min(int64(len(p)), end-off))]
	done, err := d.writeBlocks(inside, off)
	if err == nil && done < len(p) {
		err = d.writeTail(p[done:], off+int64(done))
		if err == nil {
			done = len(p)
		}
	}
	return done, err
}

// writeBlocks writes what lies within whole blocks of the file.
func (d *direct) writeBlocks(p []byte, off int64) (int, error) {
	if (off|int64(len(p)))&(d.block-1) == 0 {
		d.parts.RLock()
		defer d.parts.RUnlock()
	} else {
		d.parts.Lock()
		defer d.parts.Unlock()
	}
	done := 0
	for done < len(p) {
		rest, at := p[done:], off+int64(done)
		if d.fits(rest, at) {
			n, err := d.pwrite(rest, at)
			return done + n, err
		}
		first := d.down(at)
		b, release := d.buffer(min(maxBounce, d.up(at+int64(len(rest)))-first))
		n, err := d.writePart(b, first, rest, at)
		release()
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// writePart writes the blocks from first on that b has room for, with as much of p, which begins at off, as they take.
func (d *direct) writePart(b []byte, first int64, p []byte, off int64) (int, error) {
	end := first + int64(len(b))
	n := min(int64(len(p)), end-off)
	last := end - d.block
	if off > first {
		if _, err := d.pread(b[:d.block], first, d.block); err != nil {
			return 0, err
		}
	}
	if off+n < end && (last > first || off == first) {
		if _, err := d.pread(b[last-first:], last, d.block); err != nil {
			return 0, err
		}
	}
	copy(b[off-first:], p[:n])
	if _, err := d.pwrite(b, first); err != nil {
		return 0, err
	}
	return int(n), nil
}

// pwrite writes whole blocks.
func (d *direct) pwrite(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		var n int
		err := retry(func() (err error) {
			n, err = unix.Pwrite(int(d.f.Fd()), p[done:], off+int64(done))
			return err
		})
		n = int(d.down(int64(n))) // what was cut short within a block is written again
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return done, fault.FromOS("write", err)
		}
		done += n
	}
	return done, nil
}

// writeTail writes behind the last whole block.
func (d *direct) writeTail(p []byte, off int64) error {
	d.parts.Lock()
	defer d.parts.Unlock()
	for len(p) > 0 {
		var n int
		err := retry(func() (err error) {
			n, err = unix.Pwritev2(int(d.tail.Fd()), [][]byte{p}, off, unix.RWF_DSYNC)
			return err
		})
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return fault.FromOS("write", err)
		}
		p, off = p[n:], off+int64(n)
	}
	// Another host may write here before we do again: then these pages would be old.
	first := d.down(d.size.Load()) &^ int64(os.Getpagesize()-1)      // parts of pages stay
	_ = unix.Fadvise(int(d.tail.Fd()), first, 0, unix.FADV_DONTNEED) // a hint, without which the kernel does it some time
	return nil
}

// WriteVectorAt implements volume.VectorWriter: the pieces become one.
func (d *direct) WriteVectorAt(pieces [][]byte, off int64) (int, error) {
	if len(pieces) == 1 {
		return d.WriteAt(pieces[0], off)
	}
	length := int64(0)
	for _, p := range pieces {
		length += int64(len(p))
	}
	if err := d.checkWrite(off, length); err != nil {
		return 0, err
	}
	done := 0
	b, release := d.buffer(min(maxBounce, d.up(length)))
	defer release()
	flush := func(n int) error {
		m, err := d.WriteAt(b[:n], off+int64(done))
		done += m
		return err
	}
	n := 0
	for _, p := range pieces {
		for len(p) > 0 {
			m := copy(b[n:], p)
			n, p = n+m, p[m:]
			if n == len(b) {
				if err := flush(n); err != nil {
					return done, err
				}
				n = 0
			}
		}
	}
	if n > 0 {
		if err := flush(n); err != nil {
			return done, err
		}
	}
	return done, nil
}
