package file

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"elstore/volume"
)

// punch gives back the storage of a range, which then reads as zeros.
func punch(fd int, off, length int64) error {
	return retry(func() error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
	})
}

// zeroRange makes a range read as zeros and keeps its storage.
func zeroRange(fd int, off, length int64) error {
	return retry(func() error {
		return unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, length)
	})
}

// extend makes a raw image longer, from its size before to after. Its size changes with the last step but for full,
// whose zeros make it grow.
func (d *dir) extend(ctx context.Context, f *os.File, before, after int64, p volume.Prealloc, m *meter) error {
	switch p {
	case volume.PreallocFalloc:
		err := d.reserve(ctx, f, before, after, m)
		if errors.Is(err, unix.EOPNOTSUPP) { // writing is the only way to take room there
			return d.writeZeros(ctx, f, before, after, m)
		}
		if err != nil {
			return err
		}
	case volume.PreallocFull:
		return d.writeZeros(ctx, f, before, after, m)
	case volume.PreallocOff, volume.PreallocMetadata:
	}
	return d.truncate(f, after)
}

// reserve takes the storage from before to after, past the file's end.
func (d *dir) reserve(ctx context.Context, f *os.File, before, after int64, m *meter) error {
	const at = 16 << 30 // quick, but a cancelled job need not wait for a petabyte
	for off := before; off < after; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(after-off, at)
		err := d.change("reserve room for", f, func(fd int) error {
			return retry(func() error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, n) })
		})
		if err != nil {
			return err
		}
		off += n
		m.of(off-before, after-before)
	}
	return nil
}
