package local

import (
	"context"

	"elstore/export"
	"elstore/export/nbd/session"
	"elstore/volume/fault"
)

// attached is an attachment that stands: a socket, and who is connected to it.
type attached struct {
	*session.Attachment
	unit   *unit
	rec    export.Record
	socket *session.Socket
}

var _ export.Attached = (*attached)(nil)

// Attach implements export.Unit.
func (u *unit) Attach(ctx context.Context, r export.Record, rates export.Rates, g *export.Gate, w export.Watch) (export.Attached, error) {
	if r.Path {
		return u.lend(r)
	}
	k := u.kind
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return nil, fault.Errorf(fault.ShuttingDown, "the server is stopping")
	}
	a := &attached{unit: u, rec: r}
	a.Attachment = session.New(ctx, session.Config{Medium: u.Medium, Record: r, Rates: rates, Gate: g, Watch: w})
	var err error
	if a.socket, err = k.sockets.Listen(r.ID, a.Attachment); err != nil {
		return nil, err
	}
	k.attached[a] = struct{}{}
	return a, nil
}

// Renew implements export.Attached: there is no secret.
func (a *attached) Renew(_ export.Record, rates export.Rates) error {
	a.SetRates(rates)
	return nil
}

// Detach implements export.Attached.
func (a *attached) Detach(ctx context.Context) error {
	a.socket.Close()
	if err := a.End(ctx); err != nil {
		return err
	}
	a.unit.kind.mu.Lock()
	defer a.unit.kind.mu.Unlock()
	delete(a.unit.kind.attached, a)
	return nil
}

// Remove implements export.Attached.
func (a *attached) Remove(ctx context.Context) error { return a.Detach(ctx) }

// Access implements export.Attached.
func (a *attached) Access(*export.Request) export.Access {
	return a.socket.Access(&a.unit.Medium, a.rec.ReadOnly)
}
