//go:build ceph

package rbd

// #include <stdlib.h>
// #include "librbd_aio.h"
import "C"

import (
	"io"
	"syscall"
	"time"
	"unsafe"

	"github.com/ceph/go-ceph/rados"
)

// image is the Handle of an image of the real cluster. It is not go-ceph's, which has no requests but such as block a thread.
type image struct {
	q    *queue
	i    C.rbd_image_t
	name string
}

var _ Handle = (*image)(nil)

// opening says which image is opened, and how.
type opening struct {
	name     string
	id       string // instead of the name
	snap     string
	readonly bool
}

func openImage(q *queue, pool *rados.IOContext, o opening) (Handle, error) {
	var snap *C.char
	if o.snap != "" {
		snap = C.CString(o.snap)
		defer C.free(unsafe.Pointer(snap))
	}
	which := o.name
	if o.id != "" {
		which = o.id
	}
	name := C.CString(which)
	defer C.free(unsafe.Pointer(name))
	io := C.rados_ioctx_t(pool.Pointer())
	h := &image{q: q}
	var result C.int
	switch {
	case o.id != "" && o.readonly:
		result = C.rbd_open_by_id_read_only(io, name, &h.i, snap)
	case o.id != "":
		result = C.rbd_open_by_id(io, name, &h.i, snap)
	case o.readonly:
		result = C.rbd_open_read_only(io, name, &h.i, snap)
	default:
		result = C.rbd_open(io, name, &h.i, snap)
	}
	if err := failure(result); err != nil {
		return nil, err
	}
	return h, nil
}

// failure is the error of what librbd returns.
func failure(result C.int) error {
	if result < 0 {
		return syscall.Errno(-result)
	}
	return nil
}

func (h *image) ReadAt(p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	r := h.q.get()
	r.data(p)
	n, err := h.q.run(h.i, r, C.AIO_READ, off, 0)
	if err == nil && n < int64(len(p)) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (h *image) WriteAt(p []byte, off int64) error { return h.WriteVectorAt([][]byte{p}, off) }

func (h *image) WriteVectorAt(pieces [][]byte, off int64) error {
	r := h.q.get()
	r.data(pieces...)
	if r.c.count == 0 {
		h.q.put(r)
		return nil
	}
	_, err := h.q.run(h.i, r, C.AIO_WRITE, off, 0)
	return err
}

func (h *image) Discard(off, length int64) error { return h.request(C.AIO_DISCARD, off, length) }

func (h *image) WriteZeroes(off, length int64) error { return h.request(C.AIO_ZERO, off, length) }

func (h *image) Flush() error { return h.request(C.AIO_FLUSH, 0, 0) }

func (h *image) request(op C.int, off, length int64) error {
	_, err := h.q.run(h.i, h.q.get(), op, off, length)
	return err
}

// extentsAtOnce is how many extents librbd is asked for at a time.
const extentsAtOnce = 4096

func (h *image) Extents(off, length int64, fn func(off, length int64) bool) error {
	for end := off + length; off < end; {
		list := make([]C.struct_aio_extent, extentsAtOnce)
		n := C.aio_extents(h.i, C.uint64_t(off), C.uint64_t(end-off), &list[0], extentsAtOnce)
		if err := failure(n); err != nil {
			return err
		}
		for _, e := range list[:n] {
			if !fn(int64(e.off), int64(e.length)) {
				return nil
			}
			off = int64(e.off + e.length)
		}
		if n < extentsAtOnce {
			return nil
		}
	}
	return nil
}

func (h *image) Identity() (Identity, error) {
	var name, id [256]C.char
	room := C.size_t(len(name))
	err := failure(C.rbd_get_name(h.i, &name[0], &room))
	if err == nil {
		err = failure(C.rbd_get_id(h.i, &id[0], C.size_t(len(id))))
	}
	return Identity{Name: C.GoString(&name[0]), ID: C.GoString(&id[0])}, err
}

func (h *image) Size() (int64, error) {
	var size C.uint64_t
	err := failure(C.rbd_get_size(h.i, &size))
	return int64(size), err
}

func (h *image) Resize(size int64) error { return failure(C.rbd_resize(h.i, C.uint64_t(size))) }

func (h *image) Modified() (time.Time, error) {
	var t C.struct_timespec
	err := failure(C.rbd_get_modify_timestamp(h.i, &t))
	return time.Unix(int64(t.tv_sec), int64(t.tv_nsec)).UTC(), err
}

func (h *image) Parent() (Identity, error) {
	var of C.rbd_linked_image_spec_t
	var snap C.rbd_snap_spec_t
	err := failure(C.rbd_get_parent(h.i, &of, &snap))
	if errno(err) == syscall.ENOENT {
		return Identity{}, nil
	}
	if err != nil {
		return Identity{}, err
	}
	defer C.rbd_linked_image_spec_cleanup(&of)
	defer C.rbd_snap_spec_cleanup(&snap)
	return Identity{Name: C.GoString(of.image_name), ID: C.GoString(of.image_id)}, nil
}

func (h *image) Close() error { return failure(C.rbd_close(h.i)) }
