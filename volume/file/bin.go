package file

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"path"
	"path/filepath"
	"sync"
	"time"

	"elstore/volume/fault"
)

// Trash moves the volume into the bin. .deleted is written first and counts only there.
func (h *held) Trash(ctx context.Context, now time.Time) error {
	if h.gone || h.inBin {
		return h.here()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	data, err := json.Marshal(deletion{Time: now.UTC()})
	if err != nil {
		return err
	}
	if h.b.maker.inPlace() {
		return h.trashInPlace(append(data, '\n'))
	}
	if err := h.b.openBin(); err != nil {
		return err
	}
	if err := h.d.replace(deletedName, append(data, '\n')); err != nil {
		h.undone(h.d.remove(deletedName))
		return err
	}
	// Before it is moved, since what somebody else uses stays.
	if err := h.trashImage(); err != nil {
		h.undone(h.d.remove(deletedName))
		return err
	}
	if err := h.move(binName); err != nil {
		if !h.inBin {
			h.untrashImage()
			h.undone(h.d.remove(deletedName))
		}
		return err
	}
	return nil
}

// Restore moves the volume back from the bin.
func (h *held) Restore(ctx context.Context) error {
	if h.gone || !h.inBin {
		return h.here()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if h.in() == "." {
		return h.restoreInPlace()
	}
	if err := h.move("."); err != nil {
		return err
	}
	h.untrashImage()
	// It counts no more. One that stays is removed by whoever has the lock next.
	if err := h.d.remove(deletedName); err != nil {
		h.b.cfg.Log.Warn("deletion mark left behind", slog.Any("volume", h.id), slog.Any("error", err))
	}
	return nil
}

// here is nil for a volume that is where it was to be brought.
func (h *held) here() error {
	if h.gone {
		return fault.Errorf(fault.VolumeNotFound, "no volume %s: %w", h.id, fs.ErrNotExist)
	}
	return nil
}

// in is the directory that the volume lies in.
func (h *held) in() string {
	if filepath.Base(filepath.Dir(h.d.path)) == binName {
		return binName
	}
	return "."
}

// move renames the volume's directory into to, "." or the bin, and back if it can't be made durable there.
func (h *held) move(to string) error {
	from := path.Join(h.in(), volumeName(h.id))
	target := path.Join(to, volumeName(h.id))
	err := h.b.pool.rename(from, target)
	if errors.Is(err, fs.ErrExist) {
		return fault.Errorf(fault.VolumeExists, "a volume %s lies there already", h.id)
	}
	if err != nil {
		if d, serr := h.b.pool.sub(from); serr == nil { // it was not moved
			d.close()
			return err
		}
		if h.b.pool.rename(target, from) == nil {
			return err
		}
	}
	d, serr := h.b.pool.sub(target)
	if serr != nil {
		return fault.FromOS("open volume", serr)
	}
	h.d.close()
	h.d, h.inBin = d, to == binName
	return err
}

// openBin makes the bin if there is none.
func (b *Backend) openBin() error { return b.openOwn(binName) }

// openOwn makes a directory of ours in the pool, durably, if it is not there.
func (b *Backend) openOwn(name string) error {
	d, err := b.pool.sub(name)
	if err == nil {
		d.close()
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return &fault.Error{Code: fault.PoolUnavailable, Msg: name + " is not a directory that can be opened", Err: err}
	}
	if err := b.pool.mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return fault.FromOS("make "+name, err)
	}
	return b.pool.sync(".")
}

// Purge removes the volume for good: it counts as gone when its directory has another name, beside the old one, which
// a file system that is full can give it.
func (h *held) Purge(ctx context.Context) error {
	if h.gone {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if h.b.maker.inPlace() && h.in() == "." {
		return h.purgeInPlace(ctx)
	}
	if err := h.removable(); err != nil {
		return err
	}
	grave := path.Join(h.in(), purgeName(h.id))
	if err := h.b.pool.removeAll(grave); err != nil { // an earlier volume of the same id, that a crash left
		return err
	}
	from := path.Join(h.in(), volumeName(h.id))
	if err := h.b.pool.rename(from, grave); err != nil {
		if h.b.pool.has(from) || h.b.pool.rename(grave, from) == nil {
			return err
		}
		// It can't be brought back: it is gone, though a crash of the machine might bring it back.
		h.purged(ctx, grave)
		return err
	}
	h.purged(ctx, grave)
	return nil
}

// purged gives back what the volume took.
func (h *held) purged(ctx context.Context, grave string) {
	h.gone = true
	if h.b.maker.inPlace() { // a dataset goes only when nothing in it is open
		h.part()
	}
	if base := h.b.bases.uses(h.id, ""); base != "" {
		if err := h.b.dropBase(base); err != nil {
			h.b.cfg.Log.Warn("base image left behind", slog.Any("base", base), slog.Any("error", err))
		}
	}
	if err := h.b.maker.remove(context.WithoutCancel(ctx), h.b.pool, grave); err != nil {
		h.b.cfg.Log.Error("purged volume left behind until the next start", slog.Any("volume", h.id), slog.Any("error", err))
	}
}

// once returns a function that calls f the first time it is called.
func once(f func()) func() {
	var o sync.Once
	return func() { o.Do(f) }
}
