//go:build ceph

package rbd

// #cgo LDFLAGS: -lrados
// #include <rados/librados.h>
import "C"

import (
	"runtime"

	"github.com/ceph/go-ceph/rados"
)

// hangUp ends a connection, also one that was never let in. go-ceph's Shutdown leaves such a one to the garbage collector, which knows
// nothing of its threads and buffers.
func hangUp(conn *rados.Conn) {
	runtime.SetFinalizer(conn, nil) // that would do the same again
	C.rados_shutdown(C.rados_t(conn.Cluster()))
}
