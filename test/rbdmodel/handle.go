package rbdmodel

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"elstore/volume/rbd"
)

// handle is an open image.
type handle struct {
	k        *Client
	i        *image
	snap     *snapshot
	readonly bool
	data     bool
}

func (k *Client) open1(i *image, snap string, readonly, data bool) (rbd.Handle, error) {
	if i == nil {
		return nil, syscall.ENOENT
	}
	h := &handle{k: k, i: i, readonly: readonly || snap != "", data: data}
	if snap != "" {
		if h.snap = i.snap(snap); h.snap == nil {
			return nil, syscall.ENOENT
		}
	}
	if !h.readonly {
		i.watchers[h] = true
	}
	k.open[h] = true
	return h, nil
}

// Open implements rbd.Driver.
func (k *Client) Open(name, snap string, readonly bool) (rbd.Handle, error) {
	if err := k.enter("", false); err != nil {
		return nil, err
	}
	defer k.leave()
	return k.open1(k.c.find(name, false), snap, readonly, false)
}

// OpenData implements rbd.Driver.
func (k *Client) OpenData(name string, readonly bool) (rbd.Handle, error) {
	if err := k.enter("", true); err != nil {
		return nil, err
	}
	defer k.leave()
	return k.open1(k.c.find(name, false), "", readonly, true)
}

// OpenTrashed implements rbd.Driver.
func (k *Client) OpenTrashed(id string) (rbd.Handle, error) {
	if err := k.enter("", false); err != nil {
		return nil, err
	}
	defer k.leave()
	return k.open1(k.c.images[id], "", false, false)
}

func (h *handle) enter(op string) error { return h.k.enter(op, h.data) }
func (h *handle) leave()                { h.k.leave() }

// Identity implements rbd.Handle.
func (h *handle) Identity() (rbd.Identity, error) {
	return rbd.Identity{Name: h.i.name, ID: h.i.id}, nil
}

// Size implements rbd.Handle.
func (h *handle) Size() (int64, error) {
	if err := h.enter(""); err != nil {
		return 0, err
	}
	defer h.leave()
	return h.size(), nil
}

func (h *handle) size() int64 {
	if h.snap != nil {
		return h.snap.size
	}
	return h.i.size
}

// Resize implements rbd.Handle.
func (h *handle) Resize(size int64) error {
	if err := h.enter("resize"); err != nil {
		return err
	}
	defer h.leave()
	if size < h.i.size {
		for at := range h.i.whole() {
			switch start := at * objectSize; {
			case start >= size:
				h.i.put(at, 0, make([]byte, objectSize))
				delete(h.i.data, at)
			case start+objectSize > size:
				h.i.put(at, size-start, make([]byte, start+objectSize-size))
			}
		}
		if h.i.parent != nil && h.i.parent.size > size { // librbd keeps an overlap; to copy what is left is the same
			h.i.data, h.i.parent = h.i.whole(), nil
			for at := range h.i.data {
				if at*objectSize >= size {
					delete(h.i.data, at)
				}
			}
			h.k.c.settle()
		}
	}
	h.i.size = size
	return nil
}

// whole returns the objects of an image with those of its parents.
func (i *image) whole() map[int64][]byte { return merged(i.data, i.parent) }

func merged(data map[int64][]byte, parent *snapshot) map[int64][]byte {
	all := map[int64][]byte{}
	if parent != nil {
		for at, object := range merged(parent.data, parent.parent) {
			if at*objectSize < parent.size {
				all[at] = object
			}
		}
	}
	maps.Copy(all, data)
	return all
}

func (h *handle) objects() map[int64][]byte {
	if h.snap != nil {
		return merged(h.snap.data, h.snap.parent)
	}
	return h.i.whole()
}

func (i *image) put(at, off int64, p []byte) {
	object := make([]byte, objectSize)
	copy(object, i.whole()[at])
	copy(object[off:], p)
	i.data[at] = object
}

// ReadAt implements rbd.Handle.
func (h *handle) ReadAt(p []byte, off int64) error {
	if err := h.enter(""); err != nil {
		return err
	}
	defer h.leave()
	if off+int64(len(p)) > h.size() {
		return syscall.EINVAL
	}
	objects := h.objects()
	for n := 0; n < len(p); {
		at, in := (off+int64(n))/objectSize, (off+int64(n))%objectSize
		end := min(n+int(objectSize-in), len(p))
		clear(p[n:end])
		if object := objects[at]; object != nil {
			copy(p[n:end], object[in:])
		}
		n = end
	}
	return nil
}

// WriteAt implements rbd.Handle.
func (h *handle) WriteAt(p []byte, off int64) error {
	if err := h.enter("write"); err != nil {
		return err
	}
	defer h.leave()
	return h.write(p, off)
}

// WriteVectorAt implements rbd.Handle.
func (h *handle) WriteVectorAt(pieces [][]byte, off int64) error {
	return h.WriteAt(slices.Concat(pieces...), off)
}

// WriteZeroes implements rbd.Handle.
func (h *handle) WriteZeroes(off, length int64) error { return h.WriteAt(make([]byte, length), off) }

func (h *handle) write(p []byte, off int64) error {
	switch {
	case h.readonly:
		return syscall.EROFS
	case h.i.owner != "" && h.i.owner != h.k.name:
		return syscall.EROFS
	case off+int64(len(p)) > h.i.size:
		return syscall.EINVAL
	}
	for len(p) > 0 {
		at, in := off/objectSize, off%objectSize
		n := min(int64(len(p)), objectSize-in)
		h.i.put(at, in, p[:n])
		p, off = p[n:], off+n
	}
	return nil
}

// Discard implements rbd.Handle.
func (h *handle) Discard(off, length int64) error {
	if err := h.enter("discard"); err != nil {
		return err
	}
	defer h.leave()
	for length > 0 {
		n := min(length, objectSize-off%objectSize)
		if err := h.write(make([]byte, n), off); err != nil {
			return err
		}
		if at := off / objectSize; h.i.parent == nil && len(bytes.Trim(h.i.data[at], "\x00")) == 0 {
			delete(h.i.data, at)
		}
		off, length = off+n, length-n
	}
	return nil
}

// Flush implements rbd.Handle.
func (h *handle) Flush() error {
	if err := h.enter("flush"); err != nil {
		return err
	}
	h.leave()
	return nil
}

// Extents implements rbd.Handle.
func (h *handle) Extents(off, length int64, fn func(off, length int64) bool) error {
	if err := h.enter(""); err != nil {
		return err
	}
	objects := h.objects()
	h.leave()
	for _, at := range slices.Sorted(maps.Keys(objects)) {
		start, end := max(at*objectSize, off), min((at+1)*objectSize, off+length)
		if start < end && !fn(start, end-start) {
			break
		}
	}
	return nil
}

// Modified implements rbd.Handle.
func (h *handle) Modified() (time.Time, error) { return modified, nil }

// Snap implements rbd.Handle.
func (h *handle) Snap(name string) error {
	if err := h.enter("snap"); err != nil {
		return err
	}
	defer h.leave()
	if h.i.snap(name) != nil {
		return syscall.EEXIST
	}
	data := map[int64][]byte{}
	for at, object := range h.i.data {
		data[at] = bytes.Clone(object)
	}
	h.i.snaps = append(h.i.snaps, &snapshot{of: h.i, name: name, size: h.i.size, data: data, parent: h.i.parent})
	return nil
}

// Unsnap implements rbd.Handle.
func (h *handle) Unsnap(name string) error {
	if err := h.enter("unsnap"); err != nil {
		return err
	}
	defer h.leave()
	s := h.i.snap(name)
	if s == nil {
		return syscall.ENOENT
	}
	s.hidden = true
	h.k.c.settle()
	return nil
}

// Snaps implements rbd.Handle.
func (h *handle) Snaps() (names []string, err error) {
	if err := h.enter(""); err != nil {
		return nil, err
	}
	defer h.leave()
	for _, s := range h.i.snaps {
		if !s.hidden {
			names = append(names, s.name)
		}
	}
	return names, nil
}

// Flatten implements rbd.Handle.
func (h *handle) Flatten(progress func(done, total int64)) error {
	if err := h.enter("flatten"); err != nil {
		return err
	}
	defer h.leave()
	h.i.data, h.i.parent = h.i.whole(), nil
	h.k.c.settle()
	progress(1, 1)
	return nil
}

// Parent implements rbd.Handle.
func (h *handle) Parent() (rbd.Identity, error) {
	if err := h.enter(""); err != nil {
		return rbd.Identity{}, err
	}
	defer h.leave()
	if h.i.parent == nil {
		return rbd.Identity{}, nil
	}
	return rbd.Identity{Name: h.i.parent.of.name, ID: h.i.parent.of.id}, nil
}

// Acquire implements rbd.Handle.
func (h *handle) Acquire() error {
	if err := h.enter(""); err != nil {
		return err
	}
	defer h.leave()
	if h.i.owner != "" && h.i.owner != h.k.name && h.i.alive(h.i.owner) {
		return syscall.EROFS
	}
	h.i.owner = h.k.name
	return nil
}

// Owner implements rbd.Handle.
func (h *handle) Owner() (string, error) {
	if err := h.enter(""); err != nil {
		return "", err
	}
	defer h.leave()
	return h.i.owner, nil
}

// Alive implements rbd.Handle.
func (h *handle) Alive(owner string) (bool, error) {
	if err := h.enter(""); err != nil {
		return true, err
	}
	defer h.leave()
	return h.i.alive(owner), nil
}

// Shared implements rbd.Handle.
func (h *handle) Shared(owner string) (bool, error) {
	if err := h.enter(""); err != nil {
		return true, err
	}
	defer h.leave()
	for w := range h.i.watchers {
		if w.k.name != owner {
			return true, nil
		}
	}
	return false, nil
}

func (i *image) alive(owner string) bool {
	for w := range i.watchers {
		if w.k.name == owner {
			return true
		}
	}
	return false
}

// Break implements rbd.Handle.
func (h *handle) Break(owner string) error {
	if err := h.enter(""); err != nil {
		return err
	}
	defer h.leave()
	if h.i.owner != owner {
		return syscall.ENOENT
	}
	for w := range h.i.watchers {
		if w.k.name == owner {
			w.k.blocked = true
			delete(h.i.watchers, w)
		}
	}
	h.i.owner = ""
	return nil
}

// Note implements rbd.Handle.
func (h *handle) Note(key string) (string, error) {
	if err := h.enter(""); err != nil {
		return "", err
	}
	defer h.leave()
	return h.i.notes[key], nil
}

// SetNote implements rbd.Handle.
func (h *handle) SetNote(key, value string) error {
	if err := h.enter("note"); err != nil {
		return err
	}
	defer h.leave()
	h.i.notes[key] = strings.Clone(value)
	return nil
}

// Close implements rbd.Handle.
func (h *handle) Close() error {
	h.k.c.mu.Lock()
	defer h.k.c.mu.Unlock()
	if !h.k.open[h] {
		return nil
	}
	delete(h.k.open, h)
	delete(h.i.watchers, h)
	if !h.readonly && h.i.owner == h.k.name && h.data {
		h.i.owner = ""
	}
	return nil
}
