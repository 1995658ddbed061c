package file

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// chunk is how much is copied between two looks at the context, in bytes.
const chunk = 8 << 20

// extents calls do for each piece of f that may hold data, of at most chunk bytes and below size, in order. What lies between is
// a hole. A file system that doesn't know its holes has none.
func extents(ctx context.Context, f *os.File, size int64, do func(off, length int64) error) error {
	fd := int(f.Fd())
	for off := int64(0); off < size; {
		start, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // a hole up to the end
		}
		end := size
		if err != nil {
			start = off
		} else if end, err = unix.Seek(fd, start, unix.SEEK_HOLE); err != nil {
			end = size
		}
		end = min(end, size)
		for off = start; off < end; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n := min(end-off, chunk)
			if err := do(off, n); err != nil {
				return err
			}
			off += n
		}
		off = max(off, end)
	}
	return nil
}

// sparseCopy copies the size bytes of from to the empty file to, leaving holes where it has them, by the kernel where it can.
func (d *dir) sparseCopy(ctx context.Context, to, from *os.File, size int64, m *meter) error {
	if err := d.truncate(to, size); err != nil {
		return err
	}
	inKernel := true
	return extents(ctx, from, size, func(off, n int64) error {
		err := d.change("copy into", to, func(fd int) error {
			if inKernel {
				err := copyRange(fd, int(from.Fd()), off, n)
				if !cantCopyRange(err) {
					return err
				}
				inKernel = false
			}
			_, err := io.Copy(io.NewOffsetWriter(to, off), io.NewSectionReader(from, off, n))
			return err
		})
		m.of(off+n, size)
		return err
	})
}

// copyRange copies n bytes at off from one file to the other, which reflinks them where the file system likes to.
func copyRange(to, from int, off, n int64) error {
	roff, woff := off, off
	for n > 0 {
		m, err := unix.CopyFileRange(from, &roff, to, &woff, int(n), 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case m == 0:
			return nil // the source became shorter; the rest stays a hole
		}
		n -= int64(m)
	}
	return nil
}

// cantCopyRange reports whether err says that the kernel can't copy between the two files, but we can.
func cantCopyRange(err error) bool {
	return errors.Is(err, unix.EXDEV) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) ||
		errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM)
}

// digHoles gives back the storage of to wherever from has a hole, for copies by programs that don't.
func (d *dir) digHoles(ctx context.Context, to, from *os.File, size int64) error {
	last := int64(0)
	dig := func(end int64) error {
		if end <= last {
			return nil
		}
		return d.change("punch", to, func(fd int) error {
			err := punch(fd, last, end-last)
			if errors.Is(err, unix.EOPNOTSUPP) {
				return nil
			}
			return err
		})
	}
	err := extents(ctx, from, size, func(off, n int64) error {
		err := dig(off)
		last = off + n
		return err
	})
	if err != nil {
		return err
	}
	return dig(size)
}

// writeZeros writes zeros from off to end, and tells m.
func (d *dir) writeZeros(ctx context.Context, f *os.File, off, end int64, m *meter) error {
	const at = 1 << 20
	zeros := make([]byte, at)
	for done := off; done < end; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(end-done, at)
		err := d.change("write zeros to", f, func(int) error {
			_, err := f.WriteAt(zeros[:n], done)
			return err
		})
		if err != nil {
			return err
		}
		done += n
		m.of(done-off, end-off)
	}
	return nil
}

// openSource opens an image file that a path from us or from the configuration names.
func openSource(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) //nolint:gosec // who may name which path is decided above us
	if err != nil {
		return nil, fault.FromOS("open the image to copy", err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close() //nolint:errcheck,gosec // nothing was written
		return nil, fault.Errorf(fault.ImageRefused, "the image to copy is not a regular file")
	}
	return f, nil
}
