//go:build ceph

package rbd

import (
	"errors"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/ceph/go-ceph/rbd"
)

// image is the Handle of an image of the real cluster.
type image struct{ i *rbd.Image }

var _ Handle = (*image)(nil)

func (h *image) Identity() (Identity, error) {
	id, err := h.i.GetId()
	return Identity{Name: h.i.GetName(), ID: id}, translate(err)
}

func (h *image) Size() (int64, error) {
	size, err := h.i.GetSize()
	return int64(size), translate(err)
}

func (h *image) Resize(size int64) error { return translate(h.i.Resize(uint64(size))) }

func (h *image) ReadAt(p []byte, off int64) error {
	n, err := h.i.ReadAt(p, off)
	if errors.Is(err, io.EOF) && n == len(p) {
		err = nil
	}
	return translate(err)
}

func (h *image) WriteAt(p []byte, off int64) error {
	n, err := h.i.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return translate(err)
}

func (h *image) Discard(off, length int64) error {
	_, err := h.i.Discard(uint64(off), uint64(length))
	return translate(err)
}

func (h *image) Flush() error { return translate(h.i.Flush()) }

func (h *image) Extents(off, length int64, fn func(off, length int64) bool) error {
	stopped := false
	err := h.i.DiffIterate(rbd.DiffIterateConfig{
		Offset: uint64(off), Length: uint64(length), IncludeParent: rbd.IncludeParent, WholeObject: rbd.EnableWholeObject,
		Callback: func(off, length uint64, exists int, _ any) int {
			if exists == 0 || stopped {
				return 0
			}
			if !fn(int64(off), int64(length)) {
				stopped = true
				return -int(syscall.ECANCELED)
			}
			return 0
		},
	})
	if stopped {
		return nil
	}
	return translate(err)
}

func (h *image) Modified() (time.Time, error) {
	t, err := h.i.GetModifyTimestamp()
	return time.Unix(t.Sec, t.Nsec).UTC(), translate(err)
}

func (h *image) Snap(name string) error {
	_, err := h.i.CreateSnapshot(name)
	return translate(err)
}

func (h *image) Unsnap(name string) error { return translate(h.i.GetSnapshot(name).Remove()) }

func (h *image) Snaps() (names []string, err error) {
	snaps, err := h.i.GetSnapshotNames()
	if err != nil {
		return nil, translate(err)
	}
	for _, s := range snaps {
		kind, err := h.i.GetSnapNamespaceType(s.Id)
		if err != nil {
			return nil, translate(err)
		}
		if kind != rbd.SnapNamespaceTypeTrash { // which are those that only clones need
			names = append(names, s.Name)
		}
	}
	return names, nil
}

func (h *image) Flatten() error { return translate(h.i.Flatten()) }

func (h *image) Parent() (Identity, error) {
	p, err := h.i.GetParent()
	if err = translate(err); errno(err) == syscall.ENOENT {
		return Identity{}, nil
	}
	if err != nil {
		return Identity{}, err
	}
	return Identity{Name: p.Image.ImageName, ID: p.Image.ImageID}, nil
}

func (h *image) Acquire() error { return translate(h.i.LockAcquire(rbd.LockModeExclusive)) }

func (h *image) Owner() (string, error) {
	owners, err := h.i.LockGetOwners()
	if err = translate(err); err != nil && errno(err) != syscall.ENOENT {
		return "", err
	}
	for _, o := range owners {
		return o.Owner, nil
	}
	return "", nil
}

func (h *image) Alive(owner string) (bool, error) {
	watchers, err := h.i.ListWatchers()
	if err != nil {
		return true, translate(err)
	}
	return slices.ContainsFunc(watchers, func(w rbd.ImageWatcher) bool { return w.Addr == owner }), nil
}

func (h *image) Shared(owner string) (bool, error) {
	watchers, err := h.i.ListWatchers()
	if err != nil {
		return true, translate(err)
	}
	return slices.ContainsFunc(watchers, func(w rbd.ImageWatcher) bool { return w.Addr != owner }), nil
}

func (h *image) Break(owner string) error {
	return translate(h.i.LockBreak(rbd.LockModeExclusive, owner))
}

func (h *image) Note(key string) (string, error) {
	value, err := h.i.GetMetadata(key)
	if err = translate(err); errno(err) == syscall.ENOENT {
		return "", nil
	}
	return value, err
}

func (h *image) SetNote(key, value string) error { return translate(h.i.SetMetadata(key, value)) }

func (h *image) Close() error { return translate(h.i.Close()) }
