package qemu

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"elstore/volume"
	"elstore/volume/fault"
)

// Device is the content of an image that is open in a storage daemon of its own. It is a volume.Device.
//
// QEMU keeps parts of an image in memory until a flush: what it acknowledged before is lost when it is killed. A Device
// remembers the writes, discards and zeroings acknowledged since the last completed flush. When the daemon dies, requests
// wait: another is started, what is remembered is made again in order and flushed, then what was under way is made
// again, and then the others go on. If that does not succeed the Device has failed: every request gets EIO.
//
// Two changes that overlap are never under way at the same time, so that the order of their acknowledgement is the order in
// which they were made. A request that the daemon does not answer waits as long as the daemon lives. One that has
// answered nothing for OpenerConfig.HangTimeout is asked over QMP whether it lives; if it does, its storage is slow
// and nothing else is done about it, and if it does not answer, it is killed. It is killed too when it leaves a single request
// in its queue that long, and answers the same one over NBD (device_doubt.go).
type Device struct {
	opener  *Opener
	options OpenOptions
	inherit []*os.File
	log     *slog.Logger
	size    atomic.Int64 // what users see
	most    int          // bytes of data that a write to the daemon has at most: some fit in the log beside each other
	closing chan struct{}
	work    sync.WaitGroup

	mu      sync.Mutex
	turn    sync.Cond // broadcast when what follows changes so that somebody may go on
	state   state
	failure error     // when failed
	held    bool      // requests are held back for a moment, by hold
	link    *link     // valid when up or redoing
	running int       // requests that use link
	redo    int       // requests that were under way when a daemon died, and have not ended since
	changes []*change // under way
	replay  replayLog
	deaths  int  // of daemons that did not live long, in a row
	noQueue bool // one was dead while its daemon lived: none is used any more

	flushing bool   // by ourselves
	flushes  uint64 // how often that ended
	flushErr error  // of the last flush
}

var (
	_ volume.Device       = (*Device)(nil)
	_ volume.VectorWriter = (*Device)(nil)
	_ volume.ExtentReader = (*Device)(nil)
)

// state is what becomes of requests.
type state uint8

const (
	up       state = iota // they are sent
	reviving              // they wait for a new daemon
	redoing               // those that were under way when the daemon died are sent; the others wait
	failed                // they fail
	closed
)

// Open opens the image, and returns when requests can be made. inherit are files that the daemon inherits, in each of its
// lives: they must stay open until Close has returned.
func (o *Opener) Open(ctx context.Context, options OpenOptions, inherit ...*os.File) (*Device, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	d := &Device{
		opener: o, options: options, inherit: inherit, closing: make(chan struct{}),
		log:    o.config.Log.With(slog.String("volume", options.Name)),
		replay: replayLog{limit: o.config.ReplayLimit},
	}
	d.turn.L = &d.mu
	l, err := d.start(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("open the image: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	d.size.Store(l.conn.export.size)
	d.most = int(min(mostPiece, l.conn.export.maxBlock, o.config.ReplayLimit/4))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.use(l)
	return d, nil
}

// start starts a daemon, connects to it, and watches it.
func (d *Device) start(ctx context.Context) (*link, error) {
	process, err := d.opener.startDaemon(ctx, d.options, d.inherit)
	if err != nil {
		return nil, err
	}
	return d.connect(ctx, process)
}

// Size returns the size in bytes.
func (d *Device) Size() int64 { return d.size.Load() }

// Grow makes Size return size, to which Resize made the image grow before.
func (d *Device) Grow(size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state == failed || d.state == closed {
		return d.refusal()
	}
	if image := d.link.conn.export.size; size < d.size.Load() || size > image {
		return fault.Errorf(fault.InternalError, "volume %s can't grow from %d to %d bytes: its image has %d", d.options.Name, d.size.Load(), size, image)
	}
	d.size.Store(size)
	return nil
}

// refusal is the error of a request when the Device has failed or is closed. The caller holds mu.
func (d *Device) refusal() error {
	if d.state == closed {
		return os.ErrClosed
	}
	return d.failure
}
