package livemigration

import (
	"cmp"
	"context"
	"time"

	"elstore/volume/fault"
)

// This is what the destination's server does in a migration between two.

// admitAbroad has the source's server let the destination in, and lets it in here, for reading.
func (s *Service) admitAbroad(ctx context.Context, m *migration) error {
	if err := s.wish(ctx, &m.rec, wishPrepare); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	tick := time.NewTicker(s.cfg.look / 2)
	defer tick.Stop()
	for {
		if v := s.sight(ctx, &m.rec); v.all(sourcesPen) {
			break
		}
		if err := s.refused(ctx, m.id, m.rec.first()); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-wait.Done():
			return fault.Errorf(fault.PoolUnavailable, "%s, which exports the volumes, did not answer within %v: nothing is prepared; prepare again when it is there, or %s",
				m.rec.peer(), answerWait, takeOver)
		}
	}
	for _, p := range m.rec.Parts {
		if err := s.cfg.Exports.Visit(ctx, p.Volume); err != nil {
			return err
		}
	}
	return nil
}

// claimAbroad is claim for the destination, whose server this is. The caller has the pen's lock.
func (s *Service) claimAbroad(m *migration, part *Part) (may bool, changed <-chan struct{}) {
	switch {
	case m.rec.MayWrite() == Destination:
		return s.cfg.Exports.OpenGate(part.Volume, part.Destination, m.id.String()), nil
	case m.rec.State == Prepared:
		s.want(m)
		return false, m.changed // the other server is asked, and the machine waits
	}
	return false, nil
}

// taken makes the pen, whose volumes were all taken, the destination's.
func (s *Service) taken(ctx context.Context, m *migration) error {
	if err := m.pen.take(ctx); err != nil {
		return err
	}
	defer m.pen.release()
	for _, p := range m.rec.Parts {
		if err := s.cfg.Exports.Inherit(ctx, p.Volume, p.Source, p.Destination); err != nil {
			return err
		}
	}
	next, err := m.rec.Step(Write)
	if err != nil {
		return err
	}
	if err := s.advance(m, func(r *Record) { r.Status, r.LoggedIn = next, true }); err != nil {
		return err
	}
	rec := m.rec
	s.open(&rec, Destination)
	return nil
}

// fetchWait is how long a call waits for the pen.
const fetchWait = 15 * time.Second

// fetch has the pen passed to the destination, for a call that needs it. The caller has the turn. What was asked for stays so when it
// fails: the same call again goes on with it, and to revert takes it back.
func (s *Service) fetch(ctx context.Context, m *migration) error {
	s.want(m)
	over := func(r *Record) bool { return r.Pen == Destination || r.State != Prepared }
	if s.await(ctx, m, cmp.Or(s.cfg.ask, fetchWait), over) {
		return nil
	}
	return s.notPassed(ctx, m)
}

// notPassed is why the pen is not here though it was asked for.
func (s *Service) notPassed(ctx context.Context, m *migration) error {
	rec := s.look(m)
	if v := s.sight(ctx, &rec); v.all(passed) {
		return fault.Errorf(fault.PoolUnavailable,
			"%s has passed the right to write the volumes of the live migration %s, and this server could not take them yet: %s; it goes on with that, and the same call waits for it",
			rec.peer(), m.id, s.info(m).Waiting)
	}
	return fault.Errorf(fault.PoolUnavailable,
		"%s has the right to write the volumes of the live migration %s, and has not passed it within %v. "+
			"It is asked for, and passes when that server answers: the same call goes on then, and revert takes it back; %s, which ends the migration",
		rec.peer(), m.id, cmp.Or(s.cfg.ask, fetchWait), takeOver)
}

// beg has the pen passed to the destination where that is not journalled: an operator has said that it is the destination's. The caller has
// the turn.
func (s *Service) beg(ctx context.Context, m *migration) error {
	rec := s.look(m)
	wait, cancel := context.WithTimeout(ctx, cmp.Or(s.cfg.ask, fetchWait))
	defer cancel()
	for v := s.sight(ctx, &rec); v.any(sourcesPen); v = s.sight(ctx, &rec) {
		if v.wish != wishPen {
			if err := s.wish(ctx, &rec, wishPen); err != nil {
				return err
			}
		}
		select {
		case <-time.After(s.cfg.look / 2):
		case <-wait.Done():
			return s.notPassed(ctx, m)
		}
	}
	return nil
}
