package samba

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"

	"elstore/export/samba/fuse"
)

// host is what serves the files of all attachments.
type host struct {
	files  *fuse.Server
	served chan error
	server server
	port   int // of server
}

// server is an smbd, and what it is told. Its methods may be called at the same time.
type server interface {
	// put makes a share, or replaces its user's password. It stands when nil is returned.
	put(ctx context.Context, s share) error
	// drop removes a share and its user, and closes it for those who use it.
	drop(ctx context.Context, name string) error
	// cut ends the connections to a share. Those who may come back do so by themselves.
	cut(ctx context.Context, name string) error
	// uid takes a user id for a user: a connection that was authenticated for an attachment may outlive it, and smbd would take it
	// for whoever had the same id next.
	uid(name string) (uint32, error)
	// guest is the user id of guests.
	guest() uint32
	// close ends what was begun. No shares are left.
	close(ctx context.Context) error
}

// newOwnHost starts an smbd of our own.
func newOwnHost(cfg *Config) (*host, error) {
	c, dev, err := newCell()
	if err != nil {
		return nil, err
	}
	h := newHost(cfg, dev)
	at := cfg.Listener.Addr().(*net.TCPAddr) //nolint:forcetypeassert // as New saw
	h.port = at.Port
	if err = cfg.Listener.Close(); err == nil || errors.Is(err, net.ErrClosed) {
		h.server, err = startSMBD(c, at, cfg.Guests, cfg.Log)
	}
	if err != nil {
		c.close()
		return nil, errors.Join(err, h.files.Close(), <-h.served)
	}
	return h, nil
}

// newHost begins to answer what comes to a mount.
func newHost(cfg *Config, dev *os.File) *host {
	h := &host{files: fuse.NewServer(dev), served: make(chan error, 1)}
	go func() {
		err := h.files.Serve()
		if err != nil {
			cfg.Log.Error("exports over SMB don't reach their volumes any more", slog.Any("error", err))
		}
		h.served <- err
	}()
	return h
}

// close ends smbd, or what it has of ours, and then all else.
func (h *host) close(ctx context.Context) error {
	return errors.Join(h.server.close(ctx), h.files.Close(), <-h.served)
}
