package export

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// lookEvery is after how many heartbeats Run looks for what disagrees with its Book.
const lookEvery = 6

// Run touches the markers, renews the leases, and looks for what disagrees with its Book: now and then, and soon after pools
// came or volumes changed. It returns when ctx ends.
func (s *Service) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { s.watch(ctx) })
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			work.Go(func() { s.Beat(ctx) }) // whatever hangs holds up neither the next heartbeat nor that of other volumes
		}
	}
}

// watch looks for what disagrees with its Book.
func (s *Service) watch(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	events := s.cfg.Events.Subscribe(0)
	defer func() { events.Close() }()
	told := events.C
	var soon <-chan time.Time // set while something happened that was not looked at
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if n%lookEvery == 0 || s.behind() {
				s.Reconcile(ctx)
			}
		case <-s.poke:
			s.Reconcile(ctx)
		case <-soon:
			soon = nil
			if told == nil {
				events = s.cfg.Events.Subscribe(0)
				told = events.C
			}
			s.Reconcile(ctx)
		case e, ok := <-told:
			switch {
			case !ok && (ctx.Err() != nil || s.ended()):
				return
			case !ok: // the server stops, or we were too slow: then everything is looked at
				told = nil
			case e.Type == volume.EventUpdated && s.find(*e.Volume) != nil:
				s.restore(ctx, *e.Volume) // its rates may be others now
				continue
			case e.Type != volume.EventPool && e.Type != volume.EventFound:
				continue
			}
			if soon == nil { // they come in crowds
				soon = time.After(together)
			}
		}
	}
}

// together is how long events are gathered before what they tell of is looked at.
const together = 100 * time.Millisecond

func (s *Service) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) > 0
}

func (s *Service) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Beat is one heartbeat of everything that stands.
func (s *Service) Beat(ctx context.Context) {
	var beats sync.WaitGroup
	defer beats.Wait()
	for _, e := range s.all() {
		if e.beating.Swap(true) {
			continue // its storage hangs, which is its own trouble and nobody else's
		}
		beats.Go(func() {
			defer e.beating.Store(false)
			if err := s.beat(e); err != nil {
				s.beatFailed(ctx, e, err)
			}
		})
	}
}

// beat touches a volume's markers, and in a shared pool sees to it that its Book is still ours.
func (s *Service) beat(e *exported) error {
	began := s.cfg.now()
	now := time.Now()
	visiting := s.visiting(e)
	for _, a := range s.standing(e) {
		if visiting {
			break // markers are for who has the volume
		}
		s.mu.Lock()
		r := a.rec
		s.mu.Unlock()
		name := Name(r.Client, e.id) + markerSuffix
		err := e.dir.Chtimes(name, now, now)
		if errors.Is(err, fs.ErrNotExist) {
			k, kerr := s.kind(r.Kind)
			if kerr != nil {
				return kerr
			}
			err = writeMarker(e.dir, name, s.marker(r, k))
		}
		if err != nil {
			return fault.FromOS("touch the export marker", err)
		}
	}
	if e.lease == nil {
		e.beaten.Store(&now)
		return nil
	}
	s.mu.Lock()
	epoch := e.book.Epoch // as it was before the Book is read: a change that comes between is ours
	s.mu.Unlock()
	b, err := e.store.readBook(e.id)
	if err != nil {
		return err
	}
	mine := b.Epoch >= epoch && (b.writer() == s.cfg.ServerID || visiting && b.Visits(s.cfg.ServerID))
	if !mine {
		return errTaken
	}
	wishes, err := e.store.names(WishNote)
	if err != nil {
		return err
	}
	s.mu.Lock()
	e.wished = len(wishes) > 0 && !visiting
	s.mu.Unlock()
	e.lease.renew(began)
	e.beaten.Store(&now)
	return nil
}

var errTaken = errors.New("another server has taken the volume over")

// beatFailed tells of a heartbeat that failed, and lets go of what is another server's.
func (s *Service) beatFailed(ctx context.Context, e *exported, err error) {
	if s.find(e.id) != e { // it ended meanwhile
		return
	}
	s.cfg.Log.Error("heartbeat failed", slog.Any("volume", e.id), slog.Any("error", err))
	for _, a := range s.standing(e) {
		s.publish(e, a.rec, volume.EventHeartbeatLost, nil)
	}
	if !errors.Is(err, errTaken) {
		return
	}
	done, terr := s.turn(ctx, e.id)
	if terr != nil {
		return // the next heartbeat finds it again, and the lease lets nothing through
	}
	defer done()
	if err := s.letGo(ctx, e); err != nil {
		s.cfg.Log.Error("export of a lost volume not ended", slog.Any("volume", e.id), slog.Any("error", err))
	}
}

// Reconcile lets go of volumes whose pool went, and restores what should stand and doesn't.
func (s *Service) Reconcile(ctx context.Context) {
	var ids []volume.ID
	wanted := map[volume.ID]bool{}
	for _, id := range s.cfg.Volumes.Recorded() {
		if e := s.find(id); e == nil || e.unsettled(s) {
			ids, wanted[id] = append(ids, id), true
		}
	}
	s.mu.Lock()
	for id := range s.waiting {
		if !wanted[id] {
			ids = append(ids, id)
		}
	}
	s.mu.Unlock()
	s.each(ctx, ids, s.restore)
}

// unsettled reports whether something of e is not as its Book says.
func (e *exported) unsettled(s *Service) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range e.attachments {
		if a.fencing || a.claim.Stale() {
			return true
		}
	}
	return s.waiting[e.id] != nil || len(e.ghosts) > 0
}

// Close stops: clients are asked to log out and to come back, and every volume is closed. The Books stay as they are, for the next
// server.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var errs []error
	for _, k := range s.kinds {
		errs = append(errs, k.Stop(ctx))
	}
	for _, e := range s.all() {
		done, err := s.turns.Lock(ctx, e.id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, s.end(ctx, e))
		done()
	}
	return errors.Join(errs...)
}

// end closes a volume and keeps its Book. The caller has the turn.
func (s *Service) end(ctx context.Context, e *exported) error {
	var errs []error
	s.mu.Lock()
	list, units := e.attachments, e.units
	e.attachments, e.units = nil, map[string]Unit{}
	delete(s.volumes, e.id)
	s.mu.Unlock()
	for _, u := range units {
		errs = append(errs, u.Close(ctx, false))
	}
	for _, a := range list {
		errs = append(errs, a.claim.Close()) //nolint:contextcheck // a claim ends whatever became of its user
	}
	e.dir.Close() //nolint:gosec // nothing that was written through it is open
	return errors.Join(errs...)
}
