package livemigration

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"elstore/export"
	"elstore/volume"
	"elstore/volume/fault"
)

// Config is what a Service needs. Exports, Events, Log and State are required.
type Config struct {
	Exports *export.Service
	Events  *volume.Events
	Log     *slog.Logger
	State   *os.Root // the server's own state, where the journal lies

	Timeout time.Duration // how long a set stays prepared where the caller doesn't say; default 30 min
	Keep    time.Duration // how long a migration that has ended is remembered; default 24 h

	step  func(op string, r *Record) error // see journal; tests only
	drain time.Duration                    // instead of drainWait; tests only
	look  time.Duration                    // instead of lookBetween; tests only
	ask   time.Duration                    // instead of fetchWait and handWait; tests only
}

// Service keeps the live migrations. Its methods may be called at the same time.
type Service struct {
	cfg     Config
	journal journal
	poke    chan struct{} // asks Run to look for what is not in the journal
	jobs    sync.WaitGroup

	mu        sync.Mutex
	all       map[volume.ID]*migration
	accepting map[volume.ID]bool // volumes beside which a wish is looked at
}

var _ export.Pen = (*Service)(nil)

// migration is one, with its locks.
type migration struct {
	id   volume.ID
	turn lock // one call at a time
	pen  lock // rec and its journal, and the moving of the pen

	hung atomic.Int64 // how often the source's commands did not end in time

	// changed with the pen and Service.mu, read with either
	rec     Record
	waiting string        // why it is not over yet, for people
	wanted  bool          // the destination, whose server this is, wants the pen that the other server has
	asked   bool          // the pen is asked for, by whichever of two servers' destination
	changed chan struct{} // closed, and replaced, when rec changes
}

// lock is a mutex that is waited for with a context.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

func (l lock) take(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// try takes the lock if nobody has it.
func (l lock) try() bool {
	select {
	case l <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l lock) release() { <-l }

// New reads the journal, and becomes the Pen of Exports. It is called before exports are restored.
func New(cfg Config) (*Service, error) {
	if cfg.Exports == nil || cfg.Events == nil || cfg.Log == nil || cfg.State == nil {
		return nil, errors.New("livemigration: Config needs Exports, Events, Log and State")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Minute)
	cfg.Keep = cmp.Or(cfg.Keep, 24*time.Hour)
	cfg.drain = cmp.Or(cfg.drain, drainWait)
	cfg.look = cmp.Or(cfg.look, lookBetween)
	s := &Service{
		cfg: cfg, journal: journal{root: cfg.State, step: cfg.step}, poke: make(chan struct{}, 1), all: map[volume.ID]*migration{},
		accepting: map[volume.ID]bool{},
	}
	records, damaged, err := s.journal.load()
	if err != nil {
		return nil, err
	}
	for name, err := range damaged {
		cfg.Log.Error("record of a live migration can't be read", slog.String("file", name), slog.Any("error", err))
	}
	for _, r := range records {
		if next, err := r.Step(Failed); err == nil && r.Here != Source {
			r.Status, r.Resolved = next, true // nobody was told that it was prepared, and nobody will be; but the other server may know
		}
		s.all[r.ID] = newMigration(r)
	}
	cfg.Exports.SetPen(s)
	return s, nil
}

func newMigration(r Record) *migration {
	return &migration{id: r.ID, turn: newLock(), pen: newLock(), rec: r, changed: make(chan struct{})}
}

// Ref names a migration: by its id, or by its volumes, all of them.
type Ref struct {
	ID      volume.ID
	Volumes []volume.ID
	By      volume.Who // a migration that is on neither side by's is not there; nil sees all
}

// find returns the migration that is meant: of several of the same volumes the one that is open, or else the last.
func (s *Service) find(q Ref) (*migration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !q.ID.IsZero() {
		if m := s.all[q.ID]; m != nil && m.rec.TakesPart(q.By) {
			return m, nil
		}
		return nil, fault.Errorf(fault.MigrationNotFound, "there is no live migration %s", q.ID)
	}
	var found *migration
	for _, m := range s.all {
		if !m.rec.TakesPart(q.By) {
			continue
		}
		shares := 0
		for _, id := range q.Volumes {
			if m.rec.has(id) {
				shares++
			}
		}
		switch {
		case shares == 0:
		case shares < len(m.rec.Parts) && m.rec.Open():
			return nil, fault.Errorf(fault.BadRequest,
				"'volume_ids' are some of the live migration %s's; it goes on with all of them or none: %v", m.id, m.rec.Volumes())
		case shares < len(m.rec.Parts):
		case found == nil, m.rec.Open(), !found.rec.Open() && m.rec.Began.After(found.rec.Began):
			found = m
		}
	}
	if found == nil || len(q.Volumes) != len(found.rec.Parts) {
		return nil, fault.Errorf(fault.MigrationNotFound, "there is no live migration of the volumes %v", q.Volumes)
	}
	return found, nil
}

// look returns a record as it is now.
func (s *Service) look(m *migration) Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.rec
}

// list returns all migrations, the oldest first.
func (s *Service) list() []*migration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*migration
	for _, m := range s.all {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *migration) int {
		return cmp.Or(a.rec.Began.Compare(b.rec.Began), cmp.Compare(a.id.String(), b.id.String()))
	})
	return list
}

// Held refuses, with VolumeMigrating, to change a volume that takes part in an open migration.
func (s *Service) Held(id volume.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.all {
		if m.rec.Open() && m.rec.has(id) {
			return m.rec.migrating(id)
		}
	}
	return nil
}

// migrating refuses what can't be done to a volume before the migration is over, and says where that is decided.
func (r *Record) migrating(id volume.ID) error {
	what := "conclude or revert that first"
	switch {
	case r.State == NeedsOperator:
		what = "it needs an operator, who says with resolve which side the machine runs on"
	case r.Here == Source && r.Pen == Source:
		what = "its destination attaches through " + r.peer() + ": prepare and conclude are called there, revert there or here"
	case r.Here == Source:
		what = "its destination attaches through " + r.peer() + " and has the right to write: conclude or revert it there"
	case r.Here == Destination:
		what = "its source attaches through " + r.peer() + ", and its destination through this one: conclude or revert it here first"
	}
	return fault.Errorf(fault.VolumeMigrating, "volume %s takes part in the live migration %s; %s", id, r.ID, what)
}

// advance changes the record: the journal first. The caller has the pen. What could not be journalled has not happened.
func (s *Service) advance(m *migration, change func(r *Record)) error {
	next := m.rec
	change(&next)
	if err := s.journal.save(&next); err != nil {
		// The file may say either. Whatever it says, who may write is decided by the record in memory as long as this process lives, and
		// by the file alone afterwards: never by both.
		old := m.rec
		if again := s.journal.save(&old); again != nil {
			s.cfg.Log.Error("journal of a live migration not put back", slog.Any("migration", m.id), slog.Any("error", again))
		}
		return err
	}
	s.set(m, next)
	return nil
}

// set makes a record the one that counts, and tells everybody. The caller has the pen.
func (s *Service) set(m *migration, next Record) {
	s.mu.Lock()
	old := m.rec.Status
	m.rec = next
	close(m.changed)
	m.changed = make(chan struct{})
	s.mu.Unlock()
	if old != next.Status {
		s.cfg.Log.Info("live migration went on", slog.Any("migration", m.id), slog.String("state", string(next.State)),
			slog.String("pen", string(next.Pen)), slog.Int("volumes", len(next.Parts)))
	}
	s.cfg.Events.Publish(volume.Event{Type: volume.EventMigration, Owner: &next.Source.Client, Migration: &volume.MigrationEvent{
		ID: m.id, State: string(next.State), Pen: string(next.Pen), Volumes: next.Volumes(), Alarm: next.Alarm,
	}})
}

// step makes an event happen, if it can, and journals it. What has happened before is not journalled again.
func (s *Service) step(ctx context.Context, m *migration, e Event, more func(r *Record)) error {
	if err := m.pen.take(ctx); err != nil {
		return err
	}
	defer m.pen.release()
	next, err := m.rec.Step(e)
	if err != nil || next == m.rec.Status {
		return err
	}
	return s.advance(m, func(r *Record) {
		r.Status = next
		if more != nil {
			more(r)
		}
	})
}
