package export

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"elstore/volume"
)

// Info is what anybody may know of an attachment: everything but its secrets.
type Info struct {
	Volume    volume.ID
	Pool      string
	Owner     volume.Who // of the volume; nil where that can't be known
	Name      string     // see Name
	Record    Record     // without secrets
	Rates     Rates      // that count, the volume's where the record has none
	Where     []string
	State     State
	Sessions  []Session
	Counts    Counts
	Heartbeat time.Time // of the last one that was good; zero before the first
}

// State is where an attachment stands.
type State string

// The states.
const (
	Standing State = "standing" // clients get in
	Fencing  State = "fencing"  // it has ended, and requests that were under way have not yet
)

// Query selects attachments. Nil is all.
type Query struct {
	Client *volume.Client
	Volume *volume.ID
}

// List returns the attachments that stand, in the order of their volumes' ids and of their epochs.
func (s *Service) List(ctx context.Context, q Query) []Info {
	return s.list(q, func(i *Info) {
		if v, err := s.cfg.Volumes.Get(ctx, i.Volume, nil); err == nil {
			i.Pool, i.Owner, i.Rates = v.Pool, &v.Meta.Creator, i.Record.Rates.Over(RatesOf(v.Meta))
		}
	})
}

// Brief is List of all, without the pools, owners and volumes' rates: it asks no storage, and so never waits for one.
func (s *Service) Brief() []Info { return s.list(Query{}, func(*Info) {}) }

func (s *Service) list(q Query, complete func(*Info)) []Info {
	var list []Info
	for _, e := range s.all() {
		if q.Volume != nil && *q.Volume != e.id {
			continue
		}
		for _, a := range s.standing(e) {
			s.mu.Lock()
			r, fencing := a.rec, a.fencing
			s.mu.Unlock()
			if q.Client != nil && *q.Client != r.Client {
				continue
			}
			i := Info{
				Volume: e.id, Name: Name(r.Client, e.id), Record: r.public(), State: Standing,
				Sessions: a.at.Sessions(), Counts: a.at.Counts(), Rates: r.Rates,
			}
			complete(&i)
			if k, err := s.kind(r.Kind); err == nil {
				i.Where = k.Where()
			}
			if t := e.beaten.Load(); t != nil {
				i.Heartbeat = *t
			}
			if fencing {
				i.State = Fencing
			}
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(bytes.Compare([]byte(a.Volume.String()), []byte(b.Volume.String())), cmp.Compare(a.Record.Epoch, b.Record.Epoch))
	})
	return list
}

// public returns the record without its secrets.
func (r Record) public() Record {
	var none Record
	r.Secret, r.PeerSecret = none.Secret, none.PeerSecret
	return r
}

// Orphan is something that disagrees with something else.
type Orphan struct {
	Volume volume.ID
	What   string // a sentence
}

// Orphans looks at every volume that has export records or markers, and returns what disagrees: what should stand and
// doesn't, and markers that nothing stands for.
func (s *Service) Orphans(ctx context.Context) []Orphan {
	var list []Orphan
	s.mu.Lock()
	for id, err := range s.waiting {
		list = append(list, Orphan{id, "its exports could not be restored yet: " + err.Error()})
	}
	s.mu.Unlock()
	for _, id := range s.cfg.Volumes.Recorded() {
		list = append(list, s.orphansOf(ctx, id)...)
	}
	slices.SortFunc(list, func(a, b Orphan) int {
		return cmp.Or(bytes.Compare([]byte(a.Volume.String()), []byte(b.Volume.String())), cmp.Compare(a.What, b.What))
	})
	return list
}

func (s *Service) orphansOf(ctx context.Context, id volume.ID) (list []Orphan) {
	add := func(what string) { list = append(list, Orphan{id, what}) }
	dir, err := s.directory(ctx, id)
	if err != nil {
		return nil // it went meanwhile
	}
	defer dir.Close()
	found, err := marks(dir)
	if err != nil {
		add(err.Error())
	}
	b, err := (&Store{dir: dir}).readBook(id)
	if err != nil {
		add(err.Error())
	}
	for _, m := range found {
		switch ours := s.marked(id, m.name); {
		case ours:
		case m.Server == s.cfg.ServerID:
			add("the marker " + m.name + " is of an export of this server that does not stand")
		case m.fresh(time.Now()):
			add("the marker " + m.name + " is kept fresh by " + m.where() + " not by this server")
		default:
			add("the marker " + m.name + " is of an export of " + m.where() + " that nobody keeps fresh")
		}
	}
	for _, r := range b.Attachments {
		switch {
		case b.Passed() || !b.lets(r, b.Server): // it moves between two servers
		case b.Server != s.cfg.ServerID:
			add("its records are of the server " + b.Server + ", and have client " + r.Client.String() + " over " + r.Kind)
		case !s.stands(id, r.ID):
			add("client " + r.Client.String() + " over " + r.Kind + " is in its records, and does not stand")
		}
	}
	if e := s.find(id); e != nil {
		for _, a := range s.standing(e) {
			if _, ok := b.Get(a.rec.ID); !ok && !a.fencing {
				add("client " + a.rec.Client.String() + " over " + a.rec.Kind + " stands, and is not in its records")
			}
		}
	}
	return list
}

func (s *Service) stands(id, of volume.ID) bool {
	e := s.find(id)
	return e != nil && slices.ContainsFunc(s.standing(e), func(a *attachment) bool { return a.rec.ID == of })
}
