package pdu

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spin looks again and again, for some time, whether there is something to read, and reports that. In between every other thread that
// wants the processor gets it. Package runtime is told of none of the system calls: they return at once.
func (l *lazyConn) spin(fd uintptr, most time.Duration) bool {
	var now unix.Timespec // no time
	for began := time.Now(); ; {
		l.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		n, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&l.poll[0])), 1, //nolint:gosec // the call's own form
			uintptr(unsafe.Pointer(&now)), 0, 0, 0) //nolint:gosec // the same
		if errno == 0 && n > 0 {
			return true
		}
		if time.Since(began) >= most {
			return false
		}
		_, _, _ = syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
}
