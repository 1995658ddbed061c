package iscsi

import (
	"errors"
	"net"
	"time"
)

// What ends a connection, for the log.
var (
	errStopped  = errors.New("the server stops")
	errHalfOpen = errors.New("too many connections have not logged in")
)

// maxAcceptDelay is how long Serve waits at most after a failure to accept that may pass, as that of having
// too many open files.
const maxAcceptDelay = time.Second

// Serve takes connections from a portal, until Shutdown or Close: it returns ErrClosed then, and else what made
// the listener fail. It closes the listener. A server may serve any number of portals.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = l.Close()
		return ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		_ = l.Close()
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	var delay time.Duration
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			delay = 0
			s.Take(c)
		case s.isClosed():
			return ErrClosed
		case isPassing(err):
			delay = min(max(2*delay, time.Millisecond), maxAcceptDelay)
			select {
			case <-time.After(delay):
			case <-s.stopped:
			}
		default:
			return err
		}
	}
}

// isPassing reports whether an error of Accept may be gone with the next call.
func isPassing(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Take serves a connection that was accepted elsewhere. It returns at once. The connection is closed where the
// server is closed or has too many.
func (s *Server) Take(nc net.Conn) {
	c := &conn{server: s, net: nc, life: life{started: time.Now()}}
	s.mu.Lock()
	if s.closed || len(s.conns) >= s.cfg.MaxConnections {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	if len(s.halfOpen) >= s.cfg.MaxHalfOpen {
		s.halfOpen[0].kill(errHalfOpen)
		s.halfOpen[0] = nil
		s.halfOpen = s.halfOpen[1:]
	}
	s.halfOpen = append(s.halfOpen, c)
	s.running.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.running.Done()
		c.run()
	}()
}

// opened says that a connection is not half-open any more: it has logged in, or ended.
func (s *Server) opened(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(c)
}

// drop takes a connection out of the half-open ones. s.mu is held.
func (s *Server) drop(c *conn) {
	for i, other := range s.halfOpen {
		if other == c {
			copy(s.halfOpen[i:], s.halfOpen[i+1:])
			s.halfOpen[len(s.halfOpen)-1] = nil
			s.halfOpen = s.halfOpen[:len(s.halfOpen)-1]
			return
		}
	}
}

// forget ends the server's part of a connection.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(c)
	delete(s.conns, c)
}
