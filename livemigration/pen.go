package livemigration

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"elstore/volume"
)

// Claim implements export.Pen: it moves the pen where that is due, and opens the attachment's gate if its side has it.
func (s *Service) Claim(ctx context.Context, migration string, attachment volume.ID) bool {
	m := s.deciding(migration, attachment)
	if m == nil {
		select {
		case s.poke <- struct{}{}:
		default:
		}
		return false
	}
	for {
		may, changed := s.claim(ctx, m, attachment)
		if changed == nil {
			return may
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// drainWait is how long the destination's first write holds the pen for the source's commands to end. After that it lets go of it, for
// whoever waits to decide, and tries again.
const drainWait = 10 * time.Second

var errDrain = errors.New("the source's commands did not end in time")

// now is a channel that is closed.
var now = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// claim is Claim as it is answered now. A channel says that it can't be answered before that is closed.
func (s *Service) claim(ctx context.Context, m *migration, attachment volume.ID) (may bool, changed <-chan struct{}) {
	hung := m.hung.Load()
	if m.pen.take(ctx) != nil {
		return false, nil
	}
	defer m.pen.release()
	if hung != m.hung.Load() {
		return false, now // behind whoever came meanwhile: each of many waiting commands would hold the pen that long
	}
	part, side := m.rec.part(attachment)
	switch {
	case m.rec.between() && side != m.rec.Here:
		return false, nil
	case m.rec.between() && side == Destination:
		return s.claimAbroad(m, part)
	case side == Destination:
		_, err := m.rec.Step(Write)
		if err != nil {
			return false, nil
		}
		err = s.hand(ctx, m, part)
		if errors.Is(err, errDrain) && ctx.Err() == nil {
			return false, now // a machine must not see an error since another one's storage is slow
		}
		return err == nil && s.cfg.Exports.OpenGate(part.Volume, part.Destination, m.id.String()), nil
	case side == Source && m.rec.MayWrite() == Source:
		return s.cfg.Exports.OpenGate(part.Volume, attachment, m.id.String()), nil
	case side == Source && m.rec.State == Reverting:
		return false, m.changed // the machine runs here again, and the destination's last writes are about to be over
	}
	return false, nil
}

// Ended implements export.Pen.
func (s *Service) Ended(migration string, attachment volume.ID) bool {
	m := s.named(migration)
	if m == nil {
		return false
	}
	rec := s.look(m)
	_, side := rec.part(attachment)
	keeps := rec.Keeps()
	return side != "" && keeps != "" && side != keeps
}

// named returns the migration that a record of an attachment names, or nil.
func (s *Service) named(migration string) *migration {
	id, err := volume.ParseID(migration)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[id]
}

// deciding is named, or the migration that the attachment takes part in since that one is over: its gate may still ask for that one.
func (s *Service) deciding(id string, attachment volume.ID) *migration {
	m := s.named(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if m != nil && m.rec.Open() {
		return m
	}
	for _, other := range s.all {
		if _, side := other.rec.part(attachment); side != "" && other.rec.Open() {
			return other
		}
	}
	return m
}

// hand gives the pen to the destination, if it isn't there, and opens the destination's gate of one volume. The caller has the pen's lock.
// It may be called again, and has to be after an error.
func (s *Service) hand(ctx context.Context, m *migration, part *Part) error {
	x := s.cfg.Exports
	drained, cancel := context.WithTimeoutCause(ctx, s.cfg.drain, errDrain)
	defer cancel()
	if err := s.drain(drained, m, Source); err != nil {
		if errors.Is(err, errDrain) {
			m.hung.Add(1)
		}
		return s.handFailed(m, "the source's commands have not ended", err)
	}
	next, err := m.rec.Step(Write)
	if err != nil {
		return err
	}
	if next != m.rec.Status {
		if err := s.advance(m, func(r *Record) { r.Status, r.LoggedIn = next, true }); err != nil {
			return s.handFailed(m, "it can't be journalled", err)
		}
	}
	if err := x.Succeed(ctx, part.Volume, part.Source, part.Destination); err != nil {
		return s.handFailed(m, "reservations can't be moved", err)
	}
	x.OpenGate(part.Volume, part.Destination, m.id.String())
	return nil
}

// drain shuts all gates of a side, and waits until its commands that change something are over.
func (s *Service) drain(ctx context.Context, m *migration, side Side) error {
	for _, p := range m.rec.Parts {
		if err := s.cfg.Exports.ShutGate(ctx, p.Volume, p.of(side)); err != nil {
			return err
		}
	}
	return nil
}

// handFailed lets the source go on if it has the pen still.
func (s *Service) handFailed(m *migration, what string, err error) error {
	s.cfg.Log.Error("destination can't write yet", slog.Any("migration", m.id), slog.String("reason", what), slog.Any("error", err))
	if m.rec.MayWrite() == Source {
		s.open(&m.rec, Source)
	}
	return err
}

// open opens all gates of a side, which has the pen.
func (s *Service) open(rec *Record, side Side) {
	for _, p := range rec.Parts {
		s.cfg.Exports.OpenGate(p.Volume, p.of(side), rec.ID.String())
	}
}
