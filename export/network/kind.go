package network

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"

	"elstore/export"
	"elstore/export/iscsi/login"
	"elstore/export/nbd/session"
	"elstore/volume"
	"elstore/volume/fault"
)

// Config is how volumes are exported over NBD.
type Config struct {
	Dir string // for the unix sockets; made with mode 0700
	// Portals has where clients reach what Serve is given, as host:port with IPv6 in brackets. With none there are unix sockets only.
	Portals []string
	// Secret is what the server proves itself by. Another one makes all credentials of clients worthless.
	Secret login.Secret
	Log    *slog.Logger // nil logs nothing
}

// Kind is the export kind nbd.
type Kind struct {
	cfg       Config
	sockets   *session.Sockets
	authority *authority
	tls       *tls.Config
	ctx       context.Context //nolint:containedctx // its end ends connections that are nobody's yet
	end       context.CancelFunc
	running   sync.WaitGroup

	mu        sync.Mutex
	stopped   bool
	listeners map[net.Listener]struct{}
	attached  map[string]*attached // by their users
	waiting   int                  // connections that are nobody's yet
}

var (
	_ export.Kind  = (*Kind)(nil)
	_ export.Mover = (*Kind)(nil)
)

// New returns the kind. It removes sockets that a process before left in the directory.
func New(cfg Config) (*Kind, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	sockets, err := session.NewSockets(cfg.Dir)
	if err != nil {
		return nil, err
	}
	var hosts []string
	for _, p := range cfg.Portals {
		host, _, err := net.SplitHostPort(p)
		if err != nil {
			return nil, fmt.Errorf("%q is not host:port: %w", p, err)
		}
		hosts = append(hosts, host)
	}
	a, err := newAuthority(cfg.Secret)
	if err != nil {
		return nil, err
	}
	mine, err := a.server(cfg.Secret, hosts)
	if err != nil {
		return nil, err
	}
	k := &Kind{cfg: cfg, sockets: sockets, authority: a, listeners: map[net.Listener]struct{}{}, attached: map[string]*attached{}}
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	k.tls = &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{mine}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		SessionTicketsDisabled: true, VerifyConnection: func(s tls.ConnectionState) error {
			_, err := k.of(s)
			return err
		},
	}
	k.ctx, k.end = context.WithCancel(context.Background())
	return k, nil
}

// Name implements export.Kind.
func (k *Kind) Name() string { return "nbd" }

// KeepsToGates implements export.Mover: nothing changes the medium that has not passed its gate.
func (k *Kind) KeepsToGates() {}

// Where implements export.Kind.
func (k *Kind) Where() []string { return k.cfg.Portals }

// Complete implements export.Kind.
func (k *Kind) Complete(_ *volume.Volume, q *export.Request, r *export.Record) error {
	for _, p := range q.Portals {
		if !slices.Contains(k.cfg.Portals, p) {
			return fault.Errorf(fault.BadRequest, "'portals' has %.80q, which is none of this server's for NBD; those are %q, by --nbd-listen", p, k.cfg.Portals)
		}
	}
	switch {
	case q.Path:
		return fault.Errorf(fault.BadRequest, "'path' is for exports of type local")
	case q.Initiator != "":
		return fault.Errorf(fault.BadRequest, "'initiator' is for exports of type iscsi; one of type nbd lets in who has its key")
	}
	if err := k.sockets.Check(); err != nil || r == nil {
		return err
	}
	if r.User == "" {
		r.User = volume.NewID().String()
	}
	r.Secret = newSecret()
	return nil
}

// Serve implements export.Kind.
func (k *Kind) Serve(_ context.Context, m export.Medium) (export.Unit, error) {
	return &unit{session.Unit{Medium: m}, k}, nil
}

// Stop implements export.Kind: NBD has no word for asking clients to come back, and QEMU does by itself.
func (k *Kind) Stop(ctx context.Context) error {
	k.mu.Lock()
	k.stopped = true
	for l := range k.listeners {
		_ = l.Close()
	}
	list := slices.Collect(maps.Values(k.attached))
	k.mu.Unlock()
	k.end()
	var errs []error
	for _, a := range list {
		errs = append(errs, a.Detach(ctx))
	}
	done := make(chan struct{})
	go func() {
		k.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		errs = append(errs, context.Cause(ctx))
	}
	return errors.Join(errs...)
}

// unit is a volume over NBD.
type unit struct {
	session.Unit
	kind *Kind
}
