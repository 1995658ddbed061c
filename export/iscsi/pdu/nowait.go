package pdu

import (
	"errors"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// maxPieces is how many pieces one system call takes: IOV_MAX.
const maxPieces = 1024

// nowait writes to a connection without waiting.
type nowait struct {
	raw syscall.RawConn
	try func(fd uintptr) (done bool)
	iov []syscall.Iovec

	pieces net.Buffers
	err    error
}

// newNowait returns a nowait for dst, or nil where dst has no descriptor.
func newNowait(dst any) *nowait {
	c, ok := dst.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	n := &nowait{raw: raw}
	n.try = n.write // once: a method value is allocated
	return n
}

// TryFlush writes as much of the PDUs that were ended as goes without waiting, and reports whether that was all
// of them. Where it was not, Flush is to be called before anything else is put in. Where the destination has no
// descriptor, as that of net.Pipe, it writes nothing. An error stays, as Flush's does.
func (w *Writer) TryFlush() (done bool, err error) {
	w.cut()
	if w.err != nil || len(w.out) == 0 {
		w.Discard()
		return true, w.err
	}
	if w.nowait == nil {
		return false, nil
	}
	w.sending = w.out
	w.sending, w.err = w.nowait.send(w.sending)
	if w.err != nil || len(w.sending) == 0 {
		w.Discard()
		return true, w.err
	}
	return false, nil
}

// send writes what goes at once, and returns the rest.
func (n *nowait) send(pieces net.Buffers) (rest net.Buffers, err error) {
	n.pieces, n.err = pieces, nil
	err = n.raw.Write(n.try)
	if err == nil {
		err = n.err
	}
	rest = n.pieces
	n.pieces = nil
	return rest, err
}

// write is called with the descriptor, and never waits for it.
func (n *nowait) write(fd uintptr) (done bool) {
	for len(n.pieces) > 0 {
		n.iov = n.iov[:0]
		for _, p := range n.pieces[:min(len(n.pieces), maxPieces)] {
			v := syscall.Iovec{Base: unsafe.SliceData(p)} //nolint:gosec // what the call takes
			v.SetLen(len(p))
			n.iov = append(n.iov, v)
		}
		written, _, errno := syscall.Syscall(syscall.SYS_WRITEV, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(n.iov))), uintptr(len(n.iov))) //nolint:gosec // the call's own form
		clear(n.iov)
		switch {
		case errors.Is(errno, syscall.EINTR):
		case errors.Is(errno, syscall.EAGAIN):
			return true
		case errno != 0:
			n.err = os.NewSyscallError("writev", errno)
			return true
		default:
			n.consume(int(written))
		}
	}
	return true
}

// consume takes n bytes off the pieces.
func (n *nowait) consume(written int) {
	for written > 0 {
		p := n.pieces[0]
		if written < len(p) {
			n.pieces[0] = p[written:]
			return
		}
		written -= len(p)
		n.pieces[0] = nil
		n.pieces = n.pieces[1:]
	}
}
