package file

import (
	"errors"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

// direct is an open raw image in a pool that several servers use: requests go past the page cache, which knows nothing of what other
// hosts write, and nothing that was written stays in it, to be stored when another host has the volume already.
//
// The kernel takes such requests in whole blocks only, to and from memory that is aligned (open(2), O_DIRECT): others go through a buffer.
// What is behind the last whole block of the file is written through the page cache, and out of it at once: a whole block there would
// make the file longer.
type direct struct {
	*device
	block int64    // that offsets and lengths are multiples of, in bytes; a power of 2
	align uintptr  // of memory, in bytes; a power of 2
	unit  int64    // that the file system gives storage in: what is less it would zero in the page cache
	tail  *os.File // the same file, through the page cache

	// parts is locked by writes of parts of blocks, which read the rest before, and read-locked by those of whole blocks.
	parts sync.RWMutex
}

var (
	_ volume.Device       = (*direct)(nil)
	_ volume.VectorWriter = (*direct)(nil)
	_ volume.NowReader    = (*direct)(nil)
	_ volume.NowWriter    = (*direct)(nil)
	_ volume.Splicer      = (*direct)(nil)
)

const (
	// safeAlign is what file systems that don't say what they need are given, in bytes: as much as any disk has for a sector.
	safeAlign = 4096
	// maxBounce is how much goes through a buffer at once, in bytes.
	maxBounce = 1 << 20
	// maxAlign is the largest block or unit that we deal with, in bytes.
	maxAlign = maxBounce
)

// newDirect makes d one that goes past the page cache. tail is the same file; both are closed with it, or where this fails by the
// caller.
func newDirect(d *device, tail *os.File) (*direct, error) {
	flags, err := unix.FcntlInt(d.f.Fd(), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(d.f.Fd(), unix.F_SETFL, flags|unix.O_DIRECT)
	}
	if errors.Is(err, unix.EINVAL) {
		return nil, noDirect(d.name)
	}
	if err != nil {
		return nil, fault.FromOS("open the image past the page cache", err)
	}
	x := &direct{device: d, tail: tail, block: safeAlign, align: safeAlign}
	d.pace = paceUnknown // nothing of it is in the page cache
	var st unix.Statx_t
	if err := unix.Statx(int(d.f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st); err == nil && st.Mask&unix.STATX_DIOALIGN != 0 {
		if st.Dio_offset_align == 0 || max(st.Dio_offset_align, st.Dio_mem_align) > maxAlign {
			return nil, noDirect(d.name)
		}
		x.block, x.align = int64(st.Dio_offset_align), uintptr(st.Dio_mem_align)
	}
	x.unit = x.block
	var fs unix.Stat_t
	if err := unix.Fstat(int(d.f.Fd()), &fs); err == nil && fs.Blksize <= maxAlign && fs.Blksize&(fs.Blksize-1) == 0 {
		x.unit = max(x.unit, fs.Blksize)
	}
	return x, nil
}

func noDirect(name string) error {
	return fault.Errorf(fault.PoolUnavailable, "%s lies on a file system that can't go past the page cache (O_DIRECT), which is needed in a pool that several servers use", name)
}

// bounce are buffers of maxBounce bytes, aligned to maxAlign's largest.
var bounce = sync.Pool{New: func() any {
	b := aligned(maxBounce, safeAlign)
	return &b
}}

// aligned makes a buffer of length bytes whose address is a multiple of align.
func aligned(length int, align uintptr) []byte {
	b := make([]byte, length+int(align))
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & (align - 1)) //nolint:gosec // an address, to be asked for its alignment
	return b[skip : skip+length : skip+length]
}

// buffer returns a buffer of n bytes for the kernel, and what gives it back.
func (d *direct) buffer(n int64) (b []byte, release func()) {
	if d.align > safeAlign {
		return aligned(int(n), d.align), func() {}
	}
	p := bounce.Get().(*[]byte) //nolint:forcetypeassert // nothing else is in it
	return (*p)[:n], func() { bounce.Put(p) }
}

// fits reports whether the kernel takes p at off as it is.
func (d *direct) fits(p []byte, off int64) bool {
	return (off|int64(len(p)))&(d.block-1) == 0 && len(p) > 0 && uintptr(unsafe.Pointer(&p[0]))&(d.align-1) == 0 //nolint:gosec // as above
}

func (d *direct) down(off int64) int64 { return off &^ (d.block - 1) }
func (d *direct) up(off int64) int64   { return d.down(off + d.block - 1) }

// ReadNow implements volume.NowReader: nothing is in the page cache.
func (d *direct) ReadNow([]byte, int64) bool { return false }

// WritesNow implements volume.NowWriter: every write waits for the storage.
func (d *direct) WritesNow(int64) bool { return false }

// Splice implements volume.Splicer: nothing is in the page cache.
func (d *direct) Splice(int, int64, int64) int64 { return 0 }

// Close implements volume.Device.
func (d *direct) Close() error {
	if d.closed.Load() {
		return nil
	}
	err := d.device.Close()
	if cerr := d.tail.Close(); err == nil {
		err = fault.FromOS("close the image", cerr)
	}
	return err
}
