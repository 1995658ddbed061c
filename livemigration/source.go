package livemigration

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"elstore/export"
	"elstore/volume/fault"
)

// This is what the source's server does in a migration between two.

// accept takes up what destinations' servers wish to prepare, as far as heartbeats have found it.
func (s *Service) accept(ctx context.Context) {
	for _, id := range s.cfg.Exports.Wished() {
		data, err := s.cfg.Exports.Note(ctx, id, export.WishNote)
		if err != nil || data == nil {
			continue
		}
		w, err := parseMessage(data)
		if err != nil || w.Wish != wishPrepare || w.Parts[0].Volume != id || s.named(w.Migration.String()) != nil ||
			time.Now().After(w.Deadline) || s.refused(ctx, w.Migration, id) != nil {
			continue
		}
		if err := s.acceptOne(ctx, &w); err != nil {
			s.cfg.Log.Warn("live migration refused", slog.Any("migration", w.Migration), slog.String("server", w.Server), slog.Any("error", err))
			if err := s.refuse(ctx, &w, err); err != nil {
				s.cfg.Log.Warn("refusal of a live migration not told", slog.Any("migration", w.Migration), slog.Any("error", err))
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
		Began: time.Now().UTC().Round(0), Deadline: w.Deadline, Here: Source, Peer: w.Server,
	}
	for _, p := range rec.Parts {
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
	if m == nil {
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
