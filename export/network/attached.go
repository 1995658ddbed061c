package network

import (
	"context"
	"crypto/ecdsa"
	"sync"

	"elstore/export"
	"elstore/export/nbd/session"
	"elstore/volume/fault"
)

// attached is an attachment that stands.
type attached struct {
	*session.Attachment
	unit   *unit
	user   string
	socket *session.Socket

	mu    sync.Mutex
	rec   export.Record
	key   *ecdsa.PublicKey // that lets in
	creds credentials
}

var _ export.Attached = (*attached)(nil)

// Attach implements export.Unit.
func (u *unit) Attach(ctx context.Context, r export.Record, rates export.Rates, g *export.Gate, w export.Watch) (export.Attached, error) {
	k := u.kind
	a := &attached{unit: u, user: r.User}
	if err := a.become(r); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.stopped:
		return nil, fault.Errorf(fault.ShuttingDown, "the server is stopping")
	case k.attached[r.User] != nil:
		return nil, fault.Errorf(fault.TargetNameTaken, "the user %s of client %s's export is that of another export", r.User, r.Client)
	}
	a.Attachment = session.New(ctx, session.Config{Medium: u.Medium, Record: r, Rates: rates, Gate: g, Watch: w})
	var err error
	if a.socket, err = k.sockets.Listen(r.ID, a.Attachment); err != nil {
		return nil, err
	}
	k.attached[r.User] = a
	return a, nil
}

// become makes r's key the one that lets in.
func (a *attached) become(r export.Record) error {
	key, err := deriveKey(r.Secret, "client")
	if err != nil {
		return err
	}
	creds, err := a.unit.kind.authority.client(r.User, r.Secret)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rec, a.key, a.creds = r, &key.PublicKey, creds
	return nil
}

// Renew implements export.Attached.
func (a *attached) Renew(r export.Record, rates export.Rates) error {
	a.SetRates(rates)
	a.mu.Lock()
	same := r.Secret.Equal(a.rec.Secret)
	a.mu.Unlock()
	if same {
		return nil
	}
	return a.become(r)
}

// Detach implements export.Attached.
func (a *attached) Detach(ctx context.Context) error {
	k := a.unit.kind
	k.mu.Lock()
	if k.attached[a.user] == a {
		delete(k.attached, a.user)
	}
	k.mu.Unlock()
	a.socket.Close()
	return a.End(ctx)
}

// Remove implements export.Attached.
func (a *attached) Remove(ctx context.Context) error { return a.Detach(ctx) }

// Access implements export.Attached.
func (a *attached) Access(q *export.Request) export.Access {
	a.mu.Lock()
	r, creds := a.rec, a.creds
	a.mu.Unlock()
	out := a.socket.Access(&a.unit.Medium, r.ReadOnly)
	portals := a.unit.kind.cfg.Portals
	if len(q.Portals) > 0 {
		portals = q.Portals
	}
	if len(portals) > 0 {
		overNetwork(&out, a.unit.Medium.Volume.ID, &r, portals, creds)
	}
	return out
}
