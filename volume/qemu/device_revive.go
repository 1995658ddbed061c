package qemu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"elstore/volume/fault"
)

// lost begins to bring back a link that ended. The caller holds mu.
func (d *Device) lost(l *link) {
	if d.link != l || l.retired || d.state != up && d.state != redoing {
		return
	}
	d.state = reviving
	d.work.Go(func() { d.revive(l) })
}

// use makes l the link that requests go to. The caller holds mu.
func (d *Device) use(l *link) {
	d.link = l
	d.state = up
	if d.redo > 0 {
		d.state = redoing
	}
	d.turn.Broadcast()
	select { // before anybody knew of it
	case <-l.conn.gone:
		d.lost(l)
	case <-l.lost():
		d.lost(l)
	default:
	}
}

// revive brings a daemon back, or lets the Device fail.
func (d *Device) revive(old *link) {
	begin := time.Now()
	old.cut()
	d.mu.Lock()
	for d.running > 0 { // they come back with errGone, and wait for us
		d.turn.Wait()
	}
	d.mu.Unlock()
	d.bury(old.daemon)
	if begin.Sub(old.daemon.born) > d.opener.times.steady {
		d.deaths = 0
	}
	for {
		d.pause(d.deaths)
		d.deaths++
		fresh, err := d.rebirth()
		if err == nil {
			d.mu.Lock()
			replayed := d.replay.drop(d.replay.seq)
			d.opener.revived.Add(1)
			d.use(fresh)
			d.mu.Unlock()
			replayed.free()
			d.log.Info("storage daemon is back", slog.Int("pid", fresh.daemon.pid), slog.Duration("after", time.Since(begin)))
			return
		}
		d.log.Error("storage daemon not brought back", slog.Int("attempt", d.deaths), slog.Any("error", err))
		if d.deaths >= d.opener.times.attempts {
			d.fail(err)
			return
		}
	}
}

// bury waits until a daemon is gone: it holds the image's lock as long as it is there.
func (d *Device) bury(old *daemon) {
	err := old.stop()
	if err != nil {
		d.log.Error("storage daemon does not end, and the volume waits for it", slog.Any("error", err))
		select {
		case <-old.done:
			_ = old.gone()
		case <-d.closing:
			return
		}
	}
	d.log.Warn("storage daemon ended", slog.Int("pid", old.pid), slog.Any("error", old.err), slog.String("said", old.said()))
}

// pause waits before an attempt, the longer the more there were. Close does not wait so long.
func (d *Device) pause(before int) {
	if before == 0 {
		return
	}
	t := d.opener.times
	timer := time.NewTimer(min(t.pause<<(before-1), t.longest))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.closing:
	}
}

// rebirth starts a daemon and makes the changes again that the log holds.
func (d *Device) rebirth() (*link, error) {
	ctx := context.Background()
	l, err := d.start(ctx)
	if err != nil {
		return nil, err
	}
	if size := d.size.Load(); l.conn.export.size < size {
		err = fmt.Errorf("the image has %d bytes, and had %d", l.conn.export.size, size)
	}
	if l.conn.export.maxBlock < int64(d.most) {
		err = fmt.Errorf("a request may have %d bytes now, and could have %d", l.conn.export.maxBlock, d.most)
	}
	if err == nil { // nobody else touches the log while requests wait
		err = d.replay.each(func(c *change) error { return c.send(l.direct()) })
	}
	if err == nil && !d.replay.empty() {
		err = l.conn.flush(ctx)
	}
	if err != nil {
		l.cut()
		return nil, errors.Join(err, l.daemon.stop())
	}
	return l, nil
}

// fail makes every request fail from now on.
func (d *Device) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = failed
	d.failure = &fault.Error{
		Code: fault.PoolUnavailable,
		Msg:  fmt.Sprintf("the storage daemon of volume %s died and can't be brought back", d.options.Name),
		Err:  errors.Join(syscall.EIO, err),
	}
	d.turn.Broadcast()
}
