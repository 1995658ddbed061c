package qemu

import (
	"context"
	"errors"
)

// link is a daemon and the connections to it. Whole sectors are read and written through its queue; everything else goes over NBD, and
// what the queue says has failed, to learn why.
type link struct {
	daemon  *daemon
	conn    *nbdConn
	queue   *vhostConn // nil where QEMU was built without vhost-user-blk, or the system gives no shared memory
	retired bool       // it is given up on purpose. Guarded by Device.mu
	doubted bool       // it is looked into whether the queue is dead. Guarded by Device.mu
}

// errGone is the error of every request whose outcome is not known because its connection ended.
var errGone = errors.New("its outcome is not known")

// connect makes a link to a daemon that exports the image. If that fails, the daemon is stopped.
func (d *Device) connect(ctx context.Context, process *daemon) (*link, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.opener.times.command, errors.New("the storage daemon does not answer"))
	defer cancel()
	l := &link{daemon: process}
	conn, err := process.connect(ctx)
	if err == nil {
		l.conn = conn
		l.queue, err = process.connectQueue(ctx, !d.queueless())
	}
	if err != nil {
		l.cut()
		_ = process.stop() //nolint:contextcheck // what was begun is ended whatever becomes of ctx
		return nil, process.failure("export the image", err, d.options)
	}
	d.work.Go(func() { d.watch(l) }) //nolint:contextcheck // what was begun is ended whatever becomes of ctx
	return l, nil
}

// direct is the link without its queue: for what is made again. It can't meet again with what it met there.
func (l *link) direct() *link { return &link{daemon: l.daemon, conn: l.conn} }

// cut ends the connections at once. Requests under way fail with errGone.
func (l *link) cut() {
	if l.queue != nil {
		l.queue.cut()
	}
	if l.conn != nil {
		l.conn.cut()
	}
}

// close ends the connections. No request may be under way, nor come.
func (l *link) close() {
	if l.queue != nil {
		l.queue.cut()
	}
	l.conn.close()
}

// lost is closed when the queue has ended; never where there is none.
func (l *link) lost() <-chan struct{} {
	if l.queue == nil {
		return nil
	}
	return l.queue.hungUp
}

// heard counts what the daemon sent.
func (l *link) heard() uint64 {
	if l.queue == nil {
		return l.conn.heard.Load()
	}
	return l.conn.heard.Load() + l.queue.heard.Load()
}

// busy reports whether a request is under way.
func (l *link) busy() bool { return l.conn.busy() || l.queue != nil && l.queue.busy() }

// read fills p from off.
func (l *link) read(p []byte, off int64) error {
	for len(p) > 0 {
		part := p[:min(len(p), mostPiece)]
		err := errVhostFailed
		if l.queue.fits(off, len(part)) {
			err = l.queue.read(part, off)
		}
		if errors.Is(err, errVhostFailed) {
			err = l.conn.read(part, off)
		}
		if err != nil {
			return err
		}
		p, off = p[len(part):], off+int64(len(part))
	}
	return nil
}

// write writes pieces, of which there are length bytes, mostPiece at most, one behind the other at off.
func (l *link) write(off, length int64, pieces ...[]byte) error {
	if l.queue.fits(off, int(length)) {
		if err := l.queue.write(off, int(length), pieces...); !errors.Is(err, errVhostFailed) {
			return err
		}
	}
	return l.conn.write(off, length, pieces...)
}
