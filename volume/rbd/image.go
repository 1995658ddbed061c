package rbd

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"elstore/volume/fault"
)

// Create makes an image of zeros.
func (s *Store) Create(name string, size int64) error {
	return s.bounded("make the image", func() error { return s.d.Create(name, size) })
}

// Clone makes an image that begins as another one is now, or as its snapshot is, and shares its data.
func (s *Store) Clone(from, snap, name string) error {
	return s.bounded("clone the image", func() error {
		if snap != "" {
			return s.d.Clone(from, snap, name)
		}
		snap, unsnap, err := s.snap(from)
		if err != nil {
			return err
		}
		return errors.Join(s.d.Clone(from, snap, name), unsnap())
	})
}

// Size asks for an image's size.
func (s *Store) Size(name string) (size int64, err error) {
	err = s.bounded("look at the image", func() error {
		return s.image(name, true, func(h Handle) (err error) {
			size, err = h.Size()
			return err
		})
	})
	return size, err
}

// Resize gives an image another size, also one that is open. One that nobody waits for any more, since the cluster did not answer, is not
// begun, and others wait for one that was: else it would undo what came after it.
func (s *Store) Resize(name string, size int64) error {
	wait := s.patient
	if s.isOpen(name) { // on its connection calls wait for the cluster, however long
		wait = s.bounded
	}
	turn := s.turn(name)
	var left atomic.Bool
	defer left.Store(true)
	return wait("resize the image", func() error {
		turn <- struct{}{}
		defer func() { <-turn }()
		if left.Load() {
			return nil
		}
		return s.image(name, false, func(h Handle) error { return h.Resize(size) })
	})
}

// turn returns what is full while an image gets another size.
func (s *Store) turn(name string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sizing[name] == nil {
		s.sizing[name] = make(chan struct{}, 1)
	}
	return s.sizing[name]
}

// Flatten copies what an image has from its parent, so that it stands alone. It stops waiting when ctx ends; the cluster goes on.
// progress is told how far it came, in units of the cluster's, by one call at a time; nil is nobody.
func (s *Store) Flatten(ctx context.Context, name string, progress func(done, total int64)) error {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	return s.during(ctx, "flatten the image", 0, func() error {
		return s.image(name, false, func(h Handle) error {
			parent, err := h.Parent()
			if err != nil || parent.ID == "" {
				return err
			}
			if err := h.Flatten(progress); err != nil {
				return err
			}
			s.collect(parent)
			return nil
		})
	})
}

// Parent returns the name of the image that one is a clone of, "" where it is none.
func (s *Store) Parent(name string) (parent string, err error) {
	err = s.bounded("look at the image", func() error {
		return s.image(name, true, func(h Handle) error {
			p, err := h.Parent()
			parent = p.Name
			return err
		})
	})
	return parent, err
}

// Snapshot freezes an image's content until release is called.
func (s *Store) Snapshot(name string) (snap string, release func(), err error) {
	var unsnap func() error
	err = s.bounded("make a snapshot", func() (err error) {
		snap, unsnap, err = s.snap(name)
		return err
	})
	if err != nil {
		return "", nil, err
	}
	var once sync.Once
	return snap, func() {
		once.Do(func() {
			if err := s.bounded("remove a snapshot", unsnap); err != nil {
				s.cfg.Log.Warn("snapshot left behind", slog.String("image", name), slog.Any("error", err))
			}
		})
	}, nil
}

// snap makes a snapshot, and returns what removes it.
func (s *Store) snap(name string) (snap string, unsnap func() error, err error) {
	snap = s.snapsOf() + randomWord()
	s.mu.Lock()
	s.copied[name] = append(s.copied[name], snap)
	s.mu.Unlock()
	if err := s.image(name, false, func(h Handle) error { return h.Snap(snap) }); err != nil {
		return "", nil, errors.Join(err, s.copyEnded(name, snap))
	}
	return snap, func() error {
		err := s.image(name, false, func(h Handle) error { return h.Unsnap(snap) })
		if errno(err) == syscall.ENOENT {
			err = nil
		}
		return errors.Join(err, s.copyEnded(name, snap))
	}, nil
}

// copyEnded forgets a snapshot that is not needed any more, and removes the image if that waited for it.
func (s *Store) copyEnded(name, snap string) error {
	s.mu.Lock()
	left := slices.DeleteFunc(s.copied[name], func(other string) bool { return other == snap })
	doomed := len(left) == 0 && s.doomed[name]
	s.copied[name] = left
	if len(left) == 0 {
		delete(s.copied, name)
		delete(s.doomed, name)
	}
	s.mu.Unlock()
	if !doomed {
		return nil
	}
	return s.removeNow(name)
}

// doom has an image that is being copied at this moment removed when that is done.
func (s *Store) doom(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.copied[name]) > 0 {
		s.doomed[name] = true
	}
	return s.doomed[name]
}

// snapsOf is how the names of this server's snapshots begin.
func (s *Store) snapsOf() string { return snapPrefix + s.cfg.ServerID + "-" }

// clear removes the snapshots that a crash left in an image. Where other servers use it too, only they know which of theirs those are:
// what is copied from a snapshot that is gone is not what it was.
func (s *Store) clear(name string, h Handle) (foreign []string, err error) {
	snaps, err := h.Snaps()
	left := snapPrefix
	if s.cfg.Shared {
		left = s.snapsOf()
	}
	for _, snap := range snaps {
		s.mu.Lock()
		live := slices.Contains(s.copied[name], snap)
		s.mu.Unlock()
		switch {
		case live:
		case strings.HasPrefix(snap, left):
			if uerr := h.Unsnap(snap); uerr != nil && errno(uerr) != syscall.ENOENT {
				err = errors.Join(err, uerr)
			}
		default:
			foreign = append(foreign, snap)
		}
	}
	return foreign, err
}

// cleared is clear for an image that is to be removed, and refuses one that has snapshots of somebody else.
func (s *Store) cleared(name string, h Handle) error {
	foreign, err := s.clear(name, h)
	if err == nil && len(foreign) > 0 {
		err = fault.Errorf(fault.VolumeCannotBeDeleted, "the image %s has snapshots that somebody else made, %q: remove them on the cluster first (rbd snap rm)", name, foreign)
	}
	return err
}
