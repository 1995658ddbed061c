package pdu

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Room is the place for what is read, taken only while there is something to put into it.
type Room interface {
	Take() []byte // the place, the same until Return; not empty
	Return()      // nothing was put into it, and waiting for something may take long
}

// LazyReader is a source that holds no memory while it waits. ReadLazy reads once into what room has, and
// returns as io.Reader's Read does.
type LazyReader interface {
	ReadLazy(room Room) (n int, err error)
}

// Lazy makes a LazyReader of a connection of package net, so that a connection that is silent costs no buffer:
// it takes one, tries to read, and gives it back before it waits. That is what package net does too, but for
// the giving back, and costs no further system call. Deadlines are those of the connection. A connection that
// has no descriptor, as that of net.Pipe, is returned as it is.
func Lazy(conn net.Conn) io.Reader {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return conn
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return conn
	}
	l := &lazyConn{Conn: conn, raw: raw}
	l.try = l.read // once: a method value is allocated
	return l
}

type lazyConn struct {
	net.Conn
	raw syscall.RawConn
	try func(fd uintptr) (done bool)

	room Room
	n    int
	err  error
}

// ReadLazy is LazyReader's.
func (l *lazyConn) ReadLazy(room Room) (n int, err error) {
	l.room, l.n, l.err = room, 0, nil
	if err := l.raw.Read(l.try); err != nil {
		return 0, err
	}
	return l.n, l.err
}

// read tries to read; the runtime waits until there is something before it calls it again.
func (l *lazyConn) read(fd uintptr) (done bool) {
	p := l.room.Take()
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			l.room.Return()
			return false
		case err != nil:
			l.err = os.NewSyscallError("read", err)
		case n == 0:
			l.err = io.EOF
		default:
			l.n = n
		}
		return true
	}
}

// readerRoom is the room in a Reader's buffer.
type readerRoom Reader

func (r *readerRoom) Take() []byte {
	reader := (*Reader)(r)
	reader.makeRoom(r.want)
	return reader.free(r.want)
}

func (r *readerRoom) Return() {
	r.buf.Release()
	r.buf = nil
}
