package livemigration

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"elstore/export"
	"elstore/volume"
	"elstore/volume/fault"
)

// This is what the source's server does in a migration between two.

// acceptAll takes up what destinations' servers wish to prepare, as far as heartbeats have found it: each in a goroutine of its own, since
// storage may hang.
func (s *Service) acceptAll(ctx context.Context) {
	for _, id := range s.cfg.Exports.Wished() {
		s.mu.Lock()
		busy := s.accepting[id]
		s.accepting[id] = true
		s.mu.Unlock()
		if busy {
			continue
		}
		s.jobs.Go(func() {
			s.accept(ctx, id)
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.accepting, id)
		})
	}
}

// accept takes up what is wished beside a volume: of several wishes the first that is found, and the others are told.
func (s *Service) accept(ctx context.Context, id volume.ID) {
	names, err := s.cfg.Exports.Notes(ctx, id, export.WishNote)
	if err != nil {
		return
	}
	for _, name := range names {
		data, err := s.cfg.Exports.Note(ctx, id, name)
		if err != nil || data == nil {
			continue
		}
		if w, err := parseMessage(data); err == nil && w.Parts[0].Volume == id && name == wishNote(w.Migration) {
			s.consider(ctx, &w)
		}
	}
}

// consider takes up a wish to prepare, or says why not. What others left behind whose time is over is removed.
func (s *Service) consider(ctx context.Context, w *message) {
	first := w.Parts[0].Volume
	log := s.cfg.Log.With(slog.Any("migration", w.Migration), slog.String("server", w.Server))
	m, late := s.named(w.Migration.String()), time.Now().After(w.Deadline)
	switch {
	case m != nil && (!late || s.look(m).Open()):
	case late && w.Server != s.cfg.Exports.ServerID():
		if err := s.unwish(ctx, first, w.Migration); err != nil {
			log.Warn("note of a live migration not removed", slog.Any("error", err))
		}
	case late || w.Wish != wishPrepare || s.refused(ctx, w.Migration, first) != nil:
	default:
		if err := s.acceptOne(ctx, w); err != nil {
			log.Warn("live migration refused", slog.Any("error", err))
			if err := s.refuse(ctx, w, err); err != nil {
				log.Warn("refusal of a live migration not told", slog.Any("error", err))
			}
		}
	}
}

// acceptOne lets a destination in that attaches through another server.
func (s *Service) acceptOne(ctx context.Context, w *message) error {
	status, err := Status{}.Step(Begin)
	if err != nil {
		return err
	}
	rec := Record{
		ID: w.Migration, Status: status, Source: w.Source, Destination: w.Destination, Parts: w.Parts,
		Began: time.Now().UTC().Round(0), Deadline: w.Deadline, Here: Source, Peer: w.Server, PeerHost: w.Host,
	}
	for _, p := range rec.Parts {
		if err := s.Held(p.Volume); err != nil {
			return err
		}
		b, err := s.cfg.Exports.Book(ctx, p.Volume)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(b.Attachments, func(r export.Record) bool { return r.ID == p.Source && r.Client == w.Source.Client })
		switch {
		case i < 0 || b.Server != s.cfg.Exports.ServerID():
			return fault.Errorf(fault.VolumeNotExported, "the export of volume %s that was to migrate has ended", p.Volume)
		case b.Attachments[i].Migration != "":
			return fault.Errorf(fault.VolumeMigrating, "volume %s takes part in the live migration %s; conclude or revert that first", p.Volume, b.Attachments[i].Migration)
		}
	}
	m := s.enter(&rec)
	if m == nil { // another call was first
		for _, p := range rec.Parts {
			if err := s.Held(p.Volume); err != nil {
				return err
			}
		}
		return fault.Errorf(fault.VolumeMigrating, "one of the volumes %v takes part in another live migration; conclude or revert that first", rec.Volumes())
	}
	defer m.turn.release()
	_, err = s.prepare(ctx, m)
	return err
}

// part gives up the pen: the gates of the source are shut, what had passed them is done, and the journal says that it never writes again.
// What is there already is not done again, but that nothing is under way.
func (s *Service) part(ctx context.Context, m *migration) error {
	if err := m.pen.take(ctx); err != nil {
		return err
	}
	defer m.pen.release()
	drained, cancel := context.WithTimeoutCause(ctx, s.cfg.drain, errDrain)
	defer cancel()
	if err := s.drain(drained, m, Source); err != nil {
		return s.handFailed(m, "the source's commands have not ended", err)
	}
	next, err := m.rec.Step(Write)
	if err != nil || next == m.rec.Status {
		return err
	}
	if err := s.advance(m, func(r *Record) { r.Status, r.LoggedIn = next, true }); err != nil {
		return s.handFailed(m, "it can't be journalled", err)
	}
	return nil
}
