package qemu

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// vhostConn is a queue of a vhost-user-blk export: memory that we share with the storage daemon, through which reads and writes of
// whole sectors go without a system call each. Any number of goroutines may have requests under way at the same time.
//
// Whoever brings a request while no other is under way waits for the daemon by itself: that saves two switches between goroutines, a
// third of the time that a small read takes. With more under way one goroutine does it for all, until none is.
//
// The daemon may write to the memory whatever it likes whenever it likes. It can give wrong data for reads, as it always can,
// and no more: what it says has ended must be under way, and nothing else that it could write is used.
type vhostConn struct {
	socket *net.UnixConn // that it ends is the end
	kick   kick
	call   *signals
	heard  atomic.Uint64 // how many requests ended
	active atomic.Int64  // requests under way
	calls  [queueDepth]vhostCall
	lead   chan struct{} // makes the goroutine that waits go on
	hungUp chan struct{} // closed when the daemon has, or we
	gone   chan struct{} // closed when every request was answered, and none will be made

	patience patience // of who waits

	mu      sync.Mutex
	room    sync.Cond // broadcast when a request gave back what it had, or at the end
	memory  *sharedMemory
	queue   virtqueue
	free    []int // places that are free
	waiting bool  // somebody waits, or is about to: always, while a request is under way
	err     error // why it ended
	over    bool  // nobody will wait any more
	users   int   // of the memory and the signals
	tickets uint64
	serving uint64 // whose turn it is to get memory, by ticket
	serial  uint64 // of the latest request
	ticks   uint64 // see tick
}

// vhostCall is a request.
type vhostCall struct {
	place  int
	kind   virtioKind
	off    int64
	least  uint32 // bytes that the daemon writes if it does what it is asked
	at     int    // in the memory
	data   []byte // there
	serial uint64 // no other request has it
	since  uint64 // in ticks
	flying atomic.Bool
	done   chan struct{}
	err    error // of who waits, until done
}

// errVhostGone is the error of every request whose outcome is not known because the daemon ended or broke the protocol.
var errVhostGone = fmt.Errorf("the queue of the storage daemon is gone: %w", errGone)

// errVhostFailed says that the daemon did not do what was asked, and does not say why: NBD does.
var errVhostFailed = errors.New("the storage daemon failed to do it")

// vhostProtocolError says how the daemon broke the protocol. The queue is of no use then.
type vhostProtocolError string

func (e vhostProtocolError) Error() string {
	return "the storage daemon broke the protocol of its queue: " + string(e)
}

func vhostBroken(format string, args ...any) error {
	return vhostProtocolError(fmt.Sprintf(format, args...))
}

// startVhostConn takes over what a queue was set up with.
func startVhostConn(socket *net.UnixConn, memory *sharedMemory, kick kick, call *signals) *vhostConn {
	c := &vhostConn{
		socket: socket, memory: memory, kick: kick, call: call, queue: virtqueue{memory: memory.bytes},
		lead: make(chan struct{}, 1), hungUp: make(chan struct{}), gone: make(chan struct{}),
	}
	c.room.L = &c.mu
	for i := range c.calls {
		c.calls[i].place = i
		c.calls[i].done = make(chan struct{}, 1)
		c.free = append(c.free, queueDepth-1-i)
	}
	go c.receive()
	go c.listen()
	return c
}

// listen waits for the end of the socket, on which nothing comes.
func (c *vhostConn) listen() {
	defer close(c.hungUp)
	_, _ = c.socket.Read(make([]byte, 1))
}

// fits reports whether a request can go this way. None can where c is nil.
func (c *vhostConn) fits(off int64, length int) bool {
	return c != nil && off%sectorSize == 0 && length%sectorSize == 0 && length <= mostPiece
}

// read fills p from off.
func (c *vhostConn) read(p []byte, off int64) error {
	k, err := c.acquire(len(p))
	if err != nil {
		return err
	}
	if err = c.do(k, virtioIn, off); err == nil {
		copy(p, k.data)
	}
	c.release(k)
	return err
}

// write writes pieces, of which there are length bytes, one behind the other at off.
func (c *vhostConn) write(off int64, length int, pieces ...[]byte) error {
	k, err := c.acquire(length)
	if err != nil {
		return err
	}
	n := 0
	for _, p := range pieces {
		n += copy(k.data[n:], p)
	}
	err = c.do(k, virtioOut, off)
	c.release(k)
	return err
}

// acquire takes a place and memory for a request. Those who come first get theirs first.
func (c *vhostConn) acquire(length int) (*vhostCall, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ticket := c.tickets
	c.tickets++
	for c.err == nil {
		if ticket == c.serving && len(c.free) > 0 {
			if at, ok := c.memory.take(length); ok {
				c.serving++
				if c.serving != c.tickets {
					c.room.Broadcast()
				}
				k := &c.calls[c.free[len(c.free)-1]]
				c.free = c.free[:len(c.free)-1]
				k.at, k.data = at, c.memory.bytes[at:at+length:at+length]
				c.users++
				return k, nil
			}
		}
		c.room.Wait()
	}
	return nil, errVhostGone
}

// release gives back what acquire took.
func (c *vhostConn) release(k *vhostCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory.give(k.at, len(k.data))
	k.data = nil
	c.free = append(c.free, k.place)
	if c.serving != c.tickets {
		c.room.Broadcast()
	}
	c.leave()
}

// leave counts out somebody who looked at the memory and the signals, which are freed with the last of them. The caller
// holds mu.
func (c *vhostConn) leave() {
	if c.users--; c.users == 0 && c.over {
		c.memory.close()
		c.kick.close()
		c.call.close()
	}
}

// do makes a request and waits for its end.
func (c *vhostConn) do(k *vhostCall, kind virtioKind, off int64) error {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return errVhostGone
	}
	lead := !c.waiting
	c.waiting = true
	c.active.Add(1)
	c.serial++
	k.kind, k.off, k.serial, k.since = kind, off, c.serial, c.ticks
	k.least = 1 // the status
	if kind == virtioIn {
		k.least += uint32(len(k.data))
	}
	k.flying.Store(true)
	wake := c.queue.add(k.place, kind, uint64(off)/sectorSize, k.at, len(k.data))
	c.mu.Unlock()
	if wake {
		c.kick.send()
	}
	if lead {
		c.receiveFor(k)
	}
	<-k.done
	return k.err
}

// cut ends the connection at once. Requests under way fail with errVhostGone.
func (c *vhostConn) cut() {
	c.call.shutdown()
	_ = c.socket.Close()
	c.mu.Lock()
	if c.err == nil {
		c.err = net.ErrClosed
	}
	lead := !c.waiting
	c.waiting = true
	c.room.Broadcast()
	if !c.over { // then it may be closed
		c.kick.drain()
	}
	c.mu.Unlock()
	if lead {
		c.lead <- struct{}{}
	}
	<-c.gone
	<-c.hungUp
}

// trim gives back memory that was needed for a while, if nobody needs it now.
func (c *vhostConn) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.users == 0 {
		_ = c.memory.trim() // it is as good as before
	}
}

// busy reports whether a request is under way.
func (c *vhostConn) busy() bool { return c.active.Load() > 0 }
