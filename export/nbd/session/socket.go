package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"elstore/export/nbd"
	"elstore/volume"
	"elstore/volume/fault"
)

// Sockets is a directory with a unix socket for each attachment that only this server's user, and root, can connect to.
type Sockets struct{ dir string }

// socketSuffix ends the name of a socket.
const socketSuffix = ".nbd"

// maxPath is the longest path of a unix socket, in bytes; unix(7).
const maxPath = 107

// NewSockets makes the directory with mode 0700, and removes sockets that a process before left in it.
func NewSockets(dir string) (*Sockets, error) {
	if dir == "" {
		return nil, errors.New("sockets of NBD exports need a directory")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("sockets of NBD exports: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"+socketSuffix))
	if err != nil {
		return nil, err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("sockets of NBD exports: %w", err)
		}
	}
	return &Sockets{dir}, nil
}

// Path is that of an attachment's socket: the same after a restart.
func (s *Sockets) Path(id volume.ID) string { return filepath.Join(s.dir, id.String()+socketSuffix) }

// Check refuses where no socket can be made.
func (s *Sockets) Check() error {
	if len(s.Path(volume.ID{})) > maxPath {
		return fault.Errorf(fault.BadRequest, "this server can't make exports of this type: the path of its sockets would be longer than %d bytes; give it a shorter --state", maxPath)
	}
	return nil
}

// Socket is one that is served.
type Socket struct {
	listener *net.UnixListener
	path     string
	serving  sync.WaitGroup
}

// Listen makes an attachment's socket, and serves who connects until Close.
func (s *Sockets) Listen(id volume.ID, a *Attachment) (*Socket, error) {
	k := &Socket{path: s.Path(id)}
	if err := os.Remove(k.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.FromOS("make the socket", err)
	}
	var err error
	if k.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: k.path, Net: "unix"}); err != nil {
		return nil, fault.FromOS("make the socket", err)
	}
	if err := os.Chmod(k.path, 0o600); err != nil { // its directory has kept others out until now
		return nil, errors.Join(fault.FromOS("make the socket", err), k.listener.Close())
	}
	k.serving.Go(func() { k.accept(a) })
	return k, nil
}

// Close removes the socket. Who is connected stays so until the Attachment's End.
func (k *Socket) Close() {
	_ = k.listener.Close()
	k.serving.Wait()
}

// maxAcceptDelay is how long accepting pauses at most where the machine lacks what it takes, such as descriptors.
const maxAcceptDelay = time.Second

// accept serves whoever connects, until the listener is closed.
func (k *Socket) accept(a *Attachment) {
	var delay time.Duration
	for {
		conn, err := k.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			delay = min(max(2*delay, time.Millisecond), maxAcceptDelay)
			select {
			case <-time.After(delay):
			case <-a.ctx.Done():
			}
			continue
		}
		delay = 0
		go func() { // Attachment.End waits for what it lets in
			defer conn.Close()
			_ = a.Serve(peer(conn), k.path, func(ctx context.Context, e nbd.Export) error { return nbd.Serve(ctx, conn, e) })
		}()
	}
}

// peer says which process is connected; unix(7), SO_PEERCRED.
func peer(conn *net.UnixConn) string {
	raw, err := conn.SyscallConn()
	if err != nil {
		return "a process"
	}
	name := "a process"
	_ = raw.Control(func(fd uintptr) {
		if c, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			name = fmt.Sprintf("process %d of user %d", c.Pid, c.Uid)
		}
	})
	return name
}
