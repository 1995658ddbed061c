//go:build ceph

package rbd

// #cgo LDFLAGS: -lrbd
// #cgo nocallback aio_take
// #cgo noescape aio_take
// #include <stdlib.h>
// #include "librbd_aio.h"
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// queue has requests to images under way, none of which needs a thread while it waits, nor memory that others did not use before. Its
// methods may be called at the same time, but for close, which is the last.
type queue struct {
	list *C.struct_aio_list
	wake *os.File // the list's eventfd
	done chan struct{}

	mu   sync.Mutex
	all  []*request // by number
	free []*request
}

// request is a place for a request.
type request struct {
	c    *C.struct_aio_request
	done chan struct{}
	pins runtime.Pinner // of the data
}

// maxPieces is how many pieces of data a place keeps room for when its request is over.
const maxPieces = 256

func newQueue() (*queue, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	q := &queue{
		list: (*C.struct_aio_list)(C.calloc(1, C.sizeof_struct_aio_list)),
		wake: os.NewFile(uintptr(fd), "eventfd"),
		done: make(chan struct{}),
	}
	q.list.wake = C.int(fd)
	go q.deliver()
	return q, nil
}

// deliver tells those who wait that their requests are over, until the eventfd is closed.
func (q *queue) deliver() {
	defer close(q.done)
	var count [8]byte
	for {
		if _, err := q.wake.Read(count[:]); err != nil {
			return
		}
		r := C.aio_take(q.list)
		q.mu.Lock()
		for r != nil {
			next := r.next // r is whoever's waits for it from now on
			q.all[r.number].done <- struct{}{}
			r = next
		}
		q.mu.Unlock()
	}
}

// get returns a place that is free.
func (q *queue) get() *request {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.free); n > 0 {
		r := q.free[n-1]
		q.free = q.free[:n-1]
		return r
	}
	r := &request{
		c:    (*C.struct_aio_request)(C.calloc(1, C.sizeof_struct_aio_request)),
		done: make(chan struct{}, 1),
	}
	r.c.list, r.c.number = q.list, C.uint32_t(len(q.all))
	q.all = append(q.all, r)
	return r
}

func (q *queue) put(r *request) {
	r.c.count = 0
	if r.c.room > maxPieces {
		C.free(unsafe.Pointer(r.c.pieces))
		r.c.pieces, r.c.room = nil, 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free = append(q.free, r)
}

// data has the request read into the pieces, or write them. They must not be changed until it is over.
func (r *request) data(pieces ...[]byte) {
	if n := C.uint32_t(len(pieces)); n > r.c.room {
		C.free(unsafe.Pointer(r.c.pieces))
		r.c.pieces = (*C.struct_aio_piece)(C.calloc(C.size_t(n), C.sizeof_struct_aio_piece))
		r.c.room = n
	}
	list := unsafe.Slice(r.c.pieces, r.c.room)
	for _, p := range pieces {
		if len(p) == 0 {
			continue
		}
		r.pins.Pin(&p[0])
		list[r.c.count] = C.struct_aio_piece{at: C.uintptr_t(uintptr(unsafe.Pointer(&p[0]))), length: C.size_t(len(p))}
		r.c.count++
	}
}

// run has an image do a request, gives the place back, and returns what librbd says: how many bytes were read, or 0.
func (q *queue) run(i C.rbd_image_t, r *request, op C.int, off, length int64) (int64, error) {
	defer q.put(r)
	defer r.pins.Unpin()
	result := int64(C.aio_submit(i, r.c, op, C.uint64_t(off), C.uint64_t(length)))
	if result == 0 {
		<-r.done
		result = int64(r.c.result)
	}
	if result < 0 {
		return 0, syscall.Errno(-result)
	}
	return result, nil
}

// close frees the queue. No request is under way.
func (q *queue) close() {
	C.aio_quiet(q.list)
	_ = q.wake.Close()
	<-q.done
	for _, r := range q.all {
		C.free(unsafe.Pointer(r.c.pieces))
		C.free(unsafe.Pointer(r.c))
	}
	C.free(unsafe.Pointer(q.list))
}
