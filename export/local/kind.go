package local

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"elstore/export"
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
	cfg Config

	mu       sync.Mutex
	stopped  bool
	attached map[*attached]struct{}
}

var _ export.Kind = (*Kind)(nil)

// maxPath is the longest path of a unix socket, in bytes; unix(7).
const maxPath = 107

// New returns the kind. It removes sockets that a process before left in the directory.
func New(cfg Config) (*Kind, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dir == "" {
		return nil, errors.New("local: Config needs Dir")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("sockets of local exports: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(cfg.Dir, "*"+socketSuffix))
	if err != nil {
		return nil, err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("sockets of local exports: %w", err)
		}
	}
	return &Kind{cfg: cfg, attached: map[*attached]struct{}{}}, nil
}

// Name implements export.Kind.
func (k *Kind) Name() string { return "local" }

// Where implements export.Kind.
func (k *Kind) Where() []string { return nil }

// Complete implements export.Kind.
func (k *Kind) Complete(_ *volume.Volume, q *export.Request, r *export.Record) error {
	switch {
	case q.Path:
		return fault.Errorf(fault.BadRequest, "'path' is true, and this server gives no image's path away: whoever has the file open can't be shut out; use the socket")
	case q.Initiator != "":
		return fault.Errorf(fault.BadRequest, "'initiator' is for exports over iSCSI; a local one is for whoever may connect to its socket")
	case len(q.Portals) > 0:
		return fault.Errorf(fault.BadRequest, "'portals' is for exports over iSCSI; a local one has a socket")
	case q.Rates != (export.Rates{}):
		return fault.Errorf(fault.BadRequest, "rates are for exports over iSCSI; let the hypervisor of this host throttle its disk")
	case len(k.socket(volume.ID{})) > maxPath:
		return fault.Errorf(fault.BadRequest, "this server can't make local exports: the path of its sockets would be longer than %d bytes; give it a shorter --state", maxPath)
	}
	return nil
}

const socketSuffix = ".nbd"

// socket is the path of an attachment's socket.
func (k *Kind) socket(id volume.ID) string { return filepath.Join(k.cfg.Dir, id.String()+socketSuffix) }

// Serve implements export.Kind.
func (k *Kind) Serve(_ context.Context, m export.Medium) (export.Unit, error) {
	meta := m.Volume.Meta
	return &unit{kind: k, medium: m, many: meta.Shareable || meta.ReadOnly}, nil
}

// Stop implements export.Kind.
func (k *Kind) Stop(ctx context.Context) error {
	k.mu.Lock()
	k.stopped = true
	var list []*attached
	for a := range k.attached {
		list = append(list, a)
	}
	k.mu.Unlock()
	var errs []error
	for _, a := range list {
		errs = append(errs, a.Detach(ctx))
	}
	return errors.Join(errs...)
}

// unit is a volume for this host.
type unit struct {
	kind   *Kind
	medium export.Medium
	many   bool // several sessions may have it
}

// Resized implements export.Unit. NBD has no way to tell clients: QEMU asks again when it is told to.
func (u *unit) Resized(int64) {}

// Close implements export.Unit.
func (u *unit) Close(context.Context, bool) error { return nil }

// quote makes text fit for an attribute of XML.
func quote(s string) string {
	var x strings.Builder
	_ = xml.EscapeText(&x, []byte(s)) // a strings.Builder takes everything
	return x.String()
}
