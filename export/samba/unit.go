package samba

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"elstore/export"
	"elstore/export/samba/fuse"
	"elstore/volume"
)

// unit is a volume as the file of its shares.
type unit struct {
	sectors
	kind *Kind
	log  *slog.Logger
	file string // its name

	mu       sync.Mutex // never held across a call
	guests   bool       // may read it
	attached map[*attached]struct{}
}

var _ export.Updater = (*unit)(nil)

// Updated implements export.Updater: guests go with what made the volume everybody's to read, and come with it.
func (u *unit) Updated(ctx context.Context, m *volume.Meta) error {
	u.mu.Lock()
	u.guests = u.kind.guests(m)
	guests := u.guests
	list := slices.Collect(maps.Keys(u.attached))
	u.mu.Unlock()
	var errs []error
	for _, a := range list {
		errs = append(errs, a.letGuests(ctx, guests))
	}
	return errors.Join(errs...)
}

func (u *unit) forGuests() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.guests
}

// Attach implements export.Unit.
func (u *unit) Attach(ctx context.Context, r export.Record, rates export.Rates, g *export.Gate, w export.Watch) (_ export.Attached, err error) {
	h, err := u.kind.running() //nolint:contextcheck // smbd outlives the call that starts it
	if err != nil {
		return nil, err
	}
	a := &attached{unit: u, host: h, rec: r, content: &content{unit: u, gate: g}}
	a.content.pace.Set(rates)
	a.sessions = &sessions{user: r.User, guest: h.server.guest(), port: h.port, watch: w, all: map[int]*session{}}
	a.share = share{name: r.User, hash: ntHash(r.Secret.Reveal()), readonly: r.ReadOnly, guests: u.forGuests()}
	if a.share.uid, err = h.server.uid(r.User); err != nil {
		return nil, err
	}
	a.entry, err = h.files.Show(fuse.File{
		Dir: r.User, Name: u.file, UID: a.share.uid, ReadOnly: r.ReadOnly, Public: a.share.guests,
		Content: a.content, Opened: a.sessions.opened, Closed: a.sessions.closed,
	})
	if err != nil {
		return nil, err
	}
	if err := h.server.put(ctx, a.share); err != nil {
		err = fmt.Errorf("export volume over SMB: %w", err)
		return nil, errors.Join(err, a.Detach(context.WithoutCancel(ctx)))
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.attached[a] = struct{}{}
	return a, nil
}

// Resized implements export.Unit: clients ask for the size each time.
func (u *unit) Resized(int64) {}

// Close implements export.Unit: nothing is held but by attachments.
func (u *unit) Close(context.Context, bool) error { return nil }

// attached is an attachment.
type attached struct {
	unit     *unit
	host     *host
	content  *content
	sessions *sessions
	entry    *fuse.Entry

	mu    sync.Mutex // of changes of the below, however long they take
	rec   export.Record
	share share
	ended bool
}

var _ export.Attached = (*attached)(nil)

// Access implements export.Attached.
func (a *attached) Access(q *export.Request) export.Access {
	a.mu.Lock()
	defer a.mu.Unlock()
	portals := a.unit.kind.cfg.Portals
	if q != nil && len(q.Portals) > 0 {
		portals = q.Portals
	}
	out := access(portals[0], a.unit.file, &a.rec)
	out.Portals = portals
	return out
}

// Renew implements export.Attached.
func (a *attached) Renew(r export.Record, rates export.Rates) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.content.pace.Set(rates)
	if !r.Secret.Equal(a.rec.Secret) && !a.unit.kind.gone() {
		s := a.share
		s.hash = ntHash(r.Secret.Reveal())
		if err := a.host.server.put(context.Background(), s); err != nil { // which waits for so long and no longer
			return fmt.Errorf("change the password of an export over SMB: %w", err)
		}
		a.share = s
	}
	a.rec = r
	return nil
}

// letGuests lets guests in, or ends them: first what they have open, then what smbd lets in, then their connections, and with those
// the others', which come back.
func (a *attached) letGuests(ctx context.Context, in bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.share.guests == in || a.ended || a.unit.kind.gone() {
		return nil
	}
	a.entry.SetPublic(in)
	s := a.share
	s.guests, s.ended = in, !in
	if err := a.host.server.put(ctx, s); err != nil {
		return fmt.Errorf("change who may read an export over SMB: %w", err)
	}
	if !in {
		if err := a.host.server.cut(ctx, s.name); err != nil {
			return fmt.Errorf("end the guests of an export over SMB: %w", err)
		}
	}
	a.share = s
	return nil
}

// Sessions implements export.Attached.
func (a *attached) Sessions() []export.Session { return a.sessions.list() }

// Counts implements export.Attached.
func (a *attached) Counts() export.Counts { return a.content.counts() }

// Detach implements export.Attached. What comes after the file was taken back proves nothing more, but that smbd knows too.
func (a *attached) Detach(ctx context.Context) error {
	if err := a.entry.Remove(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return nil
	}
	if !a.unit.kind.gone() {
		if err := a.host.server.drop(ctx, a.share.name); err != nil {
			return err
		}
		if err := a.entry.Released(ctx); err != nil {
			return fmt.Errorf("smbd still has the file open, which leads nowhere any more: %w", err)
		}
	}
	a.ended = true
	a.unit.mu.Lock()
	defer a.unit.mu.Unlock()
	delete(a.unit.attached, a)
	return nil
}

// Remove implements export.Attached: there is nothing that an attachment could have reserved.
func (a *attached) Remove(ctx context.Context) error { return a.Detach(ctx) }
