package qemu

import (
	"context"
	"syscall"
)

// The requests. All check nothing but what the protocol needs: ranges are the caller's business. An error is a
// syscall.Errno where the server says so, errNBDGone where the connection ended, or the cause of ctx.

// nbdMaxRange is how many bytes a request without data may be about, a round number below what fits its 32 bits.
const nbdMaxRange = 1 << 30

// acquire takes a call for a request.
func (c *nbdConn) acquire(command nbdCommand, flags uint16, off, length int64) *nbdCall {
	k := <-c.free
	k.command, k.flags, k.off, k.length = command, flags, off, length
	return k
}

// acquireContext is acquire that ends with ctx.
func (c *nbdConn) acquireContext(ctx context.Context, command nbdCommand, flags uint16, off, length int64) (*nbdCall, error) {
	select {
	case k := <-c.free:
		k.command, k.flags, k.off, k.length = command, flags, off, length
		return k, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// read fills p from off.
func (c *nbdConn) read(p []byte, off int64) error {
	var flags uint16
	if c.export.structured && c.export.flags&nbdSendDF != 0 {
		flags = nbdFlagDF // in one piece: otherwise QEMU looks for holes first
	}
	for len(p) > 0 {
		n := min(int64(len(p)), c.export.maxBlock)
		k := c.acquire(nbdRead, flags, off, n)
		k.in = p[:n]
		err := c.do(k)
		c.release(k)
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// write writes p, which is at most maxBlock bytes, at off. flags may have nbdFlagFUA.
func (c *nbdConn) write(p []byte, off int64, flags uint16) error {
	k := c.acquire(nbdWrite, flags, off, int64(len(p)))
	k.single[0] = p
	k.out = k.single[:]
	err := c.do(k)
	c.release(k)
	return err
}

// writeVector writes all pieces, one behind the other and at most maxBlock bytes together, at off.
func (c *nbdConn) writeVector(pieces [][]byte, off, length int64, flags uint16) error {
	k := c.acquire(nbdWrite, flags, off, length)
	k.out = pieces
	err := c.do(k)
	c.release(k)
	return err
}

// flush returns when all that was answered before is on stable storage.
func (c *nbdConn) flush(ctx context.Context) error {
	if c.export.flags&nbdSendFlush == 0 {
		return nil // it is always so, by the specification
	}
	return c.plain(ctx, nbdFlush, 0, 0, 0)
}

// trim says that what is in the range is not needed.
func (c *nbdConn) trim(off, length int64) error {
	if c.export.flags&nbdSendTrim == 0 {
		return nil
	}
	return c.ranged(nbdTrim, 0, off, length)
}

// zero makes the range zeros. flags may have nbdFlagNoHole, nbdFlagFUA and nbdFlagFastZero.
func (c *nbdConn) zero(off, length int64, flags uint16) error {
	if c.export.flags&nbdSendWriteZeroes == 0 {
		return syscall.ENOTSUP
	}
	if flags&nbdFlagFastZero != 0 && c.export.flags&nbdSendFastZero == 0 {
		return syscall.ENOTSUP
	}
	return c.ranged(nbdWriteZeroes, flags, off, length)
}

func (c *nbdConn) ranged(command nbdCommand, flags uint16, off, length int64) error {
	for length > 0 {
		n := min(length, nbdMaxRange)
		if err := c.plain(context.Background(), command, flags, off, n); err != nil {
			return err
		}
		off, length = off+n, length-n
	}
	return nil
}

// status appends the extents from off on, at most to off+length, to dst: at least one, and with one not more.
func (c *nbdConn) status(ctx context.Context, dst []extent, off, length int64, one bool) ([]extent, error) {
	if !c.export.status {
		return append(dst, extent{length: length}), nil
	}
	var flags uint16
	if one {
		flags = nbdFlagReqOne
	}
	k, err := c.acquireContext(ctx, nbdBlockStatus, flags, off, min(length, nbdMaxRange))
	if err != nil {
		return dst, err
	}
	left, err := c.doContext(ctx, k)
	if !left {
		dst = append(dst, k.extents...)
		c.release(k)
	}
	return dst, err
}

// plain makes a request without data.
func (c *nbdConn) plain(ctx context.Context, command nbdCommand, flags uint16, off, length int64) error {
	k, err := c.acquireContext(ctx, command, flags, off, length)
	if err != nil {
		return err
	}
	left, err := c.doContext(ctx, k)
	if !left {
		c.release(k)
	}
	return err
}
