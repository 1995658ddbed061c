package samba

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"

	"elstore/export"
	"elstore/export/iscsi/login"
	"elstore/export/samba/fuse"
	"elstore/volume"
	"elstore/volume/fault"
)

// Config is how volumes are exported over SMB.
type Config struct {
	// Listener has the address that smbd is to listen on. It keeps the address for it, and is closed when smbd starts. With nil there are
	// no exports over SMB, and requests are told so.
	Listener net.Listener
	// Portals has where clients reach smbd, as host:port with IPv6 in brackets.
	Portals []string
	// Guests lets everybody read the ISO volumes that are exported and not private, without a password.
	Guests bool
	Log    *slog.Logger // nil logs nothing
}

// Kind is the export kind samba.
type Kind struct {
	cfg   Config
	lacks func() error // a sentence about what the machine is missing

	mu      sync.Mutex
	host    *host // nil before the first attachment
	stopped bool
	lastUID uint32 // that an attachment got
}

// host is what serves the files of all attachments.
type host struct {
	files  *fuse.Server
	served chan error
	cell   *cell
	smbd   *smbd
}

var _ export.Kind = (*Kind)(nil)

// New returns the kind. Nothing is started before the first attachment.
func New(cfg Config) (*Kind, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Listener != nil {
		if _, ok := cfg.Listener.Addr().(*net.TCPAddr); !ok || len(cfg.Portals) == 0 {
			return nil, errors.New("samba: Config needs a Listener of TCP, and Portals")
		}
	}
	lacks := func() error {
		m := thisMachine()
		return m.lacks()
	}
	return &Kind{cfg: cfg, lacks: lacks, lastUID: firstUID}, nil
}

// Name implements export.Kind.
func (k *Kind) Name() string { return "samba" }

// Where implements export.Kind.
func (k *Kind) Where() []string { return k.cfg.Portals }

// Complete implements export.Kind.
func (k *Kind) Complete(_ *volume.Volume, q *export.Request, r *export.Record) error {
	if err := k.usable(); err != nil {
		return err
	}
	for _, p := range q.Portals {
		if !slices.Contains(k.cfg.Portals, p) {
			return fault.Errorf(fault.BadRequest, "'portals' has %.80q, which is none of this server's; those are %q", p, k.cfg.Portals)
		}
	}
	switch {
	case q.Initiator != "":
		return fault.Errorf(fault.BadRequest, "'initiator' is for exports of type iscsi; one of type samba lets in who has its password")
	case q.Multipath != nil && *q.Multipath:
		return fault.Errorf(fault.BadRequest, "'multipath' is for exports of type iscsi")
	case q.Path:
		return fault.Errorf(fault.BadRequest, "'path' is for exports of type local")
	case r == nil:
		return nil
	}
	if r.User == "" {
		r.User = "v" + volume.NewID().String()[:15] // a name that every client takes: Windows' have up to 20 letters
	}
	r.Secret = login.NewSecret(strings.ToLower(rand.Text()))
	return nil
}

// usable refuses where the kind can't be used at all, with the reason.
func (k *Kind) usable() error {
	if k.cfg.Listener == nil {
		return fault.Errorf(fault.BadRequest, "exports of type samba are off on this server; it has them with --samba-listen")
	}
	if err := k.lacks(); err != nil {
		return fault.Errorf(fault.BadRequest, "%w", err)
	}
	return nil
}

// Serve implements export.Kind.
func (k *Kind) Serve(_ context.Context, m export.Medium) (export.Unit, error) {
	if err := k.usable(); err != nil {
		return nil, err
	}
	meta := m.Volume.Meta
	u := &unit{kind: k, log: m.Log, file: "data.img", guests: k.guests(&meta), sectors: sectors{device: m.Device}, attached: map[*attached]struct{}{}}
	if meta.Format == volume.ISO {
		u.file = "data.iso"
	}
	return u, nil
}

// guests reports whether everybody may read a volume.
func (k *Kind) guests(m *volume.Meta) bool {
	return k.cfg.Guests && m.Format == volume.ISO && !m.Private && !m.CloudInit // a seed has secrets
}

// Stop implements export.Kind: SMB has no word for asking clients to come back, and they do by themselves.
func (k *Kind) Stop(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return nil
	}
	k.stopped = true
	if k.host != nil {
		return k.host.close()
	}
	if k.cfg.Listener != nil {
		return k.cfg.Listener.Close()
	}
	return nil
}

// running returns the host, which the first call starts.
func (k *Kind) running() (*host, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.stopped:
		return nil, fault.Errorf(fault.ShuttingDown, "the server is stopping")
	case k.host != nil:
		return k.host, nil
	}
	c, dev, err := newCell()
	if err != nil {
		return nil, err
	}
	h := &host{files: fuse.NewServer(dev), served: make(chan error, 1), cell: c}
	go func() {
		err := h.files.Serve()
		if err != nil {
			k.cfg.Log.Error("exports over SMB don't reach their volumes any more", slog.Any("error", err))
		}
		h.served <- err
	}()
	at := k.cfg.Listener.Addr().(*net.TCPAddr) //nolint:forcetypeassert // as New saw
	if err = k.cfg.Listener.Close(); err == nil || errors.Is(err, net.ErrClosed) {
		h.smbd, err = startSMBD(h.cell, at, k.cfg.Guests, k.cfg.Log)
	}
	if err != nil {
		h.cell.close()
		return nil, errors.Join(err, h.files.Close(), <-h.served)
	}
	k.host = h
	return h, nil
}

// close ends smbd, and then all else.
func (h *host) close() error {
	h.smbd.close()
	h.cell.close()
	return errors.Join(h.files.Close(), <-h.served)
}

// uid takes a user id that nobody ever had: a connection that was authenticated for an attachment may outlive it, and
// smbd would take it for whoever had the same id next.
func (k *Kind) uid() (uint32, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lastUID == firstUID+maxUsers-1 {
		return 0, fmt.Errorf("all %d users of smbd were used; a restart of the server brings new ones", maxUsers-1)
	}
	k.lastUID++
	return k.lastUID, nil
}

// gone reports whether the kind has stopped: then nothing is left of any attachment.
func (k *Kind) gone() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped
}
