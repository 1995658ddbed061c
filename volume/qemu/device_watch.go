package qemu

import (
	"context"
	"log/slog"
	"time"
)

// ticksPerHang is how many times a link is looked at in waits.hang.
const ticksPerHang = 4

// watch sees to a link until a connection ends, or the daemon does, which nobody else notices while no request is
// under way.
func (d *Device) watch(l *link) {
	tick := time.NewTicker(d.opener.times.hang / ticksPerHang)
	defer tick.Stop()
	heard, since := l.heard(), time.Now()
	for {
		select {
		case <-l.daemon.done:
			l.cut()
		case <-l.lost():
			l.queue.cut()
		case <-l.conn.gone:
		case <-tick.C:
			if l.queue != nil {
				d.watchQueue(l)
			}
			if now := l.heard(); now != heard || !l.busy() {
				heard, since = now, time.Now()
			} else if time.Since(since) >= d.opener.times.hang {
				d.prod(l)
				since = time.Now()
			}
			continue
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.lost(l)
		return
	}
}

// prod asks a daemon that has not answered for long whether it lives, and kills it if it does not say so.
func (d *Device) prod(l *link) {
	ctx, cancel := context.WithTimeout(context.Background(), d.opener.times.ping)
	defer cancel()
	err := l.daemon.alive(ctx)
	if err == nil {
		d.log.Warn("storage is slow", slog.Int("pid", l.daemon.pid), slog.Duration("unanswered", d.opener.times.hang))
		return
	}
	d.log.Error("storage daemon hangs and is killed", slog.Int("pid", l.daemon.pid), slog.Any("error", err))
	d.kill(l)
}
