package pdu

import (
	"errors"
	"io"
)

// maxEmptyReads is how often a source may return neither bytes nor an error.
const maxEmptyReads = 100

// drained is called when all that was read was handed out, and the PDU that was handed out last has had its
// time. What can be is used again; nothing is held while a LazyReader waits.
func (r *Reader) drained() {
	switch {
	case r.buf == nil:
	case r.lazy != nil:
		r.buf.Release()
		r.buf, r.r, r.w = nil, 0, 0
	case !r.buf.shared():
		r.r, r.w = 0, 0
	}
}

// fill reads until n bytes are there from r on.
func (r *Reader) fill(n int) error {
	for empty := 0; r.w-r.r < n; {
		got, err := r.read(n)
		switch {
		case r.w-r.r >= n: // the error, if there is one, comes again
			return nil
		case errors.Is(err, io.EOF) && (r.w > r.r || n < BHSLength):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case got > 0:
			empty = 0
		default:
			if empty++; empty == maxEmptyReads {
				return io.ErrNoProgress
			}
		}
	}
	return nil
}

// read reads once, into a buffer that can hold n bytes from r on.
func (r *Reader) read(n int) (got int, err error) {
	r.want = n
	if r.lazy != nil && r.buf == nil {
		got, err = r.lazy.ReadLazy((*readerRoom)(r))
	} else {
		r.makeRoom(n)
		got, err = r.src.Read(r.free(n))
	}
	if got > 0 {
		if r.w+got == len(r.buf.b) && r.size < readLargest {
			r.size = min(2*(r.size-bufferHeadroom)+bufferHeadroom, readLargest)
		}
		r.w += got
	}
	return got, err
}

// makeRoom sees to it that n bytes fit from r on, and that there is a buffer.
func (r *Reader) makeRoom(n int) {
	switch {
	case r.buf != nil && len(r.buf.b)-r.r >= n:
		return
	case r.buf != nil && len(r.buf.b) >= n && !r.buf.shared():
		r.w = copy(r.buf.b, r.buf.b[r.r:r.w])
	default:
		next := Get(max(n, r.size))
		if r.buf != nil {
			r.w = copy(next.b, r.buf.b[r.r:r.w])
			r.buf.Release()
		}
		r.buf = next
	}
	r.r = 0
}

// free is the room after w, all of it unless a large PDU is to be filled: reading far beyond its end would only
// have what is there copied.
func (r *Reader) free(n int) []byte {
	end := len(r.buf.b)
	if n >= readLargest {
		end = min(end, r.r+n+readAhead)
	}
	return r.buf.b[r.w:end]
}

// pass passes over the data that Next skipped.
func (r *Reader) pass() error {
	for r.skip > 0 {
		if r.r == r.w {
			r.drained()
			if r.buf != nil && r.r == len(r.buf.b) {
				r.buf.Release()
				r.buf, r.r, r.w = nil, 0, 0
			}
			if err := r.fill(1); err != nil {
				return err
			}
		}
		n := min(r.skip, r.w-r.r)
		r.r += n
		r.skip -= n
	}
	return nil
}
