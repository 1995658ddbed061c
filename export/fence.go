package export

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"elstore/volume"
	"elstore/volume/fault"
)

// stale reports whether the volume's pool went away under it.
func (e *exported) stale() bool {
	return slices.ContainsFunc(e.attachments, func(a *attachment) bool { return a.claim.Stale() })
}

// fencing reports whether something of the volume has ended, and that is not proven yet.
func (e *exported) fencing(s *Service) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(e.attachments, func(a *attachment) bool { return a.fencing })
}

// shutOut fences what is not in the Book any more, and frees what nothing stands on. The caller has the turn, and not the
// volume's lock.
func (s *Service) shutOut(ctx context.Context, e *exported) error {
	// The Book says already that they are gone: that is carried out whoever hangs up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.FenceWait)
	defer cancel()
	var errs []error
	for _, a := range s.standing(e) {
		if a.fencing {
			errs = append(errs, s.fence(ctx, e, a))
		}
	}
	return errors.Join(append(errs, s.layGhosts(ctx, e))...)
}

// layGhosts frees what those had reserved who ended without standing. Where nothing of their kind stands there is nothing that it would
// hold up, and the next Unit is told who there is.
func (s *Service) layGhosts(ctx context.Context, e *exported) error {
	s.mu.Lock()
	ghosts := e.ghosts
	s.mu.Unlock()
	var errs []error
	for _, r := range ghosts {
		s.mu.Lock()
		unit := e.units[r.Kind]
		s.mu.Unlock()
		if f, ok := unit.(Forgetter); ok {
			if err := f.Forget(ctx, r.ID); err != nil {
				errs = append(errs, fault.Errorf(fault.ExportFencing,
					"client %s's %s export of volume %s has ended, and what it had reserved is not free yet; call again to wait for that: %w", r.Client, r.Kind, e.id, err))
				continue
			}
		}
		s.mu.Lock()
		e.ghosts = slices.DeleteFunc(slices.Clone(e.ghosts), func(g Record) bool { return g.ID == r.ID })
		s.mu.Unlock()
	}
	return errors.Join(errs...)
}

// fence ends an attachment, and proves it.
func (s *Service) fence(ctx context.Context, e *exported, a *attachment) error {
	log := s.cfg.Log.With(slog.Any("volume", e.id), slog.Any("client", a.rec.Client), slog.String("kind", a.rec.Kind))
	s.mu.Lock()
	keep := a.keep
	s.mu.Unlock()
	end := a.at.Remove
	if keep {
		end = a.at.Detach
	}
	if err := end(ctx); err != nil {
		log.Error("fencing not proven yet", slog.Any("error", err))
		return fault.Errorf(fault.ExportFencing,
			"client %s's %s export of volume %s has ended, nobody gets in any more, but requests that were under way have not ended yet; call again to wait for them: %w",
			a.rec.Client, a.rec.Kind, e.id, err)
	}
	err := s.free(ctx, e, a, keep)
	log.Info("export ended", slog.Int64("epoch", a.rec.Epoch), slog.Bool("kept", keep))
	if !keep {
		s.publish(e, a.rec, volume.EventUnexported, nil)
	}
	return err
}

// free lets go of an attachment of which nothing is left.
func (s *Service) free(ctx context.Context, e *exported, a *attachment, keep bool) error {
	var errs []error
	s.mu.Lock()
	s.retire(a)
	e.attachments = slices.DeleteFunc(e.attachments, func(o *attachment) bool { return o == a })
	same := slices.ContainsFunc(e.attachments, func(o *attachment) bool { return o.rec.Client == a.rec.Client })
	kind := slices.ContainsFunc(e.attachments, func(o *attachment) bool { return o.rec.Kind == a.rec.Kind })
	last := len(e.attachments) == 0
	waits := slices.ContainsFunc(e.book.Attachments, func(r Record) bool { return r.Kind == a.rec.Kind && r.ID != a.rec.ID })
	unit := e.units[a.rec.Kind]
	if !kind {
		delete(e.units, a.rec.Kind)
	}
	name := Name(a.rec.Client, e.id)
	if !same {
		delete(s.names, name)
	}
	if last {
		delete(s.volumes, e.id)
	}
	s.mu.Unlock()
	if !kind && unit != nil {
		errs = append(errs, unit.Close(ctx, !keep && !waits)) // who is to be let in again keeps what it has reserved
	}
	errs = append(errs, a.claim.Close()) //nolint:contextcheck // a claim ends whatever became of its user
	if !same && !keep {
		if err := removeMarker(e.dir, name+markerSuffix); err != nil {
			s.cfg.Log.Warn("export marker not removed", slog.Any("volume", e.id), slog.Any("error", err)) // the next look finds it
		}
	}
	if last {
		if !keep {
			_ = e.dir.Remove(volume.RecordsDir) // which fails where it isn't empty
		}
		e.dir.Close() //nolint:gosec // nothing that was written through it is open
	}
	return errors.Join(errs...)
}

// letGo ends what stands of a volume without a word to its Book: its pool went, or another server has it. The caller has the
// turn.
func (s *Service) letGo(ctx context.Context, e *exported) error {
	s.mu.Lock()
	for _, a := range e.attachments {
		a.fencing, a.keep = true, true
	}
	s.mu.Unlock()
	return s.shutOut(ctx, e)
}

// publish tells of something about an attachment, to those who may see the volume.
func (s *Service) publish(e *exported, r Record, kind string, ses *Session) {
	s.mu.Lock()
	owner, private := e.owner, e.private
	s.mu.Unlock()
	ev := volume.Event{Type: kind, Volume: &e.id, Export: &volume.ExportEvent{Client: r.Client, Kind: r.Kind, Attachment: r.ID, Owner: owner}}
	if ses != nil {
		ev.Export.Initiator, ev.Export.Remote = ses.Initiator, ses.Remote
	}
	if private {
		ev.Owner = &owner
	}
	s.cfg.Events.Publish(ev)
}

// watched is told of sessions by the kinds.
func (s *Service) watched(e *exported, a *attachment, ses Session, began bool) {
	kind := volume.EventLogout
	if began {
		kind = volume.EventLogin
	}
	s.mu.Lock()
	r := a.rec
	s.mu.Unlock()
	s.publish(e, r, kind, &ses)
}
