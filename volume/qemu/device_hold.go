package qemu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"elstore/volume/fault"
)

// hold waits for the requests under way, holds back those that come, and flushes. release lets them go on.
func (d *Device) hold(ctx context.Context) error {
	if err := d.holdBack(ctx); err != nil {
		return err
	}
	if err := d.flush(ctx, true); err != nil {
		d.release()
		return err
	}
	return nil
}

func (d *Device) holdBack(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.waitFor(ctx, func() bool { return !d.held }); err != nil {
		return err
	}
	d.held = true
	err := d.waitFor(ctx, func() bool { return d.running == 0 && d.redo == 0 && d.state == up })
	if err != nil {
		d.held = false
		d.turn.Broadcast()
	}
	return err
}

// waitFor waits until done, or for the end of the Device or of ctx. The caller holds mu.
func (d *Device) waitFor(ctx context.Context, done func() bool) error {
	for {
		switch {
		case d.state == failed || d.state == closed:
			return d.refusal()
		case done():
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		d.wait(ctx)
	}
}

// release ends hold.
func (d *Device) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = false
	d.turn.Broadcast()
}

// Resize gives the image size bytes while requests are held back. Size stays as it is until Grow: the caller makes
// the new size count in between. A smaller size is for taking back a growth; what Size says can't be cut off. When it
// returns nil, the image's new size is on stable storage; on an error it may have either.
func (d *Device) Resize(ctx context.Context, size int64) error {
	if d.options.ReadOnly {
		return fault.Errorf(fault.VolumeReadOnly, "volume %s is open for reading only", d.options.Name)
	}
	if err := checkSize(size); err != nil {
		return err
	}
	if size < d.size.Load() {
		return fault.Errorf(fault.VolumeInUse, "volume %s is in use and can't get smaller than the %d bytes that it has", d.options.Name, d.size.Load())
	}
	if err := d.hold(ctx); err != nil {
		return err
	}
	defer d.release()
	// From here on only a daemon that does not answer can end it early: what is half done must be finished.
	err := d.resize(context.WithoutCancel(ctx), size)
	d.mu.Lock()
	defer d.mu.Unlock()
	if werr := d.waitFor(context.WithoutCancel(ctx), func() bool { return d.state == up }); werr != nil {
		return werr
	}
	if d.link.conn.export.size == size { // also if the daemon died after it
		return nil
	}
	if err == nil {
		err = fmt.Errorf("the image has %d bytes", d.link.conn.export.size)
	}
	return fmt.Errorf("resize to %d bytes: %w", size, err)
}

// resize does it, since QEMU does not resize what is exported: the export ends, and another begins.
func (d *Device) resize(ctx context.Context, size int64) error {
	d.mu.Lock()
	if err := d.waitFor(ctx, func() bool { return d.state == up }); err != nil {
		d.mu.Unlock()
		return err
	}
	l := d.link
	l.retired = true // so that the state stays
	d.mu.Unlock()
	command, cancel := context.WithTimeoutCause(ctx, d.opener.times.command, errors.New("the storage daemon does not answer"))
	defer cancel()
	l.close()
	err := l.daemon.removeExport(command)
	var refusal error
	if err == nil {
		if refusal = l.daemon.resize(command, size); refusal != nil {
			refusal = l.daemon.failure("resize the image", refusal, d.options)
		}
		err = l.daemon.addExport(command, false)
	}
	var fresh *link
	if err == nil {
		fresh, err = d.connect(command, l.daemon)
	}
	if err == nil {
		refusal = errors.Join(refusal, fresh.conn.flush(command))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l.retired = false
	if err != nil {
		d.lost(l) //nolint:contextcheck // what was begun is ended whatever becomes of ctx
		return errors.Join(refusal, err)
	}
	d.use(fresh)
	return refusal
}

// Close flushes, and ends the daemon. The error is that of the flush, or says that the Device had failed or that the
// daemon does not end.
func (d *Device) Close() error {
	d.mu.Lock()
	select {
	case <-d.closing:
		d.mu.Unlock()
		return nil
	default:
	}
	close(d.closing)
	d.mu.Unlock()

	err := d.hold(context.Background())
	d.mu.Lock()
	running := d.waitFor(context.Background(), func() bool { return d.state == up }) == nil
	l := d.link
	d.state = closed
	l.retired = true
	d.turn.Broadcast()
	d.mu.Unlock()
	if running {
		l.close()
		if serr := l.daemon.stop(); serr != nil {
			d.log.Error("storage daemon does not end", slog.Any("error", serr))
			err = errors.Join(err, serr)
		}
	}
	d.work.Wait()
	d.replay.drop(d.replay.seq).free()
	return fault.FromOS("close", err)
}
