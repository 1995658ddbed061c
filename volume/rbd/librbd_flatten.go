//go:build ceph

package rbd

// #include "librbd_aio.h"
//
// extern int flattened(uint64_t done, uint64_t total, uintptr_t told);
//
// static int flattening(uint64_t done, uint64_t total, void *told) {
//	return flattened(done, total, (uintptr_t)told);
// }
//
// static int flatten(rbd_image_t image, uintptr_t told) {
//	return rbd_flatten_with_progress(image, flattening, (void *)told);
// }
import "C"

import "runtime/cgo"

func (h *image) Flatten(progress func(done, total int64)) error {
	told := cgo.NewHandle(progress)
	defer told.Delete()
	return failure(C.flatten(h.i, C.uintptr_t(told)))
}

//export flattened
func flattened(done, total C.uint64_t, told C.uintptr_t) C.int {
	progress, _ := cgo.Handle(told).Value().(func(done, total int64))
	progress(int64(done), int64(total))
	return 0
}
