package qemu

import (
	"errors"
	"log/slog"
	"slices"
	"time"
)

// A queue may be dead while its daemon lives, and storage may be slow for minutes. The daemon's monitor does not tell them apart. So
// a request that waits too long in the queue is made over NBD as well. If that is not answered either, the storage is
// slow: both wait. If it is, and the one in the queue still is not a while later, the queue is dead.

// watchQueue is called once a tick.
func (d *Device) watchQueue(l *link) {
	l.queue.tick()
	if !l.busy() {
		l.queue.trim()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.doubted || d.link != l || l.retired {
		return
	}
	o, ok := l.queue.overdue(ticksPerHang + 1) // the first tick came at once, perhaps
	if !ok {
		return
	}
	// It has not been answered, or nobody has been told, for which mu is needed: no change that overlaps it is under way, and none
	// comes before both have ended, since this one stands beside it.
	var c *change
	if o.kind == virtioOut {
		c = newWrite(o.off, len(o.data), o.data)
		d.changes = append(d.changes, c)
	}
	l.doubted = true
	d.running++
	d.work.Go(func() { d.doubt(l, o, c) })
}

// doubt makes an overdue request over NBD, and fences the daemon if that is answered and the one in the queue is not. c is the change
// that it makes, or nil.
func (d *Device) doubt(l *link, o overdueRequest, c *change) {
	d.log.Warn("storage daemon's queue leaves a request unanswered", slog.Int("pid", l.daemon.pid), slog.Duration("unanswered", d.opener.times.hang))
	var err error
	if c == nil {
		err = l.conn.read(o.data, o.off)
	} else {
		err = l.conn.write(c.off, c.length, c.data)
	}
	d.mu.Lock()
	d.running--
	if c != nil {
		d.changes = slices.DeleteFunc(d.changes, func(x *change) bool { return x == c })
	}
	d.turn.Broadcast()
	d.mu.Unlock()
	c.free()
	dead := !errors.Is(err, errGone) && d.staysPending(l, o) // an error is an answer too
	d.mu.Lock()
	l.doubted = false
	dead = dead && d.link == l && !l.retired
	d.noQueue = d.noQueue || dead
	d.mu.Unlock()
	if dead {
		d.log.Error("storage daemon's queue is dead, and it is killed: all goes over NBD from now on", slog.Int("pid", l.daemon.pid))
		d.kill(l)
	}
}

// staysPending reports whether a request is not answered for a while, nor the link lost.
func (d *Device) staysPending(l *link, o overdueRequest) bool {
	timer := time.NewTimer(d.opener.times.ping)
	defer timer.Stop()
	select {
	case <-timer.C:
		return l.queue.pending(o)
	case <-l.conn.gone:
	case <-l.lost():
	}
	return false
}

// kill ends a daemon at once: what it acknowledged is remembered.
func (d *Device) kill(l *link) {
	if err := l.daemon.kill(); err != nil {
		d.log.Error("storage daemon can't be killed", slog.Int("pid", l.daemon.pid), slog.Any("error", err))
	}
}

// queueless reports whether links are made without a queue.
func (d *Device) queueless() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.noQueue
}
