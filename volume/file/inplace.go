package file

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"

	"elstore/volume"
	"elstore/volume/fault"
)

// A ZFS dataset is a mount point, which can't be renamed while anything in it is open, as the volume's lock is. So
// there a volume stays in its place from the beginning to the end, and other moments count: that it is there when
// its meta.json is written, that it lies in the bin when .deleted is, and that it is gone when its meta.json is
// removed. A directory without meta.json that bears an .ignore file of these purposes is what a crash left.
const (
	toCreate = "create"
	toPurge  = "purge"
)

// half reports whether a directory without meta.json is what a crash left of making or purging a volume in its place.
func (c *contents) half() bool {
	if c.meta {
		return false
	}
	if !c.other && !c.iso && !c.deleted && len(c.marks)+len(c.temps)+len(c.data) == 0 {
		return true // there was no time yet for the .ignore file, and there is nothing to lose
	}
	return slices.ContainsFunc(c.marks, func(name string) bool {
		purpose, _ := parseMarkName(name)
		return purpose == toCreate || purpose == toPurge
	})
}

// stageName returns the name of the directory that a volume is made in.
func (b *Backend) stageName(id volume.ID) string {
	if b.maker.inPlace() {
		return volumeName(id)
	}
	return stageName(id)
}

// beginInPlace makes the volume's directory.
func (s *stage) beginInPlace(ctx context.Context) (err error) {
	const tries = 10 // another server that finds it empty, and not yet locked, takes it for a crash's
	for range tries {
		if err = s.b.maker.make(ctx, s.b.pool, volumeName(s.id)); err != nil {
			return err
		}
		if err = s.claimInPlace(ctx); err == nil {
			return nil
		}
		swept := errors.Is(err, errHeld) || missing(err)
		s.close()
		if !swept {
			s.remove() //nolint:contextcheck // cleaning up goes on when the context ended
			return err
		}
	}
	return err
}

// claimInPlace locks the new directory and says in it what it is.
func (s *stage) claimInPlace(ctx context.Context) (err error) {
	if s.d, err = s.b.pool.sub(volumeName(s.id)); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, stageWait)
	defer cancel()
	if s.lock, err = s.d.flock(wait); err != nil {
		return err
	}
	if s.d.gone() {
		return fs.ErrNotExist
	}
	m := s.b.self
	m.Purpose = toCreate
	s.mark = m.fileName()
	return s.d.note(s.mark, m.encode())
}

// commitInPlace writes the meta.json, with which the volume is there.
func (s *stage) commitInPlace(m volume.Meta) error {
	if err := s.d.replace(metaName, m.Encode()); err != nil {
		if rerr := s.d.remove(metaName); rerr != nil && s.d.has(metaName) {
			// It is there now, though a crash of the machine might take it away: nothing of it is removed.
			s.b.cfg.Log.Error("volume in place that was not made durable", slog.Any("volume", s.id), slog.Any("error", rerr))
			s.there(m)
		}
		return err
	}
	_ = s.d.remove(s.mark) // one that stays is found by whoever has the lock next
	return nil
}

// trashInPlace writes .deleted, with which the volume lies in the bin.
func (h *held) trashInPlace(deleted []byte) error {
	if err := h.d.replace(deletedName, deleted); err != nil {
		h.undone(errors.Join(h.d.remove(deletedName), h.d.sync(".")))
		return err
	}
	h.inBin = true
	return nil
}

// restoreInPlace removes .deleted.
func (h *held) restoreInPlace() error {
	old, _, err := readSmall(int(h.d.fd.Fd()), deletedName, maxSmall)
	if err != nil {
		return fault.FromOS("read "+deletedName, err)
	}
	if err := h.d.remove(deletedName); err != nil {
		return err
	}
	if err := h.d.sync("."); err != nil {
		if rerr := h.d.replace(deletedName, old); rerr != nil {
			h.inBin = false // as far as this process can see
		}
		return err
	}
	h.inBin = false
	return nil
}

// purgeInPlace removes the meta.json, with which the volume is gone, and then the rest.
func (h *held) purgeInPlace(ctx context.Context) error {
	old, _, err := readSmall(int(h.d.fd.Fd()), metaName, volume.MaxMeta+1)
	if err != nil && !errors.Is(err, errNotRegular) {
		return fault.FromOS("read "+metaName, err)
	}
	if err := h.begin(mark{Purpose: toPurge}); err != nil {
		return err
	}
	if err := h.d.removeAll(metaName); err != nil { // a damaged volume's may be a directory
		return err
	}
	if err := h.d.sync("."); err != nil {
		if rerr := h.d.replace(metaName, old); rerr == nil {
			h.end()
			return err
		}
		h.purged(ctx, volumeName(h.id))
		return err
	}
	h.purged(ctx, volumeName(h.id))
	return nil
}

// inBinNow reports whether the volume in d, which stands in the directory in, lies in the bin.
func (b *Backend) inBinNow(d *dir, in string) bool {
	return in == binName || b.maker.inPlace() && d.has(deletedName)
}

// sweepHalf removes what a crash left of a volume in its place.
func (b *Backend) sweepHalf(ctx context.Context, id volume.ID) error {
	d, err := b.pool.sub(volumeName(id))
	if missing(err) {
		return nil
	}
	if err != nil {
		return fault.FromOS("sweep a half-made volume", err)
	}
	defer d.close()
	if half, err := d.isHalf(); err != nil || !half {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, stageWait)
	defer cancel()
	lock, err := d.flock(wait)
	if errors.Is(err, errHeld) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	half, err := d.isHalf()
	// The dataset is busy as long as anything in it is open.
	lock.Close() //nolint:errcheck,gosec // nothing was written
	d.close()
	if err != nil || !half {
		return err
	}
	b.bury(ctx, volumeName(id))
	return nil
}

// bury removes what is no volume, and if that can't be done leaves it to the next scan.
func (b *Backend) bury(ctx context.Context, name string) {
	if err := b.maker.remove(ctx, b.pool, name); err != nil {
		b.cfg.Log.Error("half-removed volume left behind until the next start", slog.String("directory", name), slog.Any("error", err))
	}
}

func (d *dir) isHalf() (bool, error) {
	c, err := d.contents()
	if errors.Is(err, fs.ErrNotExist) { // it was removed under us
		return false, nil
	}
	return err == nil && c.half(), err
}

// renamed gives the stage's directory the path that it has now.
func (s *stage) renamed(name string) { s.d.path = filepath.Join(s.b.pool.path, name) }
