package qemu

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// kick is the eventfd that wakes the daemon. It is one open file for both sides, and the daemon could make it block, and fill it.
type kick int

func newKick() (kick, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return 0, fmt.Errorf("make an eventfd: %w", err)
	}
	return kick(fd), nil
}

// one is what is added to an eventfd.
var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// send wakes the daemon. If that fails it is awake or gone, of which others take note.
func (k kick) send() { _, _ = unix.Write(int(k), one) }

// drain lets go on who is in send, however the daemon left the eventfd.
func (k kick) drain() {
	fds := []unix.PollFd{{Fd: int32(k), Events: unix.POLLIN}}
	if n, _ := unix.Poll(fds, 0); n == 1 {
		_, _ = unix.Read(int(k), make([]byte, 8))
	}
}

func (k kick) close() { _ = unix.Close(int(k)) }

// newCall makes what the daemon wakes us with. It takes it for an eventfd. But a socket has two ends: what it does to its own does not
// reach ours, and that it is gone does.
func newCall() (ours *nbdStream, theirs *os.File, err error) {
	conn, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	if ours, err = newNBDStream(conn); err != nil {
		theirs.Close() //nolint:errcheck,gosec // nothing was written
		return nil, nil, err
	}
	return ours, theirs, nil
}
