package local

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"elstore/export"
	"elstore/export/nbd/session"
	"elstore/volume"
	"elstore/volume/fault"
)

// Config is how volumes are exported to this host.
type Config struct {
	Dir string       // for the sockets; made with mode 0700
	Log *slog.Logger // nil logs nothing
}

// Kind is the export kind local.
type Kind struct {
	cfg     Config
	sockets *session.Sockets

	mu       sync.Mutex
	stopped  bool
	attached map[*attached]struct{}
}

var _ export.Kind = (*Kind)(nil)

// New returns the kind. It removes sockets that a process before left in the directory.
func New(cfg Config) (*Kind, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	sockets, err := session.NewSockets(cfg.Dir)
	if err != nil {
		return nil, err
	}
	return &Kind{cfg: cfg, sockets: sockets, attached: map[*attached]struct{}{}}, nil
}

// Name implements export.Kind.
func (k *Kind) Name() string { return "local" }

// Where implements export.Kind.
func (k *Kind) Where() []string { return nil }

// Complete implements export.Kind.
func (k *Kind) Complete(_ *volume.Volume, q *export.Request, r *export.Record) error {
	switch {
	case q.Initiator != "":
		return fault.Errorf(fault.BadRequest, "'initiator' is for exports over iSCSI; a local one is for whoever may connect to its socket")
	case len(q.Portals) > 0:
		return fault.Errorf(fault.BadRequest, "'portals' is for exports over a network; a local one has a socket")
	case !q.Path:
		return k.sockets.Check()
	case q.Rates != (export.Rates{}):
		return fault.Errorf(fault.BadRequest, "rates don't reach who opens the image by its path; use the socket")
	}
	return nil
}

// Serve implements export.Kind.
func (k *Kind) Serve(_ context.Context, m export.Medium) (export.Unit, error) {
	return &unit{session.Unit{Medium: m}, k}, nil
}

// Stop implements export.Kind.
func (k *Kind) Stop(ctx context.Context) error {
	k.mu.Lock()
	k.stopped = true
	list := slices.Collect(maps.Keys(k.attached))
	k.mu.Unlock()
	var errs []error
	for _, a := range list {
		errs = append(errs, a.Detach(ctx))
	}
	return errors.Join(errs...)
}

// unit is a volume for this host.
type unit struct {
	session.Unit
	kind *Kind
}
