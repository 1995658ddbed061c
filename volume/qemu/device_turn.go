package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"elstore/volume/nbdwire"
)

// request is a request on its way through a Device.
type request struct {
	ctx    context.Context //nolint:containedctx // it lives as long as the call that it is of
	kind   requestKind
	p      []byte
	pieces [][]byte
	off    int64
	length int64
	one    bool
	change *change // what it changes, or nil
	holder bool    // it is of whoever holds back the others

	link    *link
	lives   int    // how many daemons died while it was under way
	seq     uint64 // of a flush: what was acknowledged before it
	extents []extent
}

type requestKind uint8

const (
	doRead requestKind = iota
	doWrite
	doWriteVector
	doChange // without data
	doFlush
	doStatus
)

// mostLives is how many daemons may die of a request until it fails.
const mostLives = 5

// do makes a request, with as many daemons as it takes.
func (d *Device) do(r *request) error {
	err := d.begin(r)
	if err != nil {
		r.change.free()
		return err
	}
	if r.link == nil { // a flush of nothing
		return nil
	}
	for {
		err = r.send(r.link)
		if !errors.Is(err, errGone) {
			break
		}
		if err = d.again(r); err != nil {
			r.change.free()
			return err
		}
	}
	d.end(r, err)
	return err
}

// send makes the request on a link.
func (r *request) send(l *link) (err error) {
	if r.lives > 0 {
		l = l.direct()
	}
	switch r.kind {
	case doRead:
		return l.read(r.p, r.off)
	case doWrite:
		return l.write(r.change.off, r.change.length, r.p)
	case doWriteVector:
		return l.write(r.change.off, r.change.length, r.pieces...)
	case doFlush:
		return l.conn.flush(r.ctx)
	case doStatus:
		r.extents, err = l.conn.status(r.ctx, r.extents[:0], r.off, r.length, r.one)
		return err
	case doChange:
	}
	return r.change.send(l)
}

// send makes the change on a link.
func (c *change) send(l *link) error {
	switch c.kind {
	case changeDiscard:
		return l.conn.trim(c.off, c.length)
	case changeZero:
		return l.conn.zero(c.off, c.length, nbdwire.FlagNoHole)
	case changeZeroUnmap:
		return l.conn.zero(c.off, c.length, 0)
	case changeWrite:
	}
	return l.write(c.off, c.length, c.data)
}

// begin waits until r may be sent, and gives it the link. It gets none if it is a flush and there is nothing to flush.
func (d *Device) begin(r *request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if d.state == failed || d.state == closed {
			return d.refusal()
		}
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		if d.state == up && (!d.held || r.holder) {
			if r.kind == doFlush && d.replay.empty() {
				return nil
			}
			if r.change == nil {
				break
			}
			if !overlapsAny(d.changes, r.change) {
				if d.replay.reserve(r.change) {
					d.changes = append(d.changes, r.change)
					break
				}
				if err := d.makeRoom(); err != nil {
					return err
				}
				continue
			}
		}
		d.wait(r.ctx)
	}
	d.take(r)
	return nil
}

// take gives r the link. The caller holds mu.
func (d *Device) take(r *request) {
	r.link = d.link
	r.seq = d.replay.seq
	d.running++
}

// wait waits for a broadcast or the end of ctx. The caller holds mu.
func (d *Device) wait(ctx context.Context) {
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.turn.Broadcast()
		})
		defer stop()
	}
	d.turn.Wait()
}

// end ends a request that was sent.
func (d *Device) end(r *request, err error) {
	d.mu.Lock()
	d.running--
	d.redone(r)
	var dropped *change
	switch {
	case r.change != nil:
		d.settle(r.change, err)
		if err != nil {
			dropped = r.change
		}
	case r.kind == doFlush && (err == nil || r.ctx.Err() == nil):
		d.flushErr = err
		if err == nil {
			dropped = d.replay.drop(r.seq)
		}
	}
	d.turn.Broadcast()
	d.mu.Unlock()
	dropped.free()
}

// settle takes a change from those under way, into the log if it was made.
func (d *Device) settle(c *change, err error) {
	i := slices.Index(d.changes, c)
	last := len(d.changes) - 1
	d.changes[i] = d.changes[last]
	d.changes[last] = nil
	d.changes = d.changes[:last]
	if err != nil {
		d.replay.cancel(c)
		return
	}
	d.replay.add(c)
	if d.replay.used > d.replay.limit/2 && d.flushErr == nil {
		d.flushSoon()
	}
}

// redone counts r out of those that a daemon's death has left to be made again. The caller holds mu.
func (d *Device) redone(r *request) {
	if r.lives == 0 {
		return
	}
	if d.redo--; d.redo == 0 && d.state == redoing {
		d.state = up
	}
}

// again is for a request that was under way when the daemon died. It waits for the new one. On an error the
// request has ended.
func (d *Device) again(r *request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running--
	if r.lives++; r.lives == 1 {
		d.redo++
	}
	d.lost(r.link)
	d.turn.Broadcast()
	old := r.link
	err := d.waitFor(r.ctx, func() bool { return d.state != reviving && d.link != old })
	if err == nil && r.lives > mostLives {
		err = fmt.Errorf("%d storage daemons died of it: %w", r.lives, syscall.EIO)
	}
	if err != nil {
		d.redone(r)
		if r.change != nil {
			d.settle(r.change, err)
		}
		d.turn.Broadcast()
		return err
	}
	d.take(r)
	return nil
}

// makeRoom flushes by ourselves, and fails if that does. The caller holds mu, which is free meanwhile.
func (d *Device) makeRoom() error {
	d.flushSoon()
	for n := d.flushes; d.flushes == n; {
		d.turn.Wait()
	}
	return d.flushErr
}

// flushSoon begins to flush, unless that is under way. The caller holds mu.
func (d *Device) flushSoon() {
	if d.flushing {
		return
	}
	d.flushing = true
	d.work.Go(func() {
		err := d.flush(context.Background(), false)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.flushing = false
		d.flushes++
		if err != nil {
			d.flushErr = err
		}
		d.turn.Broadcast()
	})
}
