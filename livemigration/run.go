package livemigration

import (
	"context"
	"log/slog"
	"time"

	"elstore/volume"
)

// lookEvery is how often Run looks at what waits for something.
const lookEvery = time.Second

// Run goes on with what is not over: it fences what is still to be fenced, watches the deadlines, notes who logs in, and forgets what
// ended long ago. It returns when ctx ends.
func (s *Service) Run(ctx context.Context) {
	defer s.jobs.Wait()
	s.jobs.Go(func() { s.runBetween(ctx) })
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	events := s.cfg.Events.Subscribe(0)
	defer func() { events.Close() }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.goOn(ctx, time.Now())
			continue
		case <-s.poke:
			s.adopt(ctx)
			continue
		case e, ok := <-events.C:
			if ok {
				if e.Type == volume.EventLogin && e.Export != nil {
					// Whoever moves the pen may wait for storage, and all other migrations are not to.
					s.jobs.Go(func() { s.loggedIn(ctx, e.Export.Attachment) })
				}
				continue
			}
		}
		// The server stops, or we were too slow for the events: who is logged in is looked at too when it matters.
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			events = s.cfg.Events.Subscribe(0)
		}
	}
}

// goOn looks at every migration that nobody works on, each in a goroutine of its own, since storage may hang.
func (s *Service) goOn(ctx context.Context, now time.Time) {
	for _, m := range s.list() {
		rec := s.look(m)
		if !rec.due(now, s.cfg.Keep) || !m.turn.try() {
			continue
		}
		s.jobs.Go(func() {
			defer m.turn.release()
			s.tend(ctx, m, now)
		})
	}
}

// due reports whether there is something to do about a migration without its callers.
func (r *Record) due(now time.Time, keep time.Duration) bool {
	switch r.State {
	case Prepared:
		return now.After(r.Deadline) && r.Alarm == ""
	case Concluding, Reverting:
		return !r.between() // that is looked at more often
	case Stable:
		return now.Sub(r.Ended) > keep
	default:
	}
	return false
}

// tend does what is due. The caller has the turn.
func (s *Service) tend(ctx context.Context, m *migration, now time.Time) {
	rec := s.look(m)
	if !rec.due(now, s.cfg.Keep) {
		return // it went on meanwhile
	}
	switch rec.State {
	case Prepared:
		s.expire(ctx, m)
	case Concluding, Reverting:
		s.finish(ctx, m)
	case Stable:
		if err := s.forget(m); err != nil {
			s.cfg.Log.Warn("journal of a live migration not removed", slog.Any("migration", m.id), slog.Any("error", err))
		}
	default:
	}
}

// expire is the end of being prepared: what the destination never used is taken back, what it did is somebody's to decide.
func (s *Service) expire(ctx context.Context, m *migration) {
	if s.arrivedEver(m) {
		if err := m.pen.take(ctx); err != nil {
			return
		}
		defer m.pen.release()
		if m.rec.State != Prepared {
			return
		}
		const text = "the time to conclude or revert has passed, and the destination has logged in: it is left as it is; conclude or revert it"
		s.cfg.Log.Error("live migration overdue", slog.Any("migration", m.id), slog.Time("deadline", m.rec.Deadline))
		if err := s.advance(m, func(r *Record) { r.Alarm, r.LoggedIn = text, true }); err != nil {
			s.cfg.Log.Error("overdue live migration not journalled", slog.Any("migration", m.id), slog.Any("error", err))
		}
		return
	}
	s.cfg.Log.Warn("live migration taken back: its destination never came", slog.Any("migration", m.id))
	if err := s.step(ctx, m, Revert, nil); err != nil {
		s.cfg.Log.Error("overdue live migration not taken back", slog.Any("migration", m.id), slog.Any("error", err))
		return
	}
	s.finish(ctx, m)
}

// arrivedEver reports whether the destination logged in to any of the volumes, ever.
func (s *Service) arrivedEver(m *migration) bool {
	rec := s.look(m)
	if rec.LoggedIn || rec.Pen != Source || rec.Here == Source { // there it logs in to the other server
		return true
	}
	for _, p := range rec.Parts {
		if len(s.cfg.Exports.Logins(p.Volume, p.Destination)) > 0 {
			return true
		}
	}
	return false
}

// loggedIn notes that a destination came.
func (s *Service) loggedIn(ctx context.Context, attachment volume.ID) {
	for _, m := range s.list() {
		rec := s.look(m)
		if _, side := rec.part(attachment); side != Destination || rec.LoggedIn || rec.State != Prepared {
			continue
		}
		if err := s.noteLogin(ctx, m); err != nil {
			s.cfg.Log.Warn("login of a destination not journalled", slog.Any("migration", m.id), slog.Any("error", err))
		}
	}
}

func (s *Service) noteLogin(ctx context.Context, m *migration) error {
	if err := m.pen.take(ctx); err != nil {
		return err
	}
	defer m.pen.release()
	if m.rec.State != Prepared || m.rec.LoggedIn {
		return nil
	}
	return s.advance(m, func(r *Record) { r.LoggedIn = true })
}
