package qemu

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// door is where a daemon makes a socket by itself: QEMU can't inherit one for an export that begins later. It is in a directory
// that nobody else may enter, and has a name until we have found it. Who has its inode can connect from then on, and nobody else.
type door struct {
	at *os.File // the directory, to be inherited

	mu     sync.Mutex
	dir    string   // what it is called, or "" when it is removed
	socket *os.File // the socket's inode, opened with O_PATH, once it is found
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
	return &door{dir: dir, at: os.NewFile(uintptr(fd), dir)}, nil
}

// rule lets the daemon make its socket.
func (d *door) rule() fileRule {
	return fileRule{d.dir, unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE}
}

// path is the socket's where the directory is descriptor fd: its own may be longer than a socket's may be.
func (d *door) path(fd int) string { return fmt.Sprintf("/proc/self/fd/%d/%s", fd, doorName) }

// enter connects. The first time it takes the name away.
func (d *door) enter(ctx context.Context) (net.Conn, error) {
	socket, err := d.find()
	if err != nil {
		return nil, fmt.Errorf("find the queue of the storage daemon: %w", err)
	}
	var dialer net.Dialer
	// The link in /proc leads to the inode, whatever its name was.
	c, err := dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", socket.Fd()))
	if err != nil {
		return nil, fmt.Errorf("connect to the queue of the storage daemon: %w", err)
	}
	return c, nil
}

// find returns the socket.
func (d *door) find() (*os.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.socket != nil {
		return d.socket, nil
	}
	defer d.remove()
	fd, err := unix.Open(d.path(int(d.at.Fd())), unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	d.socket = os.NewFile(uintptr(fd), doorName)
	return d.socket, nil
}

// close removes what is left. Nobody can connect any more.
func (d *door) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remove()
	if d.socket != nil {
		_ = d.socket.Close()
	}
}

// remove removes the directory, once: somebody else's may get the same name. The daemon has it open, and can't make anything in it
// any more.
func (d *door) remove() {
	if d.dir != "" {
		_ = os.RemoveAll(d.dir) //nolint:gosec // it was made here
		_ = d.at.Close()
		d.dir = ""
	}
}
