package file

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

// Idle implements volume.Held.
func (h *held) Idle(ctx context.Context, m volume.Meta) error {
	if err := h.ready(ctx); err != nil {
		return err
	}
	if m.Format == volume.RBD {
		return h.noPath()
	}
	return h.d.idle(m.Format, "volume "+h.id.String())
}

func (h *held) noPath() error {
	return fault.Errorf(fault.BadRequest, "the image of volume %s lies on a Ceph cluster and has no path", h.id)
}

// idle asks the kernel for a write lease on the image, which it gives only where nobody else has it open (fcntl(2)): no process of
// this machine, in whatever namespace, nor a loop device. It is given back at once.
func (d *dir) idle(format volume.Format, name string) error {
	f, err := d.open(dataName(format), false)
	if err != nil {
		return fault.FromOS("open the image", err)
	}
	defer f.Close()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EAGAIN):
		return fault.Errorf(fault.ExportBusy, "the image of %s is open in a process of this machine, which can't be shut out; close it there first", name)
	}
	return fault.Errorf(fault.BadRequest, "the file system of %s can't tell who has an image open, which is needed where its path is given away: %w", name, err)
}

// Lend implements volume.Held.
func (h *held) Lend(ctx context.Context, m volume.Meta) (volume.Lent, error) {
	if err := h.ready(ctx); err != nil {
		return nil, err
	}
	if m.Format == volume.RBD {
		return nil, h.noPath()
	}
	if h.b.cfg.Shared {
		return nil, fault.Errorf(fault.BadRequest, "the path of an image in a shared pool can't be given away: this server can't see what other hosts do with it")
	}
	d, err := h.d.sub(".")
	if err != nil {
		return nil, fault.FromOS("open the volume", err)
	}
	l := &lent{d: d, name: "volume " + h.id.String(), path: filepath.Join(h.d.path, dataName(m.Format)), meta: m}
	l.release = h.share()
	return l, nil
}

// lent is an image that others open by its path: there are no requests here.
type lent struct {
	d       *dir
	name    string
	path    string
	meta    volume.Meta
	release func() // gives up its part of the volume's lock
	closed  atomic.Bool
}

var _ volume.Lent = (*lent)(nil)

func (l *lent) Path() string { return l.path }

func (l *lent) Idle() error { return l.d.idle(l.meta.Format, l.name) }

func (l *lent) refuse() error {
	return fault.Errorf(fault.VolumeInUse, "%s is exported by its image's path, and only who opens that can read and write it", l.name)
}

func (l *lent) ReadAt([]byte, int64) (int, error)    { return 0, l.refuse() }
func (l *lent) WriteAt([]byte, int64) (int, error)   { return 0, l.refuse() }
func (l *lent) Flush(context.Context) error          { return l.refuse() }
func (l *lent) Discard(int64, int64) error           { return l.refuse() }
func (l *lent) WriteZeroes(int64, int64, bool) error { return l.refuse() }
func (l *lent) Grow(int64) error                     { return l.refuse() }
func (l *lent) Size() int64                          { return l.meta.Size }

func (l *lent) Close() error {
	if !l.closed.Swap(true) {
		l.d.close()
		l.release()
	}
	return nil
}
