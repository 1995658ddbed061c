package qemu

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// door is where a daemon makes a socket by itself: QEMU can't inherit one for an export that begins later. It is in a directory
// that nobody else may enter, and has a name until we have connected, as the only one who may.
type door struct {
	dir string
	at  *os.File // the directory, to be inherited
}

// doorName is the socket's name in the directory.
const doorName = "queue"

// newDoor makes a directory for the socket, below dir.
func newDoor(dir string) (*door, error) {
	dir, err := os.MkdirTemp(dir, "elstore-queue-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for a socket: %w", err)
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		_ = os.Remove(dir) //nolint:gosec // it was made here
		return nil, fmt.Errorf("open a directory for a socket: %w", err)
	}
	return &door{dir, os.NewFile(uintptr(fd), dir)}, nil
}

// rule lets the daemon make its socket.
func (d *door) rule() fileRule {
	return fileRule{d.dir, unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE}
}

// path is the socket's where the directory is descriptor fd: its own may be longer than a socket's may be.
func (d *door) path(fd int) string { return fmt.Sprintf("/proc/self/fd/%d/%s", fd, doorName) }

// enter connects, and takes the name away.
func (d *door) enter(ctx context.Context) (net.Conn, error) {
	defer d.close()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", d.path(int(d.at.Fd())))
	if err != nil {
		return nil, fmt.Errorf("connect to the queue of the storage daemon: %w", err)
	}
	return c, nil
}

// close removes the directory. The daemon has it open, and can't make anything in it any more.
func (d *door) close() {
	_ = os.RemoveAll(d.dir) //nolint:gosec // it was made here
	_ = d.at.Close()
}
