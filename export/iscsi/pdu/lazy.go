package pdu

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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

// Lingerer decides how a silent connection is waited for. Its methods are called by the goroutine that reads.
type Lingerer interface {
	// Linger is called when there is nothing to read. For the time most the thread itself waits for something, and
	// the buffer is kept; only then, or with 0 at once, is the wait the runtime's. Before it sleeps it looks for
	// something again and again, for the time spin.
	Linger() (spin, most time.Duration)
	// Lingered is called when such a wait is over. seen says that something came while it looked.
	Lingered(seen bool)
	// Waits is called when the runtime is to wait.
	Waits()
}

// Lazy makes a LazyReader of a connection of package net, so that a connection that is silent costs no buffer:
// it takes one, tries to read, and gives it back before it waits. That is what package net does too, but for
// the giving back, and costs no further system call. Deadlines are those of the connection, give or take the
// time that it lingers; a nil Lingerer never does. A connection that has no descriptor, as that of net.Pipe, is
// returned as it is.
func Lazy(conn net.Conn, linger Lingerer) io.Reader {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return conn
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return conn
	}
	l := &lazyConn{Conn: conn, raw: raw, linger: linger}
	l.try = l.read // once: a method value is allocated
	return l
}

type lazyConn struct {
	net.Conn
	raw    syscall.RawConn
	try    func(fd uintptr) (done bool)
	linger Lingerer

	room  Room
	given []byte // what Read has to fill
	n     int
	err   error

	// dry says that there was nothing at first, and not more than fits since: the next time it lingers before it
	// tries.
	dry      bool
	lingered bool // in this call
	poll     [1]unix.PollFd
}

// ReadLazy is LazyReader's.
func (l *lazyConn) ReadLazy(room Room) (n int, err error) {
	l.room, l.n, l.err, l.lingered = room, 0, nil, false
	if err := l.raw.Read(l.try); err != nil {
		return 0, err
	}
	return l.n, l.err
}

// Read implements io.Reader.
func (l *lazyConn) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	l.given = p
	n, err = l.ReadLazy((*givenRoom)(l))
	l.given = nil
	return n, err
}

// read tries to read; the runtime waits until there is something before it calls it again.
func (l *lazyConn) read(fd uintptr) (done bool) {
	if l.dry {
		l.wait(fd)
	}
	p := l.room.Take()
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			l.dry = true
			if l.wait(fd) {
				continue
			}
			l.room.Return()
			if l.linger != nil {
				l.linger.Waits()
			}
			return false
		case err != nil:
			l.err = os.NewSyscallError("read", err)
		case n == 0:
			l.err = io.EOF
		default:
			l.n = n
			l.dry = l.dry && n < len(p)
		}
		return true
	}
}

// wait lingers once per call. It reports whether there may be something now.
func (l *lazyConn) wait(fd uintptr) bool {
	if l.lingered || l.linger == nil {
		return false
	}
	l.lingered = true
	spin, most := l.linger.Linger()
	if most <= 0 {
		return false
	}
	seen := spin > 0 && l.spin(fd, spin)
	some := seen
	if !seen {
		timeout := unix.NsecToTimespec(int64(most))
		l.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		n, _ := unix.Ppoll(l.poll[:], &timeout, nil)
		some = n > 0
	}
	l.linger.Lingered(seen)
	return some
}

// givenRoom is the room that Read was given.
type givenRoom lazyConn

func (r *givenRoom) Take() []byte { return r.given }
func (r *givenRoom) Return()      {}

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
