package export

import (
	"context"
	"log/slog"
	"slices"

	"elstore/volume"
	"elstore/volume/fault"
)

// Pen says which attachments of live migrations may change the medium, and which of them have ended. It is asked about attachments
// whose Record names a migration, from many goroutines at once. Of those no gate is open unless it was asked, or OpenGate called.
type Pen interface {
	// Claim is called when an attachment whose gate is shut wants to change the medium. It returns whether it may, once its gate is
	// open; it may wait, until ctx ends.
	Claim(ctx context.Context, migration string, id volume.ID) bool
	// Ended reports whether an attachment is not to be let in again, because the migration was decided against it.
	Ended(migration string, id volume.ID) bool
}

// SetPen names who decides about migrations. It is called before Restore, if at all: without it no gate of a migration opens.
func (s *Service) SetPen(p Pen) { s.pen = p }

// Mover is a Kind whose attachments keep to their gates, command by command. Only those can take part in a live migration.
type Mover interface {
	Kind
	KeepsToGates()
}

// Successor is an Attached that can take the place of another one to the same volume.
type Successor interface {
	// Succeed moves what old has reserved to the sessions of this one. What they have no room for stays old's. It may be called
	// again.
	Succeed(ctx context.Context, old Attached) error
}

// Passing is a volume's part in a live migration.
type Passing struct {
	Volume      volume.ID
	Migration   string
	Source      volume.ID     // the attachment of before
	Destination volume.ID     // the id that the new one gets
	Client      volume.Client // of the new one
	Initiator   string        // the only one that may log in through it; "" is any
	Server      string        // the id of the one that lets it in, where that is another
}

// Source returns a client's attachment to a volume, the one that a live migration begins at, without its secrets. Where it has
// several, initiator says which is meant.
func (s *Service) Source(ctx context.Context, id volume.ID, client volume.Client, initiator string) (Record, error) {
	var found []Record
	if _, err := s.cfg.Volumes.Get(ctx, id, nil); err != nil {
		return Record{}, err
	}
	for _, i := range s.List(ctx, Query{Client: &client, Volume: &id}) {
		if i.State == Standing && (initiator == "" || i.Record.Initiator == initiator) {
			found = append(found, i.Record)
		}
	}
	switch {
	case len(found) == 0:
		return Record{}, fault.Errorf(fault.VolumeNotExported, "volume %s is not exported to client %s; only what is exported can migrate", id, client)
	case len(found) > 1:
		return Record{}, fault.Errorf(fault.BadRequest, "volume %s is exported to client %s %d times; 'source' has to name the initiator", id, client, len(found))
	}
	return found[0], nil
}

// Admit makes the destination's attachment to a volume stand beside the source's, which stays as it is. The same call again changes
// nothing. The gate of the new one is shut: Pen is asked when it wants to write.
func (s *Service) Admit(ctx context.Context, p Passing) error {
	e, err := s.change(ctx, p.Volume, "migrate", nil, func(sc *scene) error { return s.admitPassing(sc, &p) })
	if err != nil {
		return err
	}
	if r, ok := s.record(e, p.Destination); ok {
		s.publish(e, r, volume.EventExported, nil)
	}
	return nil
}

func (s *Service) admitPassing(sc *scene, p *Passing) error {
	source, ok := sc.book.Get(p.Source)
	if !ok || sc.book.Server != s.cfg.ServerID {
		return fault.Errorf(fault.VolumeNotExported, "the export of volume %s that was to migrate has ended", p.Volume)
	}
	m := sc.volume.Meta
	for _, r := range sc.book.Attachments {
		switch {
		case r.Migration != "" && r.Migration != p.Migration:
			return fault.Errorf(fault.VolumeMigrating, "volume %s takes part in the live migration %s; conclude or revert that first", p.Volume, r.Migration)
		case r.ID == p.Source || r.ID == p.Destination:
		case (m.Shareable || m.ReadOnly) && p.Server == "":
		default:
			return fault.Errorf(fault.VolumeAlreadyExported, "volume %s is exported to client %s over %s too; end that first", p.Volume, r.Client, r.Kind)
		}
	}
	if _, ok := sc.book.Get(p.Destination); ok {
		return nil
	}
	if m.Private && m.Creator != p.Client {
		return fault.Errorf(fault.VolumeNotExportable, "volume %s is private, and client %s is not its owner", p.Volume, p.Client)
	}
	if _, there := sc.book.Find(p.Client, source.Kind); there && p.Client != source.Client {
		return fault.Errorf(fault.VolumeAlreadyExported, "volume %s is exported to client %s already; end that first", p.Volume, p.Client)
	}
	if p.Server != "" {
		if err := s.movable(&sc.volume); err != nil {
			return err
		}
	}
	r, err := s.passTo(sc, &source, p)
	if err != nil {
		return err
	}
	source.Migration = p.Migration
	sc.book.Set(source)
	sc.book.Add(r)
	return nil
}

// passTo completes the destination's record.
func (s *Service) passTo(sc *scene, source *Record, p *Passing) (Record, error) {
	k, err := s.kind(source.Kind)
	if err != nil {
		return Record{}, err
	}
	if _, ok := k.(Mover); !ok {
		return Record{}, fault.Errorf(fault.BadRequest, "volume %s is exported over %s, which can't migrate while it is in use; iscsi can", p.Volume, source.Kind)
	}
	r := Record{
		ID: p.Destination, Client: p.Client, Kind: source.Kind, Initiator: p.Initiator, ReadOnly: source.ReadOnly, Multipath: source.Multipath,
		Rates: source.Rates, Migration: p.Migration, Server: p.Server,
	}
	q := Request{Volume: p.Volume, Client: p.Client, Kind: source.Kind, Initiator: p.Initiator}
	if err := k.Complete(&sc.volume, &q, &r); err != nil {
		return Record{}, err
	}
	if r.User == "" && r.Client == source.Client && p.Server == "" && (r.Initiator == "" || r.Initiator == source.Initiator) {
		return Record{}, fault.Errorf(fault.BadRequest,
			"without CHAP, source and destination of one client are told apart by their initiator names: 'destination' needs an 'initiator' that is not %q", source.Initiator)
	}
	return r, nil
}

// Decide ends a volume's part in a migration: the attachment keep stays, and stands for itself from now on; lose is fenced. When it
// returns nil nothing of lose can reach the medium any more. ExportFencing says that this is not proven yet: nobody gets in through
// lose, and the same call again waits for the rest. VolumeNotExported says that keep is not there, and that nothing was changed,
// unless that is allowed. What has happened already is done.
func (s *Service) Decide(ctx context.Context, id volume.ID, migration string, keep, lose volume.ID, allowed bool) error {
	if s.foreign(ctx, id) { // whoever took it over has its lock for as long as it is used there
		if err := s.LetGo(ctx, id); err != nil || allowed {
			return err
		}
		return gone(id, keep)
	}
	_, err := s.change(ctx, id, "migrate", nil, func(sc *scene) error {
		if sc.book.Server != s.cfg.ServerID {
			if allowed {
				return errForeign
			}
			return gone(id, keep)
		}
		r, ok := sc.book.Get(keep)
		if !ok && !allowed {
			return gone(id, keep)
		}
		if sc.book.Passed() {
			return fault.Errorf(fault.VolumeMigrating, "the right to write volume %s is with the server %s, which alone can end its migration", id, sc.book.Pen)
		}
		// Without its journal a migration between two servers is decided without the id of what loses.
		sc.book.Drop(func(r Record) bool { return r.ID == lose || r.Server != "" && r.Migration == migration && r.ID != keep })
		if ok && r.Migration == migration {
			r.Migration = ""
			sc.book.Set(r)
		}
		return nil
	})
	if err == errForeign { //nolint:errorlint // it is returned as it is
		err = nil
	}
	if fault.Is(err, fault.VolumeNotFound) || fault.Is(err, fault.VolumeInTrash) {
		return s.abandon(ctx, id)
	}
	return err
}

// foreign reports whether a volume's Book is another server's, and nothing in it is of this one.
func (s *Service) foreign(ctx context.Context, id volume.ID) bool {
	b, err := s.Book(ctx, id)
	return err == nil && b.Server != "" && b.Server != s.cfg.ServerID && !b.Visits(s.cfg.ServerID)
}

func gone(id, keep volume.ID) error {
	return fault.Errorf(fault.VolumeNotExported, "the export %s of volume %s, which was to stay, is not there any more", keep, id)
}

// abandon fences all that stands of a volume that is not there any more.
func (s *Service) abandon(ctx context.Context, id volume.ID) error {
	done, err := s.turn(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	e := s.find(id)
	if e == nil {
		return nil
	}
	s.cfg.Log.Warn("exports of a volume ended that is gone", slog.Any("volume", id))
	return s.letGo(ctx, e)
}

// ShutGate lets an attachment change nothing any more before Pen said that it may, and returns when what it was changing has been
// done. With an error, the context's, that is still to come. Of what does not stand nothing is under way.
func (s *Service) ShutGate(ctx context.Context, id, of volume.ID) error {
	a, migration, _ := s.attached(id, of)
	if a == nil {
		return nil
	}
	return a.gate.Shut(ctx, s.claim(migration, of))
}

// OpenGate lets an attachment change the medium, for a live migration. It returns whether it does: the attachment may not stand, or for
// reading alone, and where it takes part in another migration by now that one decides.
func (s *Service) OpenGate(id, of volume.ID, migration string) bool {
	s.mu.Lock()
	defer s.mu.Unlock() // with it: no other migration begins before the gate is open
	e := s.volumes[id]
	if e == nil || e.visit {
		return false
	}
	i := slices.IndexFunc(e.attachments, func(a *attachment) bool { return a.rec.ID == of })
	if i < 0 || e.attachments[i].fencing {
		return false
	}
	a := e.attachments[i]
	if a.rec.Migration != "" && a.rec.Migration != migration {
		return false
	}
	a.gate.Open()
	return true
}

// Succeed moves what an attachment has reserved to another one of the same volume.
func (s *Service) Succeed(ctx context.Context, id, from, to volume.ID) error {
	old, _, _ := s.attached(id, from)
	heir, _, fencing := s.attached(id, to)
	if old == nil || heir == nil || fencing {
		return nil // what one had that does not stand was moved before, or goes when it is let in again
	}
	successor, ok := heir.at.(Successor)
	if !ok {
		return nil // the kind reserves nothing
	}
	return successor.Succeed(ctx, old.at)
}

// Logins returns the sessions of an attachment.
func (s *Service) Logins(id, of volume.ID) []Session {
	if a, _, fencing := s.attached(id, of); a != nil && !fencing {
		return a.at.Sessions()
	}
	return nil
}

// AccessTo says how an attachment that stands is used, secrets and all.
func (s *Service) AccessTo(p Passing) (Access, error) {
	a, _, fencing := s.attached(p.Volume, p.Destination)
	if a == nil || fencing {
		return Access{}, fault.Errorf(fault.PoolUnavailable, "volume %s is not there at this moment", p.Volume)
	}
	return a.at.Access(&Request{Volume: p.Volume, Client: p.Client}), nil
}

// Part is an attachment that takes part in a live migration.
type Part struct {
	Volume volume.ID
	Record Record // without secrets
}

// Parts returns the attachments that stand and take part in a live migration, in the order of their volumes and epochs.
func (s *Service) Parts(ctx context.Context) []Part {
	var list []Part
	for _, i := range s.List(ctx, Query{}) {
		if i.Record.Migration != "" {
			list = append(list, Part{i.Volume, i.Record})
		}
	}
	return list
}

// attached returns an attachment, the migration that it is part of, and whether it is being fenced.
func (s *Service) attached(id, of volume.ID) (a *attachment, migration string, fencing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.volumes[id]
	if e == nil {
		return nil, "", false
	}
	i := slices.IndexFunc(e.attachments, func(a *attachment) bool { return a.rec.ID == of })
	if i < 0 {
		return nil, "", false
	}
	a = e.attachments[i]
	return a, a.rec.Migration, a.fencing
}

// record returns the record of an attachment of e.
func (s *Service) record(e *exported, of volume.ID) (Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.book.Get(of)
}

// claim is what the gate of a migration's attachment asks.
func (s *Service) claim(migration string, of volume.ID) func(ctx context.Context) bool {
	if s.pen == nil {
		return nil
	}
	return func(ctx context.Context) bool { return s.pen.Claim(ctx, migration, of) }
}

// gateOf returns the gate of an attachment that is let in: shut if it takes part in a migration, since who may write is decided by
// what was before.
func (s *Service) gateOf(ctx context.Context, r Record) *Gate {
	g := &Gate{}
	if r.Migration != "" {
		_ = g.Shut(ctx, s.claim(r.Migration, r.ID)) // nobody is inside
	}
	return g
}

// dropEnded takes out of a Book what a migration was decided against while it could not be carried out. Between two servers that is more
// than to drop it.
func (s *Service) dropEnded(b *Book) {
	if !b.between() {
		b.Drop(s.over)
	}
}

// over reports whether an attachment's migration was decided against it.
func (s *Service) over(r Record) bool {
	return r.Migration != "" && s.pen != nil && s.pen.Ended(r.Migration, r.ID)
}
