package file

import (
	"golang.org/x/sys/unix"

	"elstore/volume"
)

var _ volume.Splicer = (*device)(nil)

// Splice implements volume.Splicer with the pages of the page cache.
func (d *device) Splice(fd int, off, length int64) int64 {
	if d.check(off, length) != nil {
		return 0
	}
	var done int64
	for done < length {
		at := off + done
		n, err := unix.Splice(int(d.f.Fd()), &at, fd, nil, int(length-done), unix.SPLICE_F_NONBLOCK)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 { // EAGAIN where the pipe is full
			break
		}
		done += n
	}
	return done
}
