package volume

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"elstore/volume/durable"
	"elstore/volume/fault"
)

// openNonblock keeps an open of something that is not a file from waiting, openNoFollow one of a link from
// leading elsewhere.
const (
	openNonblock = syscall.O_NONBLOCK
	openNoFollow = syscall.O_NOFOLLOW
)

// chunk is how much is copied at most between two looks at the context, in bytes.
const chunk = 1 << 20

// copyInto copies all of r, which has length bytes or -1, to f, which is empty, and syncs f.
func copyInto(ctx context.Context, f *os.File, r io.Reader, length int64, p Progress) error {
	done, err := copyChunks(ctx, durable.NewStream(f, 0), r, func(done int64) {
		if p != nil {
			p(done, max(length, done))
		}
	})
	if err != nil {
		return err
	}
	if length >= 0 && done != length {
		return fault.Errorf(fault.BadRequest, "the data ended after %d of %d bytes", done, length)
	}
	return fault.FromOS("write image", f.Sync())
}

// copyChunks copies until r ends or ctx does. copied is told how much came so far.
func copyChunks(ctx context.Context, w io.Writer, r io.Reader, copied func(int64)) (done int64, err error) {
	buf := make([]byte, chunk)
	for {
		if err := context.Cause(ctx); err != nil {
			return done, err
		}
		n, rerr := r.Read(buf)
		if n > 0 {
			m, err := w.Write(buf[:n])
			done += int64(m)
			copied(done)
			if err != nil {
				return done, fault.FromOS("receive image", err)
			}
		}
		if errors.Is(rerr, io.EOF) {
			return done, nil
		}
		if rerr != nil {
			return done, fault.FromOS("receive image", rerr)
		}
	}
}

// steps joins the progress of several copies, one after the other, into one whose done never falls.
type steps struct {
	p       Progress
	left    int64 // steps after the present one
	before  int64 // the totals of the steps that are over
	current int64 // the total of the present one
}

func newSteps(p Progress, count int64) *steps { return &steps{p: p, left: count} }

// next returns the progress of the next step. Those to come are taken to be as long as the present one.
func (s *steps) next() Progress {
	s.before += s.current
	s.current = 0
	s.left--
	if s.p == nil {
		return nil
	}
	return func(done, total int64) {
		s.current = total
		s.p(s.before+done, s.before+total+s.left*total)
	}
}
