package qemu

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"elstore/volume/fault"
)

// exportID names the export, in QMP. Its name in NBD is the empty one.
const exportID = "nbd"

// export opens the image and exports it.
func (d *daemon) export(ctx context.Context, open OpenOptions) error {
	err := d.open(ctx, open)
	// The daemon before this one may be gone and the image be locked still: io_uring finishes what was under way, and lets go
	// of the file, after the process.
	for end, pause := time.Now().Add(d.times.unlock), time.Millisecond; err != nil && locked(err) && time.Now().Before(end); pause *= 2 {
		wait, cancel := context.WithTimeout(ctx, pause)
		<-wait.Done()
		cancel()
		err = d.open(ctx, open)
	}
	if err != nil {
		return err
	}
	if err := d.addQueue(ctx, open.ReadOnly); err != nil {
		return err
	}
	return d.addExport(ctx, open.ReadOnly)
}

// addQueue exports the image, which was opened, by way of a queue, if QEMU was built with that. It stays as long as the daemon lives:
// unlike that of NBD it is not in the way of a resize. The connection to it must not outlive one, though: since version 8.0 QEMU tells
// who is connected of the new size, over a socket that we don't give it, and takes nothing from the queue any more when that fails.
func (d *daemon) addQueue(ctx context.Context, readonly bool) error {
	err := d.qmp.do(ctx, "block-export-add", map[string]any{
		"type": "vhost-user-blk", "id": "queue", "node-name": nodeName, "writable": !readonly,
		"addr": map[string]any{"type": "unix", "path": d.door.path(doorFD)},
	}, nil)
	if _, refused := errors.AsType[*qmpError](err); refused {
		d.log.Warn("storage daemon has no queue, and all goes over NBD", slog.Int("pid", d.pid), slog.Any("error", err))
		return nil
	}
	d.queue = err == nil
	return err
}

// open opens the image.
func (d *daemon) open(ctx context.Context, open OpenOptions) error {
	err := d.qmp.do(ctx, "blockdev-add", open.blockdev("io_uring"), nil)
	if err == nil || ctx.Err() != nil || locked(err) {
		return err
	}
	// The kernel or its administrator may forbid io_uring. If that is not why, the same error comes again.
	return d.qmp.do(ctx, "blockdev-add", open.blockdev("threads"), nil)
}

// locked reports whether err says that another process has the image open.
func locked(err error) bool {
	refusal, ok := errors.AsType[*qmpError](err)
	return ok && signOf(refusal.Desc) == fault.VolumeInUse
}

// signOf returns the code of what QEMU said.
func signOf(text string) fault.Code {
	for _, sign := range signs {
		if strings.Contains(text, sign.text) {
			return sign.code
		}
	}
	return fault.ImageToolFailed
}

// addExport exports the image, which was opened.
func (d *daemon) addExport(ctx context.Context, readonly bool) error {
	// No iothread: QEMU 7.2 aborts when a client of an export in one goes away.
	return d.qmp.do(ctx, "block-export-add", map[string]any{
		"type": "nbd", "id": exportID, "node-name": nodeName, "name": "", "writable": !readonly,
	}, nil)
}

// removeExport ends the export, and the connections to it.
func (d *daemon) removeExport(ctx context.Context) error {
	return d.qmp.do(ctx, "block-export-del", map[string]any{"id": exportID, "mode": "hard"}, nil)
}

// resize changes the size of the image, which must not be exported.
func (d *daemon) resize(ctx context.Context, size int64) error {
	return d.qmp.do(ctx, "block_resize", map[string]any{"node-name": nodeName, "size": size}, nil)
}

// alive asks for a sign of life.
func (d *daemon) alive(ctx context.Context) error {
	return d.qmp.do(ctx, "query-version", nil, nil)
}

// connectQueue sets up the queue, of which there can be one at a time. It returns nil if there is none, or none is wanted.
func (d *daemon) connectQueue(ctx context.Context, wanted bool) (*vhostConn, error) {
	if !d.queue || !wanted {
		d.door.close()
		return nil, nil //nolint:nilnil // that is what there is
	}
	conn, err := d.door.enter(ctx)
	if err != nil {
		return nil, err
	}
	queue, err := newVhostConn(ctx, conn)
	if errors.Is(err, errNoSharedMemory) {
		d.log.Warn("storage daemon's queue can't be used, and all goes over NBD", slog.Int("pid", d.pid), slog.Any("error", err))
		return nil, nil //nolint:nilnil // that is what there is
	}
	return queue, err
}

// connect makes a connection to the export over NBD.
func (d *daemon) connect(ctx context.Context) (*nbdConn, error) {
	conn, err := d.nbd.dial(ctx)
	if err != nil {
		return nil, err
	}
	export, err := nbdNegotiate(ctx, conn, "")
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return newNBDConn(conn, export), nil
}
