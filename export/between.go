package export

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// This is what livemigration needs of a volume that moves between two servers: see there for the protocol. The server whose Book it is
// passes the pen (Pass) and lets go of the volume; the other one lets its clients in for reading before (Visit), takes the volume (Take), and
// makes the Book its own (Commit) or gives the volume back (Return). Each is repeated until it is done, and does nothing when it is.

// Notes are small files beside a volume by which two servers talk about a migration, whose id ends their names: so each is written by one
// server, and nobody writes over what is said about another migration.
const (
	WishNote   = "wish-"   // the destination's server's; each heartbeat looks for them
	AnswerNote = "answer-" // the other one's
)

// maxNote is the largest note that is read, in bytes.
const maxNote = 256 << 10

// ServerID is this server's.
func (s *Service) ServerID() string { return s.cfg.ServerID }

// Host is the name of the machine that this server runs on, for people.
func (s *Service) Host() string { return s.host }

// Server is another one, as its markers have it. The zero Server is none.
type Server struct{ ID, Host string }

// Note returns a note beside a volume, nil where there is none.
func (s *Service) Note(ctx context.Context, id volume.ID, name string) ([]byte, error) {
	dir, err := s.directory(ctx, id)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return (&Store{dir: dir}).Load(name, maxNote)
}

// SetNote replaces that, on stable storage; nil removes it.
func (s *Service) SetNote(ctx context.Context, id volume.ID, name string, data []byte) error {
	dir, err := s.directory(ctx, id)
	if err != nil {
		return err
	}
	defer dir.Close()
	store := &Store{dir: dir, step: s.cfg.step}
	if data == nil {
		return store.Remove(name)
	}
	return store.Save(name, data)
}

// Notes returns the names of the notes beside a volume that begin with prefix.
func (s *Service) Notes(ctx context.Context, id volume.ID, prefix string) ([]string, error) {
	dir, err := s.directory(ctx, id)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return (&Store{dir: dir}).names(prefix)
}

// Wished returns the volumes of this server that the last heartbeat found a wish beside.
func (s *Service) Wished() []volume.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []volume.ID
	for id, e := range s.volumes {
		if e.wished {
			ids = append(ids, id)
		}
	}
	return ids
}

// Book returns a volume's Book as it is on disk, without secrets. Whoever has the lock may be changing it.
func (s *Service) Book(ctx context.Context, id volume.ID) (Book, error) {
	dir, err := s.directory(ctx, id)
	if err != nil {
		return Book{}, err
	}
	defer dir.Close()
	b, err := (&Store{dir: dir}).readBook(id)
	for i := range b.Attachments {
		b.Attachments[i] = b.Attachments[i].public()
	}
	return b, err
}

// Moving returns the volumes whose Books say that they move between two servers, this one among them, by a live migration. What can't be
// read now is not looked at.
func (s *Service) Moving(ctx context.Context, migration string) map[volume.ID]Book {
	found := map[volume.ID]Book{}
	for _, id := range s.cfg.Volumes.Recorded() {
		b, err := s.Book(ctx, id)
		if err != nil || b.Guest() == "" || b.Server != s.cfg.ServerID && b.Guest() != s.cfg.ServerID {
			continue
		}
		if slices.ContainsFunc(b.Attachments, func(r Record) bool { return r.Migration == migration }) {
			found[id] = b
		}
	}
	return found
}

// Abroad returns a client's attachment to a volume that another server exports at this moment, as Source does for one of this server, and
// that server. The zero Server is that no other one does.
func (s *Service) Abroad(ctx context.Context, id volume.ID, client volume.Client, initiator string) (by Server, r Record, err error) {
	v, err := s.cfg.Volumes.Get(ctx, id, nil)
	if err != nil || s.find(id) != nil {
		return by, r, err
	}
	list, err := s.look(ctx, id)
	if err != nil {
		return by, r, err
	}
	m, ok := foreign(list, s.cfg.ServerID, time.Now())
	if !ok {
		return by, r, nil
	}
	by = Server{m.Server, m.Host}
	err = s.movable(&v)
	if m.Server == "" {
		err = errors.New("it is not of this program")
	}
	if err != nil {
		return by, r, fault.Errorf(fault.VolumeAlreadyExported,
			"volume %s is exported by %s and migrates there: its destination attaches through that server too, and not through this one, since %w", id, m.where(), err)
	}
	b, err := s.Book(ctx, id)
	if err != nil {
		return by, r, err
	}
	for _, a := range b.Attachments {
		if b.Server != m.Server || a.Server != "" || a.Client != client || initiator != "" && a.Initiator != initiator {
			continue
		}
		if !r.ID.IsZero() {
			return by, r, fault.Errorf(fault.BadRequest, "volume %s is exported to client %s several times; 'source' has to name the initiator", id, client)
		}
		r = a
	}
	if r.Migration != "" {
		return by, r, fault.Errorf(fault.VolumeMigrating, "volume %s takes part in the live migration %s to the server %s; conclude it there, or revert it, first",
			id, r.Migration, cmp.Or(b.Guest(), b.Server))
	}
	if r.ID.IsZero() {
		return by, r, fault.Errorf(fault.VolumeNotExported, "volume %s is not exported to client %s by %s; only what is exported can migrate", id, client, m.where())
	}
	return by, r, nil
}

// movable says why a volume can't move between two servers.
func (s *Service) movable(v *volume.Volume) error {
	switch {
	case !s.cfg.Shared(v.Pool):
		return fault.Errorf(fault.BadRequest, "the pool %s is one server's; two need \"shared\": true in its settings.json", v.Pool)
	case v.Meta.Format != volume.Raw && v.Meta.Format != volume.RBD:
		return fault.Errorf(fault.BadRequest, "an image in %s format can be open in one server at a time", v.Meta.Format)
	case v.Meta.Shareable || v.Meta.ReadOnly:
		return fault.Errorf(fault.BadRequest, "a volume that is shareable or read-only is one server's as long as it is exported")
	}
	return nil
}

// Revisit brings what stands of a volume into agreement with its Book: the other server may have given it back.
func (s *Service) Revisit(ctx context.Context, id volume.ID) { s.restore(ctx, id) }

// visiting reports whether what stands of e reads another server's volume.
func (s *Service) visiting(e *exported) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.visit
}

// visit lets in whom a Book of another server has for this one, for reading. It reports whether the volume is not this server's to open for
// writing, and so nothing else is to be done.
func (s *Service) visit(ctx context.Context, id volume.ID) (abroad bool, err error) {
	if pool, _ := s.cfg.Volumes.PoolOf(id); !s.cfg.Shared(pool) {
		return false, nil
	}
	b, err := s.Book(ctx, id)
	if err != nil || len(b.Attachments) == 0 || b.writer() == s.cfg.ServerID {
		return false, nil //nolint:nilerr // the change says what is wrong with the Book
	}
	if !b.Visits(s.cfg.ServerID) {
		return true, nil
	}
	return true, s.Visit(ctx, id)
}

// Visit lets in whom the Book of another server has for this one: they can read. Those who want to write ask the Pen.
func (s *Service) Visit(ctx context.Context, id volume.ID) error {
	if e := s.find(id); e != nil && !s.visiting(e) {
		return nil // it is taken
	}
	e, err := s.changeIn(ctx, id, nil, func(sc *scene) error {
		if !sc.book.Visits(s.cfg.ServerID) {
			return errForeign
		}
		return nil
	}, func(fn func(ctx context.Context, t *volume.Turn) error) error {
		return s.cfg.Volumes.Visit(ctx, id, fn)
	})
	if err == nil && len(s.standing(e)) == 0 {
		err = fault.Errorf(fault.VolumeMigrating, "nobody is to be let in to volume %s any more", id)
	}
	return err
}

var errNotPassed = errors.New("the right to write the volume is not this server's")

// Pass gives the pen of a volume, which this server has, to the server to, and lets go of the volume. The gates are shut, and nothing is under
// way. With an error it may be either's by the Book, and nobody has it: it is called again.
func (s *Service) Pass(ctx context.Context, id volume.ID, migration, to string) error {
	_, err := s.change(ctx, id, "migrate", nil, func(sc *scene) error {
		switch {
		case sc.book.Server != s.cfg.ServerID:
			return nil
		case sc.book.Pen == to:
			return sc.flush()
		case !sc.passes(migration, to):
			return gone(id, volume.ID{})
		}
		sc.book.Pen = to
		return sc.flush()
	})
	if err != nil {
		return err
	}
	return s.LetGo(ctx, id)
}

// passes reports whether the Book has an attachment of a migration for a server.
func (sc *scene) passes(migration, to string) bool {
	for _, r := range sc.book.Attachments {
		if r.Migration == migration && r.Server == to {
			return true
		}
	}
	return false
}

// LetGo ends what stands of a volume here, which is another server's. Its Book is left alone.
func (s *Service) LetGo(ctx context.Context, id volume.ID) error {
	done, err := s.turn(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if e := s.find(id); e != nil {
		return s.letGo(ctx, e)
	}
	return nil
}

// Take takes the lock of a volume whose pen was passed to this server, and opens it for writing. Its gates stay as they are.
func (s *Service) Take(ctx context.Context, id volume.ID) error {
	_, err := s.change(ctx, id, "migrate", nil, func(sc *scene) error {
		if sc.book.writer() != s.cfg.ServerID {
			return errNotPassed
		}
		return sc.take()
	})
	if err != nil {
		return err
	}
	return s.remark(id)
}

// remark writes the markers of what stands: they may be the other server's.
func (s *Service) remark(id volume.ID) error {
	e := s.find(id)
	if e == nil {
		return nil
	}
	for _, a := range s.standing(e) {
		s.mu.Lock()
		r := a.rec
		s.mu.Unlock()
		k, err := s.kind(r.Kind)
		if err != nil {
			return err
		}
		if err := writeMarker(e.dir, Name(r.Client, id)+markerSuffix, s.marker(r, k)); err != nil {
			return err
		}
	}
	return nil
}

// Inheritor is an Attached that can take what another one had reserved through another server, as the volume's records have it.
type Inheritor interface {
	Inherit(ctx context.Context, from volume.ID) error
}

// Inherit moves what an attachment had reserved through another server to one that stands here. The volume was taken.
func (s *Service) Inherit(ctx context.Context, id, from, to volume.ID) error {
	a, _, fencing := s.attached(id, to)
	if a == nil || fencing {
		return fault.Errorf(fault.PoolUnavailable, "volume %s is not there at this moment", id)
	}
	if heir, ok := a.at.(Inheritor); ok {
		return heir.Inherit(ctx, from)
	}
	return nil
}

// Commit makes the Book of a volume that was taken this server's, with the attachment keep alone.
func (s *Service) Commit(ctx context.Context, id volume.ID, migration string, keep volume.ID) error {
	var ended []Record
	e, err := s.change(ctx, id, "migrate", nil, func(sc *scene) error {
		r, ok := sc.book.Get(keep)
		switch {
		case sc.book.Server == s.cfg.ServerID:
			return nil
		case sc.book.writer() != s.cfg.ServerID || !ok || r.Migration != migration:
			return errNotPassed
		}
		ended = sc.book.Attachments
		r.Migration, r.Server = "", ""
		sc.book = Book{Server: s.cfg.ServerID, Epoch: sc.book.Epoch, Attachments: []Record{r}}
		return sc.take()
	})
	if err != nil {
		return err
	}
	for _, r := range ended {
		if name := Name(r.Client, id) + markerSuffix; !s.marked(id, name) {
			if err := removeMarker(e.dir, name); err != nil {
				s.cfg.Log.Warn("export marker not removed", slog.Any("volume", id), slog.Any("error", err)) // the other server finds it
			}
		}
	}
	return nil
}

// Returner is a Kind that keeps in a volume's records what its attachments have reserved.
type Returner interface {
	Kind
	// Return makes what the attachment to has reserved, which does not stand any more, that of from again, which it was inherited from
	// (Inheritor). It may be called again.
	Return(records *Store, from, to volume.ID) error
}

// Return gives a volume whose pen was passed to this server back to the one whose Book it is, with what the attachment lose has reserved, and
// ends that. Its gate is shut, and nothing is under way.
func (s *Service) Return(ctx context.Context, id volume.ID, migration string, lose volume.ID) error {
	e := s.find(id)
	if e != nil && !s.visiting(e) {
		_, err := s.change(ctx, id, "migrate", nil, func(sc *scene) error {
			sc.closed = true
			if sc.book.writer() != s.cfg.ServerID {
				return nil
			}
			return sc.flush()
		})
		if err != nil {
			return err
		}
	}
	dir, err := s.directory(ctx, id)
	if err != nil {
		return err
	}
	defer dir.Close()
	ended, err := s.giveBack(ctx, id, migration, lose, &Store{dir: dir, step: s.cfg.step})
	if err != nil {
		return err
	}
	s.unmark(id, dir)
	if e != nil && !ended.ID.IsZero() {
		s.publish(e, ended, volume.EventUnexported, nil)
	}
	return nil
}

// errStands is that somebody was let in again since the volume was let go of.
var errStands = errors.New("the volume is served here")

// giveBack is Return for a volume that was flushed. It returns what ended.
func (s *Service) giveBack(ctx context.Context, id volume.ID, migration string, lose volume.ID, store *Store) (ended Record, err error) {
	// What it has reserved is another's from then on: nothing here is to save it once more.
	if err := s.LetGo(ctx, id); err != nil {
		return ended, err
	}
	_, err = s.change(ctx, id, "migrate", nil, func(sc *scene) error {
		if s.find(id) != nil {
			return errStands
		}
		if sc.book.writer() != s.cfg.ServerID || !sc.book.Visits(s.cfg.ServerID) {
			return nil
		}
		for _, r := range sc.book.Attachments {
			if cmp.Or(r.Server, sc.book.Server) != sc.book.Server || r.Migration != migration {
				continue
			}
			if k, err := s.kind(r.Kind); err == nil {
				if back, ok := k.(Returner); ok {
					if err := back.Return(store, r.ID, lose); err != nil {
						return err
					}
				}
			}
			r.Migration = ""
			sc.book.Set(r)
		}
		ended, _ = sc.book.Get(lose)
		sc.book.Pen = ""
		sc.book.Drop(func(r Record) bool { return r.ID == lose })
		return nil
	})
	if err == errStands && ctx.Err() == nil { //nolint:errorlint // it is returned as it is
		return s.giveBack(ctx, id, migration, lose, store)
	}
	return ended, err
}

// unmark removes the markers of this server that nothing stands for.
func (s *Service) unmark(id volume.ID, dir *os.Root) {
	list, err := marks(dir)
	if err != nil {
		return
	}
	for _, m := range list {
		if m.Server == s.cfg.ServerID && !s.marked(id, m.name) {
			if err := removeMarker(dir, m.name); err != nil {
				s.cfg.Log.Warn("export marker not removed", slog.Any("volume", id), slog.Any("error", err))
			}
		}
	}
}

// flush returns when what was written through the volume's Device is on stable storage. The caller has the turn.
func (e *exported) flush(ctx context.Context) error {
	if e.device == nil {
		return nil
	}
	return e.device.Flush(ctx)
}
