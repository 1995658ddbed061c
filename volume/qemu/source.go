package qemu

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// source reads pieces of an image, each within its bounds.
type source struct {
	r     io.ReaderAt
	size  int64  // of the file
	first []byte // the beginning of the file, when it was read
}

// maxPiece is the size of the largest piece that is read at once.
const maxPiece = 1 << 20

// firstPiece is how much is read at first: with what QEMU writes, all of a qcow2 header.
const firstPiece = 4096

// truncatedError is what the image's fault is where it is shorter than it says.
type truncatedError struct{ what string }

func (e truncatedError) Error() string {
	return "it ends before the end of " + e.what + ": it is cut off or damaged"
}

// readError is an error of the file, and no fault of the image.
type readError struct{ err error }

func (e readError) Error() string { return "read the image: " + e.err.Error() }
func (e readError) Unwrap() error { return e.err }

func newSource(r io.ReaderAt, size int64) *source { return &source{r: r, size: size} }

// at returns n bytes at off, which are what; they must not be changed. A piece that is not wholly in the file is
// truncatedError.
func (s *source) at(off, n int64, what string) ([]byte, error) {
	if n < 0 || n > maxPiece {
		return nil, fmt.Errorf("%s can't be %d bytes large", what, n)
	}
	if off < 0 || off > s.size || n > s.size-off {
		return nil, truncatedError{what}
	}
	if off+n <= int64(len(s.first)) {
		return s.first[off : off+n], nil
	}
	want := n
	if off == 0 {
		want = max(n, min(firstPiece, s.size))
	}
	buf := make([]byte, want)
	got, err := s.r.ReadAt(buf, off)
	switch {
	case int64(got) >= n: // an error can only be about what was not asked for
	case errors.Is(err, io.EOF):
		return nil, truncatedError{what}
	case err != nil:
		return nil, readError{err}
	default:
		return nil, readError{io.ErrNoProgress}
	}
	if off == 0 {
		s.first = buf[:got]
	}
	return buf[:n], nil
}

// inside returns an error unless a table of count entries of entry bytes each, which is what, lies at off and
// wholly in the file, behind its first bytes.
func (s *source) inside(what string, off uint64, count, entry, first uint64) error {
	hi, bytes := bits.Mul64(count, entry)
	if hi != 0 || bytes > uint64(s.size) || off > uint64(s.size)-bytes {
		return fmt.Errorf("%s lies outside the file: it is cut off or damaged", what)
	}
	if off < first {
		return fmt.Errorf("%s lies in the header", what)
	}
	return nil
}
