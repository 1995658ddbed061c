package qemu

import (
	"context"
	"syscall"

	"elstore/volume/nbdwire"
)

// The requests. All check nothing but what the protocol needs: ranges are the caller's business. An error is a
// syscall.Errno where the server says so, errNBDGone where the connection ended, or the cause of ctx.

// nbdMaxRange is how many bytes a request without data may be about, a round number below what fits its 32 bits.
const nbdMaxRange = 1 << 30

// read fills p from off.
func (c *nbdConn) read(p []byte, off int64) error {
	var flags uint16
	if c.export.structured && c.export.flags&nbdwire.SendDF != 0 {
		flags = nbdwire.FlagDF // in one piece: otherwise QEMU looks for holes first
	}
	for len(p) > 0 {
		n := min(int64(len(p)), c.export.maxBlock)
		if err := c.do(context.Background(), &nbdCall{command: nbdwire.CmdRead, flags: flags, off: off, length: n, in: p[:n]}); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// write writes pieces, of which there are length bytes, maxBlock at most, one behind the other at off.
func (c *nbdConn) write(off, length int64, pieces ...[]byte) error {
	return c.do(context.Background(), &nbdCall{command: nbdwire.CmdWrite, off: off, length: length, out: pieces})
}

// flush returns when all that was answered before is on stable storage.
func (c *nbdConn) flush(ctx context.Context) error {
	if c.export.flags&nbdwire.SendFlush == 0 {
		return nil // it is always so, by the specification
	}
	return c.do(ctx, &nbdCall{command: nbdwire.CmdFlush})
}

// trim says that what is in the range is not needed.
func (c *nbdConn) trim(off, length int64) error {
	if c.export.flags&nbdwire.SendTrim == 0 {
		return nil
	}
	return c.ranged(nbdwire.CmdTrim, 0, off, length)
}

// zero makes the range zeros. flags may have nbdwire.FlagNoHole.
func (c *nbdConn) zero(off, length int64, flags uint16) error {
	if c.export.flags&nbdwire.SendWriteZeroes == 0 {
		return syscall.ENOTSUP
	}
	return c.ranged(nbdwire.CmdWriteZeroes, flags, off, length)
}

func (c *nbdConn) ranged(command nbdwire.Command, flags uint16, off, length int64) error {
	for length > 0 {
		n := min(length, nbdMaxRange)
		if err := c.do(context.Background(), &nbdCall{command: command, flags: flags, off: off, length: n}); err != nil {
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
	k := &nbdCall{command: nbdwire.CmdBlockStatus, off: off, length: min(length, nbdMaxRange)}
	if one {
		k.flags = nbdwire.FlagReqOne
	}
	if err := c.do(ctx, k); err != nil {
		return dst, err
	}
	return append(dst, k.extents...), nil
}
