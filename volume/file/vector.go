package file

import (
	"io"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

var _ volume.VectorWriter = (*device)(nil)

// maxPieces is how many pieces the kernel takes at once: UIO_MAXIOV.
const maxPieces = 1024

// WriteVectorAt implements volume.VectorWriter.
func (d *device) WriteVectorAt(pieces [][]byte, off int64) (int, error) {
	length := 0
	for _, p := range pieces {
		length += len(p)
	}
	if err := d.checkWrite(off, int64(length)); err != nil {
		return 0, err
	}
	done, skip := 0, 0 // skip is how much of the first piece is written
	for done < length {
		if skip > 0 || len(pieces[0]) == 0 { // what is left of a piece, as after a write that was cut short
			n, err := d.f.WriteAt(pieces[0][skip:], off+int64(done))
			done += n
			if err != nil {
				return done, fault.FromOS("write", err)
			}
			pieces, skip = pieces[1:], 0
			continue
		}
		var n int
		err := retry(func() (err error) {
			n, err = unix.Pwritev(int(d.f.Fd()), pieces[:min(len(pieces), maxPieces)], off+int64(done))
			return err
		})
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return done, fault.FromOS("write", err)
		}
		done += n
		pieces, skip = passOver(pieces, n)
	}
	return done, nil
}

// passOver returns the pieces that are not wholly in the first n bytes, and how much of the first of them is.
func passOver(pieces [][]byte, n int) (rest [][]byte, skip int) {
	for len(pieces) > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	return pieces, n
}
