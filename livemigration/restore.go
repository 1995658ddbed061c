package livemigration

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"elstore/export"
	"elstore/volume"
)

// Restore goes on with what a server before left. It is called once, after the exports were restored and before the API opens. What can't
// be done now Run goes on with.
func (s *Service) Restore(ctx context.Context) {
	for _, m := range s.list() {
		if err := m.turn.take(ctx); err != nil {
			return
		}
		rec := s.look(m)
		if rec.State == Concluding || rec.State == Reverting || rec.between() && rec.Open() {
			s.finish(ctx, m)
		}
		m.turn.release()
		rec = s.look(m)
		s.cfg.Log.Info("live migration restored", slog.Any("migration", m.id), slog.String("state", string(rec.State)),
			slog.String("pen", string(rec.Pen)))
	}
	s.adopt(ctx)
}

// adopt makes a migration of attachments whose migration is not in the journal: of those nobody knows who may write, and so nobody
// does before an operator has said it.
func (s *Service) adopt(ctx context.Context) {
	parts := map[volume.ID][]export.Part{}
	for _, p := range s.cfg.Exports.Parts(ctx) {
		if id, err := volume.ParseID(p.Record.Migration); err == nil && s.named(p.Record.Migration) == nil {
			parts[id] = append(parts[id], p)
		}
	}
	for id, list := range parts {
		rec := orphan(id, list)
		if books := s.cfg.Exports.Moving(ctx, id.String()); len(books) > 0 {
			rec = s.orphanBetween(ctx, id, books)
		}
		m := newMigration(rec)
		s.mu.Lock()
		s.all[id] = m
		s.mu.Unlock()
		s.cfg.Log.Error("live migration without a journal found", slog.Any("migration", id), slog.Any("volumes", rec.Volumes()))
		if m.pen.take(ctx) != nil {
			return
		}
		if err := s.advance(m, func(*Record) {}); err != nil {
			s.cfg.Log.Error("live migration not journalled", slog.Any("migration", id), slog.Any("error", err))
		}
		m.pen.release()
	}
}

// lost is the record of a migration whose journal is.
func lost(id volume.ID) Record {
	now := time.Now().UTC().Round(0)
	return Record{
		ID: id, Status: Status{State: NeedsOperator}, Began: now, Deadline: now, LoggedIn: true,
		Alarm: "the journal of this migration is lost: nobody writes through this server before an operator says which side the machine runs on",
	}
}

// orphanBetween is the record of a migration between two servers of which only the Books are known, and its wish, if that is there: it says
// beside which of the volumes it lies.
func (s *Service) orphanBetween(ctx context.Context, id volume.ID, books map[volume.ID]export.Book) Record {
	rec, here := lost(id), s.cfg.Exports.ServerID()
	for v, b := range books {
		if rec.Here, rec.Peer = Source, b.Guest(); b.Server != here {
			rec.Here, rec.Peer = Destination, b.Server
		}
		p := Part{Volume: v, Source: volume.NewID(), Destination: volume.NewID()} // where the Book has one of them alone
		for _, a := range b.Attachments {
			switch who := (Party{Client: a.Client, Initiator: a.Initiator}); {
			case a.Migration != id.String():
			case a.Server == "":
				p.Source, rec.Source = a.ID, who
			default:
				p.Destination, rec.Destination = a.ID, who
			}
		}
		rec.Parts = append(rec.Parts, p)
	}
	slices.SortFunc(rec.Parts, func(a, b Part) int { return cmp.Compare(a.Volume.String(), b.Volume.String()) })
	for _, p := range rec.Parts {
		data, err := s.cfg.Exports.Note(ctx, p.Volume, wishNote(id))
		if w, werr := parseMessage(data); err == nil && werr == nil && w.Migration == id {
			rec.Parts, rec.Source, rec.Destination, rec.Deadline = w.Parts, w.Source, w.Destination, w.Deadline
			break
		}
	}
	return rec
}

// orphan is the record of a migration of which only the attachments are known. The older of a volume's two is the source's.
func orphan(id volume.ID, list []export.Part) Record {
	rec := lost(id)
	slices.SortStableFunc(list, func(a, b export.Part) int {
		return cmp.Or(cmp.Compare(a.Volume.String(), b.Volume.String()), cmp.Compare(a.Record.Epoch, b.Record.Epoch))
	})
	for _, p := range list {
		if n := len(rec.Parts); n > 0 && rec.Parts[n-1].Volume == p.Volume {
			rec.Parts[n-1].Destination = p.Record.ID
			rec.Destination = Party{Client: p.Record.Client, Initiator: p.Record.Initiator}
			continue
		}
		rec.Parts = append(rec.Parts, Part{Volume: p.Volume, Source: p.Record.ID, Destination: volume.NewID()})
		rec.Source = Party{Client: p.Record.Client, Initiator: p.Record.Initiator}
	}
	return rec
}
