//go:build ceph

package rbd

// #include <stdlib.h>
// #include "librbd_aio.h"
import "C"

import (
	"slices"
	"syscall"
	"unsafe"
)

// grown calls list with room for more and more elements, until librbd does not say that they are too few.
func grown(list func(room int) C.int) error {
	const first, most = 64, 1 << 20
	for room := first; ; room *= 4 {
		err := failure(list(room))
		if errno(err) != syscall.ERANGE || room >= most {
			return err
		}
	}
}

func (h *image) Snap(name string) error {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return failure(C.rbd_snap_create(h.i, c))
}

func (h *image) Unsnap(name string) error {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return failure(C.rbd_snap_remove(h.i, c))
}

func (h *image) Snaps() (names []string, err error) {
	var snaps []C.rbd_snap_info_t
	var count C.int
	err = grown(func(room int) C.int {
		snaps, count = make([]C.rbd_snap_info_t, room), C.int(room)
		count = C.rbd_snap_list(h.i, &snaps[0], &count)
		return min(count, 0)
	})
	if err != nil {
		return nil, err
	}
	if count > 0 {
		defer C.rbd_snap_list_end(&snaps[0])
	}
	for _, s := range snaps[:count] {
		var kind C.rbd_snap_namespace_type_t
		if err := failure(C.rbd_snap_get_namespace_type(h.i, s.id, &kind)); err != nil {
			return nil, err
		}
		if kind != C.RBD_SNAP_NAMESPACE_TYPE_TRASH { // which are those that only clones need
			names = append(names, C.GoString(s.name))
		}
	}
	return names, nil
}

func (h *image) Acquire() error {
	return failure(C.rbd_lock_acquire(h.i, C.RBD_LOCK_MODE_EXCLUSIVE))
}

func (h *image) Owner() (owner string, err error) {
	const most = 8 // an exclusive lock has one
	var owners [most]*C.char
	var mode C.rbd_lock_mode_t
	count := C.size_t(most)
	err = failure(C.rbd_lock_get_owners(h.i, &mode, &owners[0], &count))
	if errno(err) == syscall.ENOENT {
		return "", nil
	}
	if err != nil || count == 0 {
		return "", err
	}
	defer C.rbd_lock_get_owners_cleanup(&owners[0], count)
	return C.GoString(owners[0]), nil
}

func (h *image) Break(owner string) error {
	c := C.CString(owner)
	defer C.free(unsafe.Pointer(c))
	return failure(C.rbd_lock_break(h.i, C.RBD_LOCK_MODE_EXCLUSIVE, c))
}

// watchers are the addresses of those who have the image open for writing.
func (h *image) watchers() (addresses []string, err error) {
	var list []C.rbd_image_watcher_t
	var count C.size_t
	err = grown(func(room int) C.int {
		list, count = make([]C.rbd_image_watcher_t, room), C.size_t(room)
		return C.rbd_watchers_list(h.i, &list[0], &count)
	})
	if err != nil || count == 0 {
		return nil, err
	}
	defer C.rbd_watchers_list_cleanup(&list[0], count)
	for _, w := range list[:count] {
		addresses = append(addresses, C.GoString(w.addr))
	}
	return addresses, nil
}

func (h *image) Alive(owner string) (bool, error) {
	all, err := h.watchers()
	return err != nil || slices.Contains(all, owner), err
}

func (h *image) Shared(owner string) (bool, error) {
	all, err := h.watchers()
	return err != nil || slices.ContainsFunc(all, func(a string) bool { return a != owner }), err
}

func (h *image) Note(key string) (value string, err error) {
	k := C.CString(key)
	defer C.free(unsafe.Pointer(k))
	err = grown(func(room int) C.int {
		text := make([]C.char, room)
		length := C.size_t(room)
		result := C.rbd_metadata_get(h.i, k, &text[0], &length)
		if result >= 0 {
			value = C.GoString(&text[0])
		}
		return result
	})
	if errno(err) == syscall.ENOENT {
		return "", nil
	}
	return value, err
}

func (h *image) SetNote(key, value string) error {
	k, v := C.CString(key), C.CString(value)
	defer C.free(unsafe.Pointer(k))
	defer C.free(unsafe.Pointer(v))
	return failure(C.rbd_metadata_set(h.i, k, v))
}
