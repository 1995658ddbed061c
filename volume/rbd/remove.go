package rbd

import (
	"log/slog"
	"strings"
	"syscall"

	"elstore/volume/fault"
)

// Trash moves an image into RBD's trash. One that is there already, or nowhere, is left so.
func (s *Store) Trash(name string) error {
	return s.bounded("move the image into the cluster's trash", func() error {
		if s.isOpen(name) {
			return syscall.EBUSY
		}
		err := s.d.TrashMove(name)
		if errno(err) == syscall.ENOENT {
			return nil
		}
		return err
	})
}

// Untrash moves an image back out of RBD's trash. One that is not there is left where it is.
func (s *Store) Untrash(name string) error {
	return s.bounded("move the image out of the cluster's trash", func() error { return s.untrash(name) })
}

func (s *Store) untrash(name string) error {
	id, err := s.trashed(name)
	if err != nil || id == "" {
		return err
	}
	err = s.d.TrashRestore(id, name)
	if errno(err) == syscall.ENOENT {
		return nil
	}
	return err
}

// Removable tells by an error why Remove would be refused.
func (s *Store) Removable(name string) error {
	return s.bounded("look at the image", func() error {
		if s.isOpen(name) {
			return syscall.EBUSY
		}
		h, _, err := s.find(name, false)
		if errno(err) == syscall.ENOENT {
			return nil
		}
		if err != nil {
			return err
		}
		defer h.Close() //nolint:errcheck // nothing was written
		if err := s.cleared(name, h); err != nil {
			return err
		}
		owner, err := h.Owner()
		if err != nil || owner == "" || s.noted(h, owner) {
			return err
		}
		alive, err := h.Alive(owner)
		if err == nil && alive {
			err = fault.Errorf(fault.VolumeInUse, "the image %s is in use by %s", name, owner)
		}
		return err
	})
}

// Remove removes an image for good, wherever it lies; one that is not there is removed already. While clones need it
// it is parked, and while it is being copied it waits for that.
func (s *Store) Remove(name string) error {
	if s.doom(name) {
		return nil
	}
	return s.patient("remove the image", func() error {
		if s.isOpen(name) {
			return syscall.EBUSY
		}
		return s.removeNow(name)
	})
}

func (s *Store) removeNow(name string) error {
	h, id, err := s.find(name, false)
	if errno(err) == syscall.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	err = s.cleared(name, h)
	var parent Identity
	if err == nil {
		parent, err = h.Parent()
	}
	users, _ := h.Note(usersKey)
	if cerr := h.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = s.remove(name, id)
	}
	if err != nil {
		return err
	}
	s.usage.forget(name)
	s.mu.Lock()
	delete(s.sizing, name)
	s.mu.Unlock()
	if err := s.revoke(users); err != nil {
		s.cfg.Log.Warn("users left behind on the cluster", slog.String("image", name), slog.Any("error", err))
	}
	s.collect(parent)
	return nil
}

// remove removes an image without snapshots that show, from the trash if id is its id there, or parks it.
func (s *Store) remove(name, id string) error {
	var err error
	if id != "" {
		err = s.d.TrashRemove(id)
	} else {
		err = s.d.Remove(name)
	}
	switch errno(err) {
	case syscall.ENOENT:
		return nil
	case syscall.ENOTEMPTY, syscall.EBUSY: // clones need a snapshot that does not show, or somebody has it open
		if perr := s.park(name, id); perr != nil {
			s.cfg.Log.Warn("image not parked", slog.String("image", name), slog.Any("error", perr))
			return err
		}
		return nil
	}
	return err
}

// park puts an image into the trash under a name that says that only clones need it.
func (s *Store) park(name, id string) error {
	parked := parkedName(name)
	if id != "" {
		if err := s.d.TrashRestore(id, parked); err != nil {
			return err
		}
	} else if err := s.d.Rename(name, parked); err != nil {
		return err
	}
	return s.d.TrashMove(parked)
}

// collect removes a parked image if no clone needs it any more, and then its own parent.
func (s *Store) collect(image Identity) {
	for strings.HasPrefix(image.Name, parkedPrefix) {
		h, err := s.d.OpenTrashed(image.ID)
		if err != nil {
			return
		}
		parent, err := h.Parent()
		if cerr := h.Close(); err != nil || cerr != nil {
			return
		}
		if s.d.TrashRemove(image.ID) != nil { // other clones need it, or Sweep tries again
			return
		}
		image = parent
	}
}

// Sweep removes parked images that no clone needs any more, which a crash or an outage left.
func (s *Store) Sweep() error {
	return s.bounded("list the cluster's trash", func() error {
		list, err := s.d.Trashed()
		for _, t := range list {
			if strings.HasPrefix(t.Name, parkedPrefix) {
				s.collect(Identity{Name: t.Name, ID: t.ID})
			}
		}
		return err
	})
}

// Inventory returns the images of the RADOS pool that are a volume's or could be, whoever made them, and of each whether it lies in the
// trash. What is parked there is not among them.
func (s *Store) Inventory() (images map[string]bool, err error) {
	images = map[string]bool{}
	err = s.bounded("list the cluster's images", func() error {
		names, err := s.d.Names()
		if err != nil {
			return err
		}
		trash, err := s.d.Trashed()
		for _, t := range trash {
			if !strings.HasPrefix(t.Name, parkedPrefix) {
				images[t.Name] = true
			}
		}
		for _, name := range names {
			images[name] = false
		}
		return err
	})
	return images, err
}

// isOpen reports whether a Device of this Store may write to the image.
func (s *Store) isOpen(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[name] != nil
}
