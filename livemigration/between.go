package livemigration

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// lookBetween is how often an open migration between two servers is looked at.
const lookBetween = 100 * time.Millisecond

// answerWait is how long the source's server has to let the destination in: it looks for wishes with its heartbeat.
const answerWait = 20 * time.Second

// runBetween goes on with the migrations between two servers.
func (s *Service) runBetween(ctx context.Context) {
	tick := time.NewTicker(s.cfg.look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, m := range s.list() {
			if rec := s.look(m); !rec.between() || !rec.Open() || !m.turn.try() {
				continue
			}
			s.jobs.Go(func() {
				defer m.turn.release()
				s.goOnBetween(ctx, m)
			})
		}
		s.acceptAll(ctx)
	}
}

// await goes on with a migration until it is as is says, for some time. The caller has the turn.
func (s *Service) await(ctx context.Context, m *migration, most time.Duration, is func(r *Record) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		s.goOnBetween(ctx, m)
		if rec := s.look(m); is(&rec) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(s.cfg.look / 2):
		}
	}
}

// goOnBetween does all that is to be done now. The caller has the turn.
func (s *Service) goOnBetween(ctx context.Context, m *migration) {
	for range 8 { // one leads to the next, and what fails waits for the next look
		rec := s.look(m)
		if !rec.Open() {
			return
		}
		v := s.sight(ctx, &rec)
		if s.wants(m) && rec.Status == (Status{Prepared, Source, ""}) && v.wish == wishPrepare {
			if err := s.wish(ctx, &rec, wishPen); err != nil {
				s.wait(ctx, m, err)
				return
			}
			v.wish = wishPen
		}
		s.noteAsked(m, v.wish)
		do := v.next()
		if do == taskNone {
			return
		}
		if err := s.carryOut(ctx, m, &rec, v.books, do); err != nil {
			if ctx.Err() == nil {
				s.wait(ctx, m, err)
			}
			return
		}
	}
}

// sight is what there is to see of a migration.
func (s *Service) sight(ctx context.Context, rec *Record) *sight {
	v := &sight{here: rec.Here, status: rec.Status, wish: s.wishOf(ctx, rec)}
	for i := range rec.Parts {
		v.books = append(v.books, s.standing(ctx, rec, &rec.Parts[i]))
	}
	return v
}

// standing is what a volume's Book says.
func (s *Service) standing(ctx context.Context, rec *Record, p *Part) standing {
	here := s.cfg.Exports.ServerID()
	source, destination := here, rec.Peer
	if rec.Here == Destination {
		source, destination = rec.Peer, here
	}
	b, err := s.cfg.Exports.Book(ctx, p.Volume)
	_, there := b.Get(p.Destination)
	switch {
	case err != nil: // its pool may be away
		return ""
	case b.Server == source && !there:
		return sources
	case b.Server == source && b.Pen == destination:
		return passed
	case b.Server == source:
		return sourcesPen
	case rec.Here == Source && rec.Pen == Destination: // whatever became of it there
		return destinations
	case b.Server == destination && there:
		return destinations
	}
	return somebodys
}

// carryOut does what sight.next said.
func (s *Service) carryOut(ctx context.Context, m *migration, rec *Record, books []standing, do task) error {
	x, id := s.cfg.Exports, m.id.String()
	each := func(of standing, call func(p *Part) error) error {
		var errs []error
		for i := range rec.Parts {
			if of == "" || books[i] == of {
				errs = append(errs, call(&rec.Parts[i]))
			}
		}
		return errors.Join(errs...)
	}
	letGo := func() error { return each("", func(p *Part) error { return x.LetGo(ctx, p.Volume) }) }
	switch do {
	case taskAdmit:
		return s.step(ctx, m, Admitted, nil)
	case taskFail:
		return s.step(ctx, m, Failed, nil)
	case taskPass:
		if err := s.part(ctx, m); err != nil {
			return err
		}
		return each(sourcesPen, func(p *Part) error { return x.Pass(ctx, p.Volume, id, rec.Peer) })
	case taskUndo:
		if err := each("", func(p *Part) error { return x.Decide(ctx, p.Volume, id, p.Source, p.Destination, true) }); err != nil {
			return err
		}
		return s.end(ctx, m, Proven)
	case taskRevert:
		return s.step(ctx, m, Revert, nil)
	case taskGone:
		return errors.Join(letGo(), s.end(ctx, m, rec.ends(Destination), Proven))
	case taskLost:
		s.cfg.Log.Warn("volumes of a live migration taken over", slog.Any("migration", m.id))
		return errors.Join(each("", func(p *Part) error { return s.leave(ctx, p.Volume) }), s.end(ctx, m, rec.ends(Destination), Proven))
	case taskBack:
		if rec.Here == Destination {
			if err := letGo(); err != nil {
				return err
			}
		}
		return s.end(ctx, m, rec.ends(Source), Proven)
	case taskTake:
		if err := each("", func(p *Part) error { return x.Take(ctx, p.Volume) }); err != nil {
			return err
		}
		return s.taken(ctx, m)
	case taskCommit:
		return each(passed, func(p *Part) error { return x.Commit(ctx, p.Volume, id, p.Destination) })
	case taskReturn:
		if err := s.quiet(ctx, m, Destination); err != nil {
			return err
		}
		return each(passed, func(p *Part) error { return x.Return(ctx, p.Volume, id, p.Destination) })
	case taskAsk:
		return s.wish(ctx, rec, wishRevert)
	case taskProven:
		if rec.State == Reverting {
			if err := each("", func(p *Part) error { return s.leave(ctx, p.Volume) }); err != nil {
				return err
			}
		}
		return s.end(ctx, m, Proven)
	case taskStuck:
		s.alarm(ctx, m, Stuck, fault.Errorf(fault.VolumeNotExported, "a volume of the live migration was taken over"))
	case taskNone:
	}
	return nil
}

// ends is the event of what the other server has decided, and this one just learns of.
func (r *Record) ends(owner Side) Event {
	switch {
	case r.State == NeedsOperator && owner == Source:
		return ToSource
	case r.State == NeedsOperator:
		return ToTarget
	case owner == Source:
		return Assert
	}
	return Conclude
}

// leave lets go of a volume, unless it is this server's by now.
func (s *Service) leave(ctx context.Context, id volume.ID) error {
	if b, err := s.cfg.Exports.Book(ctx, id); err != nil || b.Server == s.cfg.Exports.ServerID() {
		return err
	}
	return s.cfg.Exports.LetGo(ctx, id)
}

// end journals the events that are the migration's last.
func (s *Service) end(ctx context.Context, m *migration, events ...Event) error {
	if rec := s.look(m); rec.Here == Destination {
		// Before that is journalled: from then on the next migration of the volume may write its own.
		if err := s.unwish(ctx, rec.first(), rec.ID); err != nil {
			s.cfg.Log.Warn("note of a live migration not removed", slog.Any("migration", m.id), slog.Any("error", err))
		}
	}
	if err := m.pen.take(ctx); err != nil {
		return err
	}
	next := m.rec.Status
	for _, e := range events {
		var err error
		if next, err = next.Step(e); err != nil {
			m.pen.release()
			return err
		}
	}
	err := s.advance(m, func(r *Record) { r.Status, r.Ended, r.Alarm = next, time.Now().UTC().Round(0), "" })
	m.pen.release()
	if err != nil {
		return err
	}
	s.wait(ctx, m, nil)
	rec := s.look(m)
	for _, p := range rec.Parts {
		s.cfg.Exports.Revisit(ctx, p.Volume) // the other server may have given it back
	}
	if rec.Owner == rec.Here {
		s.open(&rec, rec.Here)
	}
	return nil
}

// wants reports whether the destination waits for the pen.
func (s *Service) wants(m *migration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.wanted
}

func (s *Service) want(m *migration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.wanted = true
}

// noteAsked remembers whether the pen is asked for, as the wish has it, which outlives whoever asked. One that can't be read says nothing.
func (s *Service) noteAsked(m *migration, w wish) {
	if w == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.asked = w == wishPen
}

// quiet shuts the gates of a side and waits until nothing of it is under way.
func (s *Service) quiet(ctx context.Context, m *migration, side Side) error {
	if err := m.pen.take(ctx); err != nil {
		return err
	}
	defer m.pen.release()
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.drain, errDrain)
	defer cancel()
	return s.drain(ctx, m, side)
}

// peer names the other server, for people.
func (r *Record) peer() string {
	if r.PeerHost == "" {
		return "the server " + r.Peer
	}
	return "the server " + r.Peer + " on " + r.PeerHost
}

// takeOver says what helps where the other server never comes back.
const takeOver = `if its host is off for good, export each of the volumes here with "takeover": true and "old_host_is_off": true`

// first is the volume beside which the two servers talk.
func (r *Record) first() volume.ID { return r.Parts[0].Volume }
