package export

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// leaseFor is how long a server of a shared pool answers requests after its last good heartbeat. A server that takes over waits
// three times as long.
const leaseFor = 15 * time.Second

// bootTime is CLOCK_BOOTTIME, which runs while the machine sleeps.
func bootTime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0 // every Linux that Go runs on has it
	}
	return time.Duration(ts.Nano())
}

// lease is the right to answer requests for a volume, for a while.
type lease struct {
	now  func() time.Duration
	ends atomic.Int64 // on that clock, in nanoseconds
}

// newLease returns one that was just renewed: the volume's lock was taken and its Book read.
func newLease(now func() time.Duration) *lease {
	l := &lease{now: now}
	l.renew(now())
	return l
}

// renew counts from when the heartbeat began that was good.
func (l *lease) renew(began time.Duration) { l.ends.Store(int64(began + leaseFor)) }

func (l *lease) alive() bool { return int64(l.now()) < l.ends.Load() }

// check is the error of a request that comes, or ends, without a lease.
func (l *lease) check() error {
	if l.alive() {
		return nil
	}
	return &fault.Error{
		Code: fault.PoolUnavailable, Err: syscall.ENODEV, // the unit is not ready, and may be again
		Msg: "this server has not reached the shared pool for too long, and answers nothing until it has",
	}
}

// leased is a Device that answers only while its lease lasts: what was read before it ended may be old when it is answered.
type leased struct {
	Device
	lease *lease
}

func (d *leased) ReadAt(p []byte, off int64) (int, error) {
	if err := d.lease.check(); err != nil {
		return 0, err
	}
	n, err := d.Device.ReadAt(p, off)
	if lerr := d.lease.check(); lerr != nil {
		return 0, lerr
	}
	return n, err
}

func (d *leased) WriteAt(p []byte, off int64) (int, error) {
	return d.writing(func() (int, error) { return d.Device.WriteAt(p, off) })
}

func (d *leased) WriteVectorAt(pieces [][]byte, off int64) (int, error) {
	return d.writing(func() (int, error) { return d.Device.WriteVectorAt(pieces, off) })
}

func (d *leased) writing(do func() (int, error)) (int, error) {
	if err := d.lease.check(); err != nil {
		return 0, err
	}
	n, err := do()
	if lerr := d.lease.check(); lerr != nil {
		return 0, lerr
	}
	return n, err
}

func (d *leased) doing(do func() error) error {
	_, err := d.writing(func() (int, error) { return 0, do() })
	return err
}

func (d *leased) Flush(ctx context.Context) error {
	return d.doing(func() error { return d.Device.Flush(ctx) })
}

func (d *leased) Discard(off, length int64) error {
	return d.doing(func() error { return d.Device.Discard(off, length) })
}

func (d *leased) WriteZeroes(off, length int64, unmap bool) error {
	return d.doing(func() error { return d.Device.WriteZeroes(off, length, unmap) })
}
