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

// nowait writes to a connection that has a descriptor, with or without waiting.
type nowait struct {
	raw syscall.RawConn
	try func(fd uintptr) (done bool)
	iov []syscall.Iovec
	msg syscall.Msghdr

	begun  bool // pieces and pages are what is left
	pieces net.Buffers
	pages  []pagesPiece
	wait   bool
	err    error
}

// pagesPiece is a piece that is not in memory of ours. Among the others a nil stands in its place.
type pagesPiece struct {
	from *Pages
	n    int
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
	if w.err = w.nowait.send(w, false); w.err != nil || len(w.nowait.pieces) == 0 {
		w.Discard()
		return true, w.err
	}
	return false, nil
}

// send writes what goes at once, or with wait everything.
func (n *nowait) send(w *Writer, wait bool) error {
	if !n.begun {
		n.begun, n.pieces, n.pages = true, w.out, w.pages
	}
	n.wait, n.err = wait, nil
	if err := n.raw.Write(n.try); err != nil {
		return err
	}
	return n.err
}

// forget is called when what was begun is over.
func (n *nowait) forget() { n.begun, n.pieces, n.pages = false, nil, nil }

// write is called with the descriptor. Where it returns false the runtime calls it again when there is room.
func (n *nowait) write(fd uintptr) (done bool) {
	for len(n.pieces) > 0 {
		var errno error
		if n.pieces[0] == nil {
			errno = n.splice(fd)
		} else {
			errno = n.writev(fd)
		}
		switch {
		case errno == nil, errors.Is(errno, syscall.EINTR):
		case errors.Is(errno, syscall.EAGAIN):
			return !n.wait
		default:
			n.err = os.NewSyscallError("send", errno)
			return true
		}
	}
	return true
}

// splice sends the next piece, which is pages.
func (n *nowait) splice(fd uintptr) error {
	p := &n.pages[0]
	sent, err := p.from.send(fd, p.n, len(n.pieces) > 1)
	if err != nil {
		return err
	}
	if p.n -= sent; p.n == 0 {
		n.pieces, n.pages = n.pieces[1:], n.pages[1:]
	}
	return nil
}

// writev sends the pieces that come before the next pages.
func (n *nowait) writev(fd uintptr) error {
	n.iov = n.iov[:0]
	flags := 0
	for _, p := range n.pieces[:min(len(n.pieces), maxPieces)] {
		if p == nil {
			flags = syscall.MSG_MORE // a header alone would wake the peer
			break
		}
		v := syscall.Iovec{Base: unsafe.SliceData(p)} //nolint:gosec // what the call takes
		v.SetLen(len(p))
		n.iov = append(n.iov, v)
	}
	n.msg.Iov = unsafe.SliceData(n.iov) //nolint:gosec // the same
	n.msg.Iovlen = uint64(len(n.iov))
	written, _, errno := syscall.Syscall(syscall.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&n.msg)), uintptr(flags)) //nolint:gosec // the call's own form
	clear(n.iov)
	if errno != 0 {
		return errno
	}
	n.consume(int(written))
	return nil
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
