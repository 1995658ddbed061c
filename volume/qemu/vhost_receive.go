package qemu

import (
	"time"

	"golang.org/x/sys/unix"
)

// receive waits for the daemon whenever it is made to, until the connection ends.
func (c *vhostConn) receive() {
	for range c.lead {
		for {
			if err := c.next(); err != nil {
				c.finish(err)
				return
			}
			if c.active.Load() == 0 && c.pause() {
				break
			}
		}
	}
}

// receiveFor waits until k has ended.
func (c *vhostConn) receiveFor(k *vhostCall) {
	for k.flying.Load() {
		if err := c.next(); err != nil {
			c.finish(err)
			return
		}
	}
	if c.active.Load() > 0 || !c.pause() {
		c.lead <- struct{}{}
	}
}

// pause gives up waiting, if there is nothing to wait for, not even the end of the connection.
func (c *vhostConn) pause() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active.Load() > 0 || c.err != nil {
		return false
	}
	c.waiting = false
	return true
}

// next waits until requests have ended, and hands them back.
func (c *vhostConn) next() error {
	for c.queue.ended() == 0 {
		if c.look() {
			break
		}
		if err := c.sleep(); err != nil {
			return err
		}
	}
	ended := c.queue.ended()
	if int64(ended) > c.active.Load() {
		return vhostBroken("%d requests ended, with %d under way", ended, c.active.Load())
	}
	for range ended {
		if err := c.take(); err != nil {
			return err
		}
	}
	if before := c.queue.seen - ended; before/mostUnread != c.queue.seen/mostUnread {
		c.call.drain()
	}
	c.heard.Add(1)
	return nil
}

// mostUnread is after how many requests signals are looked for that nobody waited for. Who does not ask to be woken is, once in 2^16:
// when the daemon gets again to where it was asked last.
const mostUnread = 1 << 15

// sleep waits until the daemon wakes us, if nothing ends before.
//
// No signals may pile up: QEMU makes the socket one that does not block, and takes nothing from a queue any more when it can't signal.
func (c *vhostConn) sleep() error {
	c.queue.ask()
	if c.queue.ended() > 0 {
		c.call.drain() // it may have woken us already
		return nil
	}
	return c.call.wait()
}

// look looks for a moment whether a request ends.
func (c *vhostConn) look() bool {
	if !c.patience.left() {
		return false
	}
	for begin, n := time.Now(), 1; ; n++ {
		if c.queue.ended() > 0 {
			c.patience.paid()
			return true
		}
		if n%lookBetween > 0 {
			continue
		}
		if time.Since(begin) > lookTime {
			c.patience.lost()
			return false
		}
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
}

// patience says whether it is worth to look for the end of a request for a moment rather than to sleep at once. To be woken takes longer
// than an answer from a cache does. Looking costs a processor: it is done only while a request is under way, and as long as it
// pays.
type patience struct {
	vain   int // looks in vain, less those that paid
	sleeps int // without a look
}

const (
	lookTime    = 50 * time.Microsecond
	lookBetween = 16 // looks for each at the clock
	mostVain    = 8  // no looks with more
	lookAgain   = 64 // but for every so many sleeps
)

// left reports whether to look.
func (p *patience) left() bool {
	if p.vain < mostVain {
		return true
	}
	if p.sleeps++; p.sleeps < lookAgain {
		return false
	}
	p.sleeps = 0
	return true
}

func (p *patience) paid() { p.vain = max(p.vain-1, 0) }

func (p *patience) lost() { p.vain = min(p.vain+2, mostVain) }

// take hands back one request.
func (c *vhostConn) take() error {
	place, written, err := c.queue.take()
	if err != nil {
		return err
	}
	k := &c.calls[place]
	if !k.flying.Load() {
		return vhostBroken("request %d ended, and is not under way", place)
	}
	k.err = nil
	if c.queue.status(place) != virtioOK || written < k.least {
		k.err = errVhostFailed
	}
	c.complete(k)
	return nil
}

// complete hands a request back to its caller.
func (c *vhostConn) complete(k *vhostCall) {
	k.flying.Store(false)
	c.active.Add(-1)
	k.done <- struct{}{}
}

// finish ends the connection, and fails what is still under way. The caller is who waits, and nobody will after it.
func (c *vhostConn) finish(err error) {
	c.call.shutdown()
	_ = c.socket.Close()
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.users++
	c.room.Broadcast()
	c.mu.Unlock()
	for i := range c.calls {
		if k := &c.calls[i]; k.flying.Load() {
			k.err = errVhostGone
			c.complete(k)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.leave() // before anybody hears of the end
	close(c.gone)
	close(c.lead)
}
