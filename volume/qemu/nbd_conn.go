package qemu

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
)

// nbdConn is a connection to an NBD server in the transmission phase. Any number of goroutines may have requests
// under way on it at the same time.
//
// There is no goroutine that writes: whoever brings a request while nobody writes does so, for itself and for all who bring
// theirs meanwhile, in one writev. Likewise whoever brings one while no other is under way reads its reply by
// itself: that saves two switches between goroutines, a third of the time that a small read takes. With more under way
// one goroutine reads all replies, until none is. Replies to reads go where the callers want the data.
type nbdConn struct {
	conn   *nbdStream
	export nbdExport
	free   chan *nbdCall // calls that are not in use
	calls  [nbdDepth]nbdCall
	heard  atomic.Uint64 // how many times something was received
	active atomic.Int64  // calls under way
	lead   chan struct{} // makes the goroutine that reads go on
	gone   chan struct{} // closed when the connection has ended and every call was answered

	mu      sync.Mutex
	idle    sync.Cond  // signalled when writing ends
	queue   []*nbdCall // to be written
	writing bool
	reading bool // somebody reads, or is about to: always, while a call is under way
	serial  uint64
	err     error // why it ended

	reader nbdReader // of whoever reads

	// Of whoever writes:
	batch []*nbdCall
	heads []byte
	iov   [][]byte
}

// nbdDepth is how many requests may be under way. QEMU works on 16 of a connection at once and leaves the others in the
// socket.
const nbdDepth = 64

// nbdIndexBits are the bits of a handle that hold the index of its call. The others make it differ from the handles that the
// call had before.
const nbdIndexBits = 8

// nbdRounds is how many times one caller writes for others before somebody else must.
const nbdRounds = 4

// errNBDGone is the error of every request whose outcome is not known because the connection ended.
var errNBDGone = fmt.Errorf("the connection to the NBD server is gone: %w", errGone)

// nbdCall is a request and its reply. The fields of the request belong to its caller until it is submitted.
type nbdCall struct {
	index   uint64 // in calls
	command nbdCommand
	flags   uint16
	off     int64
	length  int64
	single  [1][]byte // storage for out
	out     [][]byte  // the data of a write
	in      []byte    // where the data of a read goes

	handle atomic.Uint64 // 0: not under way
	left   atomic.Bool   // the caller went away, and the reader gives the call back
	done   chan struct{}

	// Of the reader until done:
	got     int64 // bytes of the data of a read that have arrived
	extents []extent
	err     error
}

// newNBDConn takes over conn, on which a handshake was made.
func newNBDConn(conn net.Conn, export nbdExport) (*nbdConn, error) {
	stream, err := newNBDStream(conn)
	if err != nil {
		return nil, fmt.Errorf("take over a connection to the NBD server: %w", err)
	}
	c := &nbdConn{
		conn: stream, export: export, free: make(chan *nbdCall, nbdDepth), lead: make(chan struct{}, 1), gone: make(chan struct{}),
		reader: nbdReader{buf: make([]byte, nbdBuffer)},
	}
	c.idle.L = &c.mu
	c.reader.c = c
	for i := range c.calls {
		c.calls[i].index = uint64(i)
		c.calls[i].done = make(chan struct{}, 1)
		c.free <- &c.calls[i]
	}
	go c.receive()
	return c, nil
}

// do submits k and waits for its reply. The caller gives k back with release.
func (c *nbdConn) do(k *nbdCall) error {
	lead, err := c.submit(k)
	if err != nil {
		return err
	}
	if lead {
		c.receiveFor(k)
	}
	<-k.done
	return k.err
}

// doContext is do for a request that carries no data. When ctx ends first, its cause is returned and left is true:
// k is not the caller's any more.
func (c *nbdConn) doContext(ctx context.Context, k *nbdCall) (left bool, err error) {
	lead, err := c.submit(k)
	if err != nil {
		return false, err
	}
	if lead {
		c.lead <- struct{}{} // reading can't be given up in the middle
	}
	select {
	case <-k.done:
		return false, k.err
	case <-ctx.Done():
	}
	if k.left.CompareAndSwap(false, true) {
		return true, context.Cause(ctx)
	}
	<-k.done
	return false, k.err
}

// release gives back a call whose reply came.
func (c *nbdConn) release(k *nbdCall) {
	k.single[0], k.out, k.in, k.err = nil, nil, nil, nil
	c.free <- k
}

// submit queues k and, if nobody else writes, writes the queue. With lead it is the caller's business that replies are
// read.
func (c *nbdConn) submit(k *nbdCall) (lead bool, err error) {
	k.got, k.extents, k.err = 0, k.extents[:0], nil
	k.left.Store(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false, errNBDGone
	}
	lead = !c.reading
	c.reading = true
	c.active.Add(1)
	c.serial++
	k.handle.Store(c.serial<<nbdIndexBits | k.index)
	c.queue = append(c.queue, k)
	if !c.writing {
		c.writing = true
		if c.active.Load() > 1 { // of many that come together the others are about to: one system call does for them all
			c.mu.Unlock()
			runtime.Gosched()
			c.mu.Lock()
		}
		c.drain()
	}
	return lead, nil
}

// drain writes the queue. The caller holds mu, which is free while something is being written.
func (c *nbdConn) drain() {
	for round := 0; len(c.queue) > 0 && c.err == nil; round++ {
		if round == nbdRounds {
			go func() { // the caller's own reply may be there by now
				c.mu.Lock()
				defer c.mu.Unlock()
				c.drain()
			}()
			return
		}
		c.queue, c.batch = c.batch[:0], c.queue
		c.mu.Unlock()
		err := c.send(c.batch)
		c.mu.Lock()
		if err != nil && c.err == nil {
			c.err = err
			c.conn.close() // the reader ends, and answers all calls
		}
	}
	c.writing = false
	c.idle.Broadcast()
}

// nbdRequestSize is the length of a request's head.
const nbdRequestSize = 28

// send writes the requests of batch in one go.
func (c *nbdConn) send(batch []*nbdCall) error {
	if need := len(batch) * nbdRequestSize; cap(c.heads) < need {
		c.heads = make([]byte, 0, max(need, nbdDepth*nbdRequestSize))
	}
	c.heads, c.iov = c.heads[:0], c.iov[:0]
	begin := 0
	for _, k := range batch {
		c.heads = appendNBDRequest(c.heads, k.command, k.flags, k.handle.Load(), k.off, k.length)
		if len(k.out) > 0 {
			c.iov = append(c.iov, c.heads[begin:])
			c.iov = append(c.iov, k.out...)
			begin = len(c.heads)
		}
	}
	if begin < len(c.heads) {
		c.iov = append(c.iov, c.heads[begin:])
	}
	err := c.conn.writeAll(c.iov)
	clear(c.iov)
	return err
}

// appendNBDRequest appends the head of a request.
func appendNBDRequest(b []byte, command nbdCommand, flags uint16, handle uint64, off, length int64) []byte {
	b = binary.BigEndian.AppendUint32(b, nbdRequestMagic)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(command))
	b = binary.BigEndian.AppendUint64(b, handle)
	b = binary.BigEndian.AppendUint64(b, uint64(off))
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

// close says goodbye and ends the connection. No request may be under way, nor come.
func (c *nbdConn) close() {
	c.mu.Lock()
	if c.err == nil && !c.writing {
		_ = c.conn.writeAll([][]byte{appendNBDRequest(nil, nbdDisconnect, 0, 0, 0, 0)})
	}
	c.mu.Unlock()
	c.cut()
}

// cut ends the connection at once. Requests under way fail with errNBDGone.
func (c *nbdConn) cut() {
	c.conn.close()
	c.mu.Lock()
	if c.err == nil {
		c.err = net.ErrClosed
	}
	lead := !c.reading
	c.reading = true
	c.mu.Unlock()
	if lead {
		c.lead <- struct{}{}
	}
	<-c.gone
}

// busy reports whether a request is under way.
func (c *nbdConn) busy() bool { return c.active.Load() > 0 }
