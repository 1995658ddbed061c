package livemigration

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// Conclude makes the destination the owner, and fences the source. It needs a session of the destination on every volume, unless forced.
// When it returns a Stable migration nothing of the source can reach a volume any more; where it is still Concluding that is not
// proven yet, and is gone after without further calls. The same call again waits for it again.
func (s *Service) Conclude(ctx context.Context, q Ref, force bool) (Info, error) {
	return s.decide(ctx, q, func(m *migration) (Event, error) {
		rec := s.look(m)
		if rec.State == Prepared && rec.Here == Source {
			return "", fault.Errorf(fault.MigrationState, "the destination attaches through %s: conclude it there", rec.peer())
		}
		if rec.State == Prepared && !force {
			if err := s.arrived(&rec); err != nil {
				return "", err
			}
		}
		if rec.State == Prepared && rec.Here == Destination {
			if err := s.fetch(ctx, m); err != nil {
				return "", err
			}
		}
		return Conclude, nil
	})
}

// arrived refuses where the destination is not logged in to all volumes.
func (s *Service) arrived(rec *Record) error {
	var missing []string
	for _, p := range rec.Parts {
		if len(s.cfg.Exports.Logins(p.Volume, p.Destination)) == 0 {
			missing = append(missing, p.Volume.String())
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fault.Errorf(fault.ConditionFailed,
		"the destination is not logged in to %s; without \"force\" a migration is concluded only when it has all volumes attached", strings.Join(missing, ", "))
}

// Revert makes the source the owner again, and fences the destination. After the destination has written that is refused, unless the
// caller asserts that the machine runs on the source. The answer is as Conclude's.
func (s *Service) Revert(ctx context.Context, q Ref, assertSourceRunning bool) (Info, error) {
	return s.decide(ctx, q, func(m *migration) (Event, error) {
		if rec := s.look(m); rec.State == Prepared && rec.Here == Source && rec.Pen == Destination {
			return "", fault.Errorf(fault.MigrationState,
				"the destination has changed the volumes already, and the right to write them is with %s: revert it there; %s", rec.peer(), takeOver)
		}
		if assertSourceRunning {
			return Assert, nil
		}
		return Revert, nil
	})
}

// Resolve decides for a side what needs an operator. The side may be gone: then nobody has the volumes attached afterwards.
func (s *Service) Resolve(ctx context.Context, q Ref, owner Side) (Info, error) {
	return s.decide(ctx, q, func(m *migration) (Event, error) {
		switch owner {
		case Source:
			return ToSource, s.settle(ctx, m, ToSource)
		case Destination:
			return ToTarget, s.settle(ctx, m, ToTarget)
		}
		return "", fault.Errorf(fault.BadRequest, "'owner' is %.40q; allowed is source or destination", owner)
	})
}

// settle ends a migration between two servers that needs an operator: those of the volumes that are not theirs any more are left alone.
// The caller has the turn.
func (s *Service) settle(ctx context.Context, m *migration, e Event) error {
	rec := s.look(m)
	if !rec.between() || rec.State != NeedsOperator {
		return nil
	}
	if rec.Here == Destination && e == ToTarget {
		if err := s.beg(ctx, m); err != nil {
			return err
		}
	}
	var errs []error
	for i := range rec.Parts {
		s.cfg.Exports.Revisit(ctx, rec.Parts[i].Volume)
		errs = append(errs, s.settleOne(ctx, m, &rec, &rec.Parts[i], e))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.end(ctx, m, e, Proven)
}

// settleOne makes a volume that this server has still the side's that the operator said.
func (s *Service) settleOne(ctx context.Context, m *migration, rec *Record, p *Part, e Event) error {
	x, id := s.cfg.Exports, m.id.String()
	switch at := s.standing(ctx, rec, p); {
	case rec.Here == Source && at == sourcesPen && e == ToSource:
		return x.Decide(ctx, p.Volume, id, p.Source, p.Destination, true)
	case rec.Here == Source && at == sourcesPen: // the destination can't have it without the pen: then nobody has
		return x.Decide(ctx, p.Volume, id, volume.ID{}, p.Source, true)
	case rec.Here == Source && at == passed:
		return fault.Errorf(fault.MigrationState, "the right to write volume %s is with %s: resolve the live migration %s there; %s", p.Volume, rec.peer(), m.id, takeOver)
	case rec.Here == Destination && at == passed && e == ToSource:
		if err := s.quiet(ctx, m, Destination); err != nil {
			return err
		}
		return x.Return(ctx, p.Volume, id, p.Destination)
	case rec.Here == Destination && at == passed:
		if err := x.Take(ctx, p.Volume); err != nil {
			return err
		}
		if err := x.Inherit(ctx, p.Volume, p.Source, p.Destination); err != nil {
			return err
		}
		return x.Commit(ctx, p.Volume, id, p.Destination)
	}
	return nil
}

// decide makes the event happen that how says, and carries it out.
func (s *Service) decide(ctx context.Context, q Ref, how func(m *migration) (Event, error)) (Info, error) {
	m, err := s.find(q)
	if err != nil {
		return Info{}, err
	}
	if err := m.turn.take(ctx); err != nil {
		return Info{}, err
	}
	defer m.turn.release()
	e, err := how(m)
	if err != nil {
		return Info{}, err
	}
	err = s.step(ctx, m, e, func(r *Record) {
		r.Alarm = ""
		r.Resolved = r.Resolved || e == ToSource || e == ToTarget
	})
	if err != nil {
		return Info{}, err
	}
	ctx = context.WithoutCancel(ctx) // what was journalled is carried out whoever hangs up
	if rec := s.look(m); rec.between() {
		s.await(ctx, m, cmp.Or(s.cfg.ask, handWait), func(r *Record) bool { return !r.Open() })
	} else {
		s.finish(ctx, m)
	}
	return s.info(m), nil
}

// handWait is how long what the losing side is doing is waited for before its sessions are cut.
const handWait = 5 * time.Second

// finish carries out what was decided: the side that stays gets all that the other one had, the other one is fenced. It may be called
// again until the migration is stable. The caller has the turn.
func (s *Service) finish(ctx context.Context, m *migration) {
	rec := s.look(m)
	if rec.between() {
		s.goOnBetween(ctx, m)
		return
	}
	keeps := rec.Keeps()
	if keeps == "" || rec.State == Stable {
		return
	}
	if rec.Pen != Source {
		s.inherit(ctx, m, keeps)
	}
	var errs []error
	for _, p := range rec.Parts {
		errs = append(errs, s.cfg.Exports.Decide(ctx, p.Volume, m.id.String(), p.of(keeps), p.of(keeps.other()), rec.Resolved))
	}
	if i := firstOf(errs, fault.VolumeNotExported); i >= 0 {
		s.alarm(ctx, m, Stuck, errs[i])
		return
	}
	if err := errors.Join(errs...); err != nil {
		s.wait(ctx, m, err)
		return
	}
	if err := s.step(ctx, m, Proven, func(r *Record) { r.Ended = time.Now().UTC().Round(0) }); err != nil {
		s.wait(ctx, m, err)
		return
	}
	s.open(&rec, keeps)
	s.wait(ctx, m, nil)
}

func firstOf(errs []error, code fault.Code) int {
	for i, err := range errs {
		if fault.Is(err, code) {
			return i
		}
	}
	return -1
}

// inherit gives what one side has reserved to the other before the one is fenced, and with it goes, and lets the destination write if it
// is the heir. What doesn't succeed in time is left: fencing is what counts.
func (s *Service) inherit(ctx context.Context, m *migration, heir Side) {
	ctx, cancel := context.WithTimeout(ctx, handWait)
	defer cancel()
	if m.pen.take(ctx) != nil {
		return
	}
	defer m.pen.release()
	if heir == Source {
		if err := s.drain(ctx, m, Destination); err != nil {
			return
		}
	}
	for i := range m.rec.Parts {
		p := &m.rec.Parts[i]
		if heir == Destination {
			if s.hand(ctx, m, p) != nil {
				return
			}
			continue
		}
		if err := s.cfg.Exports.Succeed(ctx, p.Volume, p.Destination, p.Source); err != nil {
			s.cfg.Log.Warn("reservations not moved back", slog.Any("migration", m.id), slog.Any("volume", p.Volume), slog.Any("error", err))
		}
	}
}

// wait notes why a migration is not over; nil is that it is.
func (s *Service) wait(ctx context.Context, m *migration, why error) {
	text := ""
	if why != nil {
		text = why.Error()
	}
	if m.pen.take(ctx) != nil {
		return
	}
	defer m.pen.release()
	s.mu.Lock()
	known := m.waiting == text
	m.waiting = text
	s.mu.Unlock()
	if !known && why != nil {
		s.cfg.Log.Warn("live migration not over yet", slog.Any("migration", m.id), slog.Any("error", why))
	}
}

// alarm says that somebody has to look after a migration.
func (s *Service) alarm(ctx context.Context, m *migration, e Event, why error) {
	s.cfg.Log.Error("live migration needs an operator", slog.Any("migration", m.id), slog.Any("error", why))
	if err := s.step(ctx, m, e, func(r *Record) { r.Alarm = why.Error() }); err != nil {
		s.wait(ctx, m, errors.Join(why, err))
	}
}
