package iscsi

import (
	"log/slog"
	"net"
	"sync"
	"time"

	"elstore/export/iscsi/pdu"
)

// conn is a connection from accept to end. Its goroutine runs the login and then reads for the session.
type conn struct {
	server *Server
	net    net.Conn
	life   life

	// The reader's.
	session *session      // once it is in its full feature phase
	waited  time.Duration // when the runtime waited for it last, since life started
	spins   spins
	peek    *pdu.Peek

	mu     sync.Mutex
	reason error         // why it was killed
	killed chan struct{} // made by closing, closed by kill
}

// kill ends the connection: what reads or writes it fails. The first reason counts. It waits no longer than system calls that have the
// descriptor: Close of package net does until nobody has it any more. So whoever has it waits for no lock, and Close is called
// without c.mu.
func (c *conn) kill(why error) {
	if c.end(why) {
		_ = c.net.Close()
	}
}

// end notes why the connection ends, and reports whether that is the first reason.
func (c *conn) end(why error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason != nil {
		return false
	}
	c.reason = why
	if c.killed != nil {
		close(c.killed)
	}
	return true
}

// why is the reason of kill, or nil.
func (c *conn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// left reports whether the connection is about to end: it was killed, or the peer has hung up and the reader has not noticed yet.
func (c *conn) left() bool { return c.why() != nil || pdu.HungUp(c.net) }

// closing is closed by kill.
func (c *conn) closing() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed == nil {
		c.killed = make(chan struct{})
		if c.reason != nil {
			close(c.killed)
		}
	}
	return c.killed
}

// run serves the connection to its end.
func (c *conn) run() {
	defer c.server.forget(c)
	_ = c.net.SetDeadline(time.Now().Add(c.server.cfg.LoginTimeout))
	reader, writer := pdu.NewReader(c.life.watch(pdu.Lazy(c.net, c))), pdu.NewWriter(c.net)
	c.peek = pdu.NewPeek(c.net)
	defer reader.Close()
	defer writer.Discard()
	s, err := c.login(reader, writer)
	if s == nil {
		if why := c.why(); why != nil {
			err = why
		}
		c.kill(err)
		if err != nil {
			c.server.cfg.Log.Info("iscsi login failed", slog.String("remote", c.net.RemoteAddr().String()), slog.Any("error", err))
		}
		return
	}
	c.server.opened(c)
	if err == nil {
		_ = c.net.SetDeadline(time.Time{})
		s.begin()
		c.session = s
		err = s.read()
	}
	s.end(err)
}
