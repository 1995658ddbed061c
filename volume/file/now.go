package file

import (
	"os"

	"golang.org/x/sys/unix"

	"elstore/volume"
)

var (
	_ volume.NowReader = (*device)(nil)
	_ volume.NowWriter = (*device)(nil)
)

// pace is what a file system lets us do without waiting.
type pace uint8

const (
	paceUnknown pace = iota
	paceCache        // reads with RWF_NOWAIT, as far as the page cache has what they want
	paceMemory       // everything: the page cache is all there is
)

// paceOf finds out by trying: no system call tells. It is asked once per open file.
func paceOf(f *os.File) pace {
	fd := int(f.Fd())
	var system unix.Statfs_t
	if retry(func() error { return unix.Fstatfs(fd, &system) }) == nil && system.Type == unix.TMPFS_MAGIC {
		return paceMemory
	}
	var p [1]byte
	err := retry(func() error {
		_, err := unix.Preadv2(fd, [][]byte{p[:]}, 0, unix.RWF_NOWAIT)
		return err
	})
	if err == nil || err == unix.EAGAIN { //nolint:errorlint // a system call's own
		return paceCache
	}
	return paceUnknown
}

// ReadNow implements volume.NowReader.
func (d *device) ReadNow(p []byte, off int64) bool {
	if d.pace == paceUnknown || d.check(off, int64(len(p))) != nil {
		return false
	}
	var n int
	err := retry(func() (err error) {
		if d.pace == paceMemory {
			n, err = unix.Pread(int(d.f.Fd()), p, off)
		} else {
			n, err = unix.Preadv2(int(d.f.Fd()), [][]byte{p}, off, unix.RWF_NOWAIT)
		}
		return err
	})
	return err == nil && n == len(p)
}

// WritesNow implements volume.NowWriter: what is written goes into the page cache.
func (d *device) WritesNow(length int64) bool { return length <= maxWriteNow }

// maxWriteNow is the longest write that is not worth another goroutine, in bytes. Copying it takes about 100 µs.
const maxWriteNow = 1 << 20
