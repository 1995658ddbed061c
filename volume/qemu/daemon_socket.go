package qemu

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// socketPair returns two ends of a stream: one as a connection, one to be inherited.
func socketPair() (ours net.Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "qmp"), os.NewFile(uintptr(fds[1]), "qmp")
	defer mine.Close()
	if ours, err = net.FileConn(mine); err != nil {
		theirs.Close() //nolint:errcheck,gosec // nothing was written
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	return ours, theirs, nil
}

// rendezvous is a listening Unix socket that has no name in any file system: only who has this can connect to it.
type rendezvous struct {
	listener *os.File // to be inherited by who accepts
	path     *os.File // the socket's inode, opened with O_PATH
}

// backlog is how many connections may wait to be accepted.
const backlog = 16

// newRendezvous makes one. The socket has a name for a moment, in a directory of its own below dir, which nobody else may
// enter.
func newRendezvous(dir string) (*rendezvous, error) {
	dir, err := os.MkdirTemp(dir, "elstore-nbd-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for a socket: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // an empty directory is left
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a directory for a socket: %w", err)
	}
	defer unix.Close(at) //nolint:errcheck // nothing was written
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	r := &rendezvous{listener: os.NewFile(uintptr(fd), "nbd")}
	// A socket's path may have 107 bytes, and dir is what the administrator wants.
	if err := r.bind(fd, fmt.Sprintf("/proc/self/fd/%d/nbd", at)); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *rendezvous) bind(fd int, name string) error {
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		return fmt.Errorf("bind a socket: %w", err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	path, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("open a socket's name: %w", err)
	}
	r.path = os.NewFile(uintptr(path), "nbd")
	return nil
}

// accepting closes the listener: whoever inherited it has it now.
func (r *rendezvous) accepting() {
	r.listener.Close() //nolint:errcheck,gosec // nothing was written
}

// dial connects.
func (r *rendezvous) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	// The link in /proc leads to the inode, whatever its name was.
	c, err := d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", r.path.Fd()))
	if err != nil {
		return nil, fmt.Errorf("connect to the storage daemon: %w", err)
	}
	return c, nil
}

func (r *rendezvous) close() {
	r.listener.Close() //nolint:errcheck,gosec // it may be closed already
	if r.path != nil {
		r.path.Close() //nolint:errcheck,gosec // nothing was written
	}
}
