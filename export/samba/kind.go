package samba

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"

	"elstore/export"
	"elstore/export/iscsi/login"
	"elstore/volume"
	"elstore/volume/fault"
)

// Config is how volumes are exported over SMB.
type Config struct {
	// Listener has the address that an smbd of the kind's own is to listen on. It keeps the address for it, and is closed when smbd
	// starts.
	Listener net.Listener
	// System is the machine's own smbd, which serves the shares in the place of one of the kind's own. With neither it nor a Listener
	// there are no exports over SMB, and requests are told so.
	System *System
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
}

var _ export.Kind = (*Kind)(nil)

// New returns the kind. Nothing is started before the first attachment. Of the machine's smbd it takes what a crash of a server left
// there.
func New(cfg Config) (*Kind, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Listener != nil || cfg.System != nil {
		if len(cfg.Portals) == 0 || cfg.Listener != nil && cfg.System != nil {
			return nil, errors.New("samba: Config needs Portals, and either a Listener or System")
		}
	}
	if cfg.Listener != nil {
		if _, ok := cfg.Listener.Addr().(*net.TCPAddr); !ok {
			return nil, errors.New("samba: Config needs a Listener of TCP")
		}
	}
	k := &Kind{cfg: cfg}
	k.lacks = func() error {
		m := thisMachine(cfg.System)
		return m.lacks()
	}
	if cfg.System != nil && k.lacks() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), startWait)
		defer cancel()
		if err := cfg.System.sweep(ctx); err != nil {
			cfg.Log.Warn("what is left of exports over SMB is not gone yet", slog.Any("error", err))
		}
	}
	return k, nil
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
	if k.cfg.Listener == nil && k.cfg.System == nil {
		return fault.Errorf(fault.BadRequest, "exports of type samba are off on this server; it has them with --samba-listen")
	}
	err := k.lacks()
	if err == nil && k.cfg.System != nil {
		_, err = k.cfg.System.look(k.cfg.Guests)
	}
	if err != nil {
		return fault.Errorf(fault.BadRequest, "%w", err)
	}
	return nil
}

// Serve implements export.Kind.
func (k *Kind) Serve(_ context.Context, m export.Medium) (export.Unit, error) {
	if err := k.usable(); err != nil { //nolint:contextcheck // it asks this machine alone, with a deadline of its own
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
func (k *Kind) Stop(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return nil
	}
	k.stopped = true
	if k.host != nil {
		return k.host.close(ctx)
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
	var h *host
	var err error
	if k.cfg.System != nil {
		h, err = newSystemHost(&k.cfg)
	} else {
		h, err = newOwnHost(&k.cfg)
	}
	if err != nil {
		return nil, err
	}
	k.host = h
	return h, nil
}

// gone reports whether the kind has stopped: then nothing is left of any attachment.
func (k *Kind) gone() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped
}
