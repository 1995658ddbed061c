package pdu

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Peek tells whether a connection has something to be read, without reading it. It is for one goroutine at a time.
type Peek struct {
	raw  syscall.RawConn
	look func(fd uintptr)
	poll [1]unix.PollFd
	some bool
}

// NewPeek returns a Peek of a connection of package net, or nil where that has no descriptor, as that of net.Pipe.
func NewPeek(conn net.Conn) *Peek {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	p := &Peek{raw: raw}
	p.look = p.ask // once: a method value is allocated
	return p
}

// Some reports whether a read would return at once. A nil Peek doesn't know, and says no.
func (p *Peek) Some() bool {
	if p == nil {
		return false
	}
	p.some = false
	_ = p.raw.Control(p.look) // of a connection that is closed: whoever reads learns of it
	return p.some
}

func (p *Peek) ask(fd uintptr) {
	p.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	n, _ := unix.Poll(p.poll[:], 0)
	p.some = n > 0
}

// HungUp reports whether the peer of a connection of package net has ended it. Where the connection has no descriptor, or was closed
// here, it says no.
func HungUp(conn net.Conn) (gone bool) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		const ends = unix.POLLRDHUP | unix.POLLHUP | unix.POLLERR
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, _ := unix.Poll(poll, 0)
		gone = n > 0 && poll[0].Revents&ends != 0
	})
	return gone
}
