package pool

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// watchMounts sends on changed when something is mounted or unmounted, which directories don't tell of, until
// stop is called, which waits. Where the system can't tell, nothing is sent.
func watchMounts(changed chan<- struct{}) (stop func()) {
	// Not an os.File: the runtime would poll it too, and a change shows only in the first poll after it.
	mounts, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return func() {}
	}
	r, w, err := os.Pipe()
	if err != nil {
		_ = unix.Close(mounts)
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for pollMounts(mounts, int(r.Fd())) {
			select {
			case changed <- struct{}{}:
			default: // it is known already
			}
		}
	}()
	return func() {
		_ = w.Close()
		<-done
		_ = r.Close()
		_ = unix.Close(mounts)
	}
}

// pollMounts waits until the mounts changed. It returns false when stop was closed at its other end, or the
// system can't tell of changes.
func pollMounts(mounts, stop int) bool {
	fds := []unix.PollFd{{Fd: int32(mounts), Events: unix.POLLPRI}, {Fd: int32(stop), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && fds[1].Revents == 0 && fds[0].Revents&(unix.POLLPRI|unix.POLLERR) != 0
	}
}
