package qemu

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"elstore/volume/nbdwire"
)

// nbdConn is a connection to an NBD server in the transmission phase. Any number of goroutines may have requests under way on it at
// the same time. Each writes its own request, and one goroutine reads all replies; the data of reads goes where the callers
// want it.
//
// It is made to be simple, not fast: what comes often goes through a queue in shared memory (vhostConn).
type nbdConn struct {
	conn   net.Conn
	export nbdExport
	pen    chan struct{} // full while somebody writes a request
	heard  atomic.Uint64 // how many times something was received
	gone   chan struct{} // closed when the connection has ended and every call was answered

	mu     sync.Mutex
	calls  map[uint64]*nbdCall // under way, by handle
	serial uint64
	over   bool // no call will be answered any more
}

// errNBDGone is the error of every request whose outcome is not known because the connection ended.
var errNBDGone = fmt.Errorf("the connection to the NBD server is gone: %w", errGone)

// nbdCall is a request and its reply.
type nbdCall struct {
	command nbdwire.Command
	flags   uint16
	off     int64
	length  int64
	out     [][]byte // the data of a write
	in      []byte   // where the data of a read goes

	handle uint64
	done   chan struct{} // closed when the reply has come

	// Of the reader until done:
	got     int64 // bytes of the data of a read that have arrived
	extents []extent
	err     error
}

// newNBDConn takes over conn, on which a handshake was made.
func newNBDConn(conn net.Conn, export nbdExport) *nbdConn {
	c := &nbdConn{
		conn: conn, export: export,
		pen: make(chan struct{}, 1), gone: make(chan struct{}), calls: map[uint64]*nbdCall{},
	}
	go c.receive()
	return c
}

// do makes a request and waits for its reply. When ctx ends first, its cause is returned, and k is not the caller's any more:
// only what carries no data may be left so.
func (c *nbdConn) do(ctx context.Context, k *nbdCall) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case c.pen <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := c.send(k)
	<-c.pen
	if err != nil {
		return err
	}
	select {
	case <-k.done:
		return k.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// send writes a request. From then on it is answered, whatever happens. The caller has the pen.
func (c *nbdConn) send(k *nbdCall) error {
	k.done = make(chan struct{})
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return errNBDGone
	}
	c.serial++
	k.handle = c.serial
	c.calls[k.handle] = k
	c.mu.Unlock()
	head := appendNBDRequest(nil, k.command, k.flags, k.handle, k.off, k.length)
	pieces := append(net.Buffers{head}, k.out...)
	if _, err := pieces.WriteTo(c.conn); err != nil {
		_ = c.conn.Close() // the reader ends, and answers all calls
	}
	return nil
}

// appendNBDRequest appends the head of a request.
func appendNBDRequest(b []byte, command nbdwire.Command, flags uint16, handle uint64, off, length int64) []byte {
	b = binary.BigEndian.AppendUint32(b, nbdwire.RequestMagic)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(command))
	b = binary.BigEndian.AppendUint64(b, handle)
	b = binary.BigEndian.AppendUint64(b, uint64(off))
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

// close says goodbye and ends the connection. No request may be under way, nor come.
func (c *nbdConn) close() {
	_, _ = c.conn.Write(appendNBDRequest(nil, nbdwire.CmdDisconnect, 0, 0, 0, 0)) // it may have ended already
	c.cut()
}

// cut ends the connection at once. Requests under way fail with errNBDGone.
func (c *nbdConn) cut() {
	_ = c.conn.Close() // again, perhaps
	<-c.gone
}

// busy reports whether a request is under way.
func (c *nbdConn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls) > 0
}
