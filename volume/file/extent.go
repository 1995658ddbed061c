package file

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

var _ volume.ExtentReader = (*device)(nil)

// NextExtent implements volume.ExtentReader with what the file system knows of holes. Storage that was reserved and never
// written counts as a hole on file systems that tell it apart. The descriptor's own position, which nothing else uses,
// moves.
func (d *device) NextExtent(ctx context.Context, off int64) (length int64, mapped bool, err error) {
	if ctx.Err() != nil {
		return 0, false, context.Cause(ctx)
	}
	size := d.size.Load()
	if err := d.check(off, 1); err != nil {
		return 0, false, err
	}
	if end := d.data.end(off); end > off {
		return min(end, size) - off, true, nil
	}
	d.data.mu.Lock() // who comes now has what the first one finds; the descriptor's position lets only one look anyway
	defer d.data.mu.Unlock()
	if end := d.data.end(off); end > off {
		return min(end, size) - off, true, nil
	}
	discards := d.data.discards.Load()
	data, err := d.seek(off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // no data from here on
		return size - off, false, nil
	case errors.Is(err, unix.EINVAL): // it doesn't know
		return size - off, true, nil
	case err != nil:
		return 0, false, fault.FromOS("look for holes", err)
	case data > off:
		return min(data, size) - off, false, nil
	}
	hole, err := d.seek(off, unix.SEEK_HOLE)
	if errors.Is(err, unix.ENXIO) { // what is there was given back since
		return size - off, false, nil
	}
	if err != nil {
		return 0, false, fault.FromOS("look for holes", err)
	}
	if hole <= off { // the same: it became a hole between the two looks
		hole = off + 512
	}
	d.data.last.Store(&dataRun{off, hole, discards})
	return min(hole, size) - off, true, nil
}

// knownData is the storage that NextExtent found last: on a file system without a list of extents, as tmpfs, to look for the end of a
// large one takes milliseconds, and initiators ask again and again. To take for storage what became a hole does no harm.
type knownData struct {
	mu       sync.Mutex   // held while it is looked for
	discards atomic.Int64 // how often storage was given back
	last     atomic.Pointer[dataRun]
}

type dataRun struct {
	off, end int64
	discards int64 // before it was looked for
}

// end returns up to where there is storage from off on, as far as that is known, or 0.
func (k *knownData) end(off int64) int64 {
	if r := k.last.Load(); r != nil && off >= r.off && r.discards == k.discards.Load() {
		return r.end
	}
	return 0
}

func (d *device) seek(off int64, whence int) (at int64, err error) {
	err = retry(func() error {
		at, err = unix.Seek(int(d.f.Fd()), off, whence)
		return err
	})
	return at, err
}
