package qemu

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

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

// signals is our end of what the daemon wakes us with. Reading blocks a thread: the runtime's poller would cost more than it saves. There is
// somebody who reads only while a request is under way, and each signal would wake, besides who waits for it, the thread that polls.
type signals struct {
	file *os.File
	raw  syscall.RawConn
}

// newCall makes what the daemon wakes us with. It takes it for an eventfd. But a socket has two ends: what it does to its own does not
// reach ours, and that it is gone does.
func newCall() (ours *signals, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	ours, theirs = &signals{file: os.NewFile(uintptr(fds[0]), "call")}, os.NewFile(uintptr(fds[1]), "call")
	if ours.raw, err = ours.file.SyscallConn(); err != nil {
		return nil, nil, errors.Join(err, ours.file.Close(), theirs.Close())
	}
	return ours, theirs, nil
}

// wait waits until the daemon signals, and takes what it has signalled.
func (s *signals) wait() error {
	var b [64]byte
	n, err := s.file.Read(b[:])
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// drain takes what was signalled, and does not wait.
func (s *signals) drain() {
	var b [512]byte
	_ = s.raw.Control(func(fd uintptr) {
		for {
			if n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_DONTWAIT); n < len(b) || err != nil {
				return
			}
		}
	})
}

// shutdown ends a wait that is under way, and those to come.
func (s *signals) shutdown() {
	_ = s.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
}

// close frees it.
func (s *signals) close() { _ = s.file.Close() }
