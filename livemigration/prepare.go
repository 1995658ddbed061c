package livemigration

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"elstore/export"
	"elstore/volume"
	"elstore/volume/fault"
)

// Request is a wish to prepare a migration.
type Request struct {
	Volumes     []volume.ID   // of one machine, each once
	Source      Party         // that has them; the initiator only where the client has several exports of a volume
	Destination Party         // a zero client is the source's
	Timeout     time.Duration // how long the set stays prepared; 0 is the server's default
}

// Bounds of Request.Timeout.
const (
	minTimeout = time.Second
	maxTimeout = 7 * 24 * time.Hour
)

// Set is a migration that is prepared, and how the destination attaches each of its volumes: secrets and all, for it alone.
type Set struct {
	Info
	Access []export.Access // in the order of Info.Parts
}

// Prepare lets the destination attach the volumes beside the source. The set is prepared whole or not at all. The same call again has
// the same answer, as long as the migration is prepared.
func (s *Service) Prepare(ctx context.Context, q Request) (*Set, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	for {
		m, err := s.prepared(&q)
		if err != nil {
			return nil, err
		}
		if m != nil {
			set, err := s.again(ctx, m)
			if set != nil || err != nil {
				return set, err
			}
			continue // it ended while it was waited for
		}
		rec, err := s.draft(ctx, &q)
		if err != nil {
			return nil, err
		}
		if m = s.enter(&rec); m == nil {
			continue // another call was first
		}
		defer m.turn.release()
		return s.prepare(ctx, m)
	}
}

// check refuses what can't be meant, and completes what was left out.
func (q *Request) check() error {
	if q.Destination.Client.IsZero() {
		q.Destination.Client = q.Source.Client
	}
	if len(q.Volumes) == 0 || len(q.Volumes) > maxVolumes {
		return fault.Errorf(fault.BadRequest, "'volume_ids' has %d ids; allowed are 1 to %d", len(q.Volumes), maxVolumes)
	}
	seen := map[volume.ID]bool{}
	for _, id := range q.Volumes {
		if seen[id] {
			return fault.Errorf(fault.BadRequest, "'volume_ids' has %s twice", id)
		}
		seen[id] = true
	}
	if q.Timeout != 0 && (q.Timeout < minTimeout || q.Timeout > maxTimeout) {
		return fault.Errorf(fault.BadRequest, "'timeout' is %v; allowed are %v to %v", q.Timeout, minTimeout, maxTimeout)
	}
	return nil
}

// prepared returns the open migration that a request asks for, or nil, or which one is in its way.
func (s *Service) prepared(q *Request) (*migration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.all {
		i := slices.IndexFunc(q.Volumes, m.rec.has)
		if !m.rec.Open() || i < 0 {
			continue
		}
		all := len(q.Volumes) == len(m.rec.Parts) && !slices.ContainsFunc(q.Volumes, func(id volume.ID) bool { return !m.rec.has(id) })
		same := m.rec.Source.Client == q.Source.Client && m.rec.Destination.Client == q.Destination.Client &&
			strings.EqualFold(m.rec.Destination.Initiator, q.Destination.Initiator)
		if all && same && m.rec.Here != Source && (m.rec.State == Preparing || m.rec.State == Prepared) {
			return m, nil
		}
		return nil, m.rec.migrating(q.Volumes[i])
	}
	return nil, nil //nolint:nilnil // nothing is in the way
}

// again answers a request for what is prepared. Nil says that it is over.
func (s *Service) again(ctx context.Context, m *migration) (*Set, error) {
	if err := m.turn.take(ctx); err != nil {
		return nil, err
	}
	defer m.turn.release()
	if s.look(m).State != Prepared {
		return nil, nil //nolint:nilnil // as said
	}
	return s.answer(m)
}

// draft finds the attachments of the source.
func (s *Service) draft(ctx context.Context, q *Request) (Record, error) {
	now := time.Now().UTC().Round(0)
	timeout := q.Timeout
	if timeout == 0 {
		timeout = s.cfg.Timeout
	}
	status, err := Status{}.Step(Begin)
	if err != nil {
		return Record{}, err
	}
	rec := Record{ID: volume.NewID(), Status: status, Source: q.Source, Destination: q.Destination, Began: now, Deadline: now.Add(timeout)}
	for i, id := range q.Volumes {
		peer, a, err := s.cfg.Exports.Abroad(ctx, id, q.Source.Client, q.Source.Initiator)
		if err == nil && peer.ID == "" {
			a, err = s.cfg.Exports.Source(ctx, id, q.Source.Client, q.Source.Initiator)
		}
		if err != nil {
			return Record{}, err
		}
		if i == 0 && peer.ID != "" {
			rec.Here, rec.Peer, rec.PeerHost = Destination, peer.ID, peer.Host
		}
		if peer.ID != rec.Peer {
			return Record{}, fault.Errorf(fault.VolumeAlreadyExported, "the volumes %s and %s are exported by different servers, and one migration is of one", q.Volumes[0], id)
		}
		if a.Migration != "" {
			return Record{}, fault.Errorf(fault.VolumeMigrating, "volume %s takes part in the live migration %s; conclude or revert that first", id, a.Migration)
		}
		rec.Parts = append(rec.Parts, Part{Volume: id, Source: a.ID, Destination: volume.NewID()})
	}
	return rec, nil
}

// enter makes a migration known, with its turn taken, unless one of the volumes takes part in another. From now on the volumes are held.
func (s *Service) enter(rec *Record) *migration {
	m := newMigration(*rec)
	m.turn <- struct{}{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.all {
		if other.rec.Open() && slices.ContainsFunc(rec.Parts, func(p Part) bool { return other.rec.has(p.Volume) }) {
			return nil
		}
	}
	s.all[m.id] = m
	return m
}

// prepare journals the migration and makes the destination's attachments. The caller has the turn.
func (s *Service) prepare(ctx context.Context, m *migration) (*Set, error) {
	ctx = context.WithoutCancel(ctx) // whoever hangs up finds it done or undone
	if err := s.journal.save(&m.rec); err != nil {
		return nil, errors.Join(err, s.forget(m))
	}
	admit := s.admit
	if m.rec.Here == Destination {
		admit = s.admitAbroad
	}
	err := admit(ctx, m)
	if err == nil {
		err = s.step(ctx, m, Admitted, nil)
	}
	switch {
	case err != nil:
		s.takeBack(ctx, m)
		return nil, err
	case m.rec.Here == Source:
		return nil, nil //nolint:nilnil // the other server answers
	}
	return s.answer(m) // with an error it is prepared; the same call again tells how to attach
}

func (s *Service) admit(ctx context.Context, m *migration) error {
	for i := range m.rec.Parts {
		if err := s.cfg.Exports.Admit(ctx, m.rec.passing(i)); err != nil {
			return err
		}
	}
	return nil
}

// takeBack undoes what was not prepared as a whole, and forgets it.
func (s *Service) takeBack(ctx context.Context, m *migration) {
	if err := m.pen.take(ctx); err != nil {
		return // never: ctx has no end
	}
	if next, err := m.rec.Step(Failed); err == nil {
		rec := m.rec
		rec.Status, rec.Resolved = next, true // the source may be gone: then there is nothing to keep
		s.set(m, rec)                         // The journal needn't say so: what is PREPARING there is taken back by the next start too
	}
	m.pen.release()
	s.finish(ctx, m)
	if s.look(m).State == Stable {
		if err := s.forget(m); err != nil {
			s.cfg.Log.Warn("journal of a live migration not removed", slog.Any("migration", m.id), slog.Any("error", err))
		}
	}
}

// forget drops a migration that is over or never began.
func (s *Service) forget(m *migration) error {
	s.mu.Lock()
	delete(s.all, m.id)
	rec := m.rec
	s.mu.Unlock()
	return s.journal.remove(&rec)
}

// answer is the set with how to attach it.
func (s *Service) answer(m *migration) (*Set, error) {
	set := &Set{Info: s.info(m)}
	for i := range set.Parts {
		a, err := s.cfg.Exports.AccessTo(set.passing(i))
		if err != nil {
			return nil, err
		}
		set.Access = append(set.Access, a)
	}
	return set, nil
}

// passing is a volume's part as export knows it.
func (r *Record) passing(i int) export.Passing {
	p := r.Parts[i]
	x := export.Passing{
		Volume: p.Volume, Migration: r.ID.String(), Source: p.Source, Destination: p.Destination,
		Client: r.Destination.Client, Initiator: r.Destination.Initiator,
	}
	if r.Here == Source {
		x.Server = r.Peer
	}
	return x
}
