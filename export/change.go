package export

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"

	"elstore/volume"
	"elstore/volume/fault"
)

// scene is what a change decides by, read under the volume's lock.
type scene struct {
	volume volume.Volume
	shared bool
	marks  []mark
	book   Book // the editor changes it through its methods
	q      *Request
	idle   func() error // nil where nobody in this machine has the image open by its path
	take   func() error // opens for writing what is open for reading
	flush  func() error // what was written through what is open
	visit  bool         // the volume is another server's: nobody changes the Book, and who is let in reads
	closed bool         // the editor says that nobody is let in by this change
	spares bool         // the editor says that whoever can't be let in is not to keep the others out
}

// spared reports whether a record that nothing stands for may go on waiting when it can't be let in: it was in the Book before,
// and is not what the change is about.
func (sc *scene) spared(old *Book, r Record) bool {
	_, was := old.Get(r.ID)
	return was && (sc.spares || sc.q != nil && (r.Client != sc.q.Client || r.Kind != sc.q.Kind))
}

// settled is what settle came to.
type settled struct {
	e       *exported
	unused  []*volume.Opened // claims of who could not be let in; they can't be closed in the volume.Turn
	waiting error            // why somebody who is in the Book could not be let in; nil: all of it stands
}

// editor decides what a change makes of the Book. With an error nothing is changed.
type editor func(sc *scene) error

// change lets edit change a volume's Book, and brings what stands into agreement with it. What was let in stands when it returns
// nil, and nothing of what was shut out is left. Others of the Book that could not be let in again are left to Run. It is the one
// way in which attachments come and go.
func (s *Service) change(ctx context.Context, id volume.ID, purpose string, q *Request, edit editor) (*exported, error) {
	return s.changeIn(ctx, id, q, edit, func(fn func(ctx context.Context, t *volume.Turn) error) error {
		return s.cfg.Volumes.Turn(ctx, id, purpose, fn)
	})
}

// changeIn is change in a volume.Turn that enter begins.
func (s *Service) changeIn(
	ctx context.Context, id volume.ID, q *Request, edit editor, enter func(fn func(ctx context.Context, t *volume.Turn) error) error,
) (*exported, error) {
	done, err := s.turn(ctx, id)
	if err != nil {
		return nil, err
	}
	defer done()
	if e := s.find(id); e != nil && (e.stale() || q.takesOver() && s.visiting(e)) {
		if err := s.letGo(ctx, e); err != nil {
			return nil, err
		}
	}
	var to *settled
	for {
		err = enter(func(ctx context.Context, t *volume.Turn) (err error) {
			to, err = s.settle(ctx, t, q, edit)
			return err
		})
		if err == nil {
			break
		}
		if err != errStillFencing { //nolint:errorlint // it is returned as it is
			return nil, err
		}
		if e := s.find(id); e != nil { // which is no more once nothing of it is left
			if err := s.shutOut(ctx, e); err != nil {
				return nil, err
			}
		}
	}
	if to.waiting != nil {
		s.mu.Lock()
		s.waiting[id] = to.waiting
		s.mu.Unlock()
	}
	for _, claim := range to.unused {
		if err := claim.Close(); err != nil { //nolint:contextcheck // a claim ends whatever became of its user
			s.cfg.Log.Error("claim not ended after a failure", slog.Any("volume", id), slog.Any("error", err))
		}
	}
	return to.e, s.shutOut(ctx, to.e)
}

// Change lets edit change the Book of a volume that this server exports, and brings what stands into agreement with it, for who
// does more than to export and unexport. v is the volume as it is under its lock. An error of edit's changes nothing. The new
// Book is on stable storage before it takes effect; what it lacks is fenced when Change returns nil.
func (s *Service) Change(ctx context.Context, id volume.ID, purpose string, edit func(v volume.Volume, b *Book) error) error {
	_, err := s.change(ctx, id, purpose, nil, func(sc *scene) error {
		if err := s.adopt(sc); err != nil {
			return err
		}
		return edit(sc.volume, &sc.book)
	})
	return err
}

// Attachment is one that stands, with its gate: whoever moves the right to write from one to another has both.
type Attachment struct {
	Record   Record
	Gate     *Gate
	Attached Attached
}

// Standing returns the attachments of a volume that stand, in the order in which they were made.
func (s *Service) Standing(id volume.ID) []Attachment {
	e := s.find(id)
	if e == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Attachment
	for _, a := range e.attachments {
		if !a.fencing {
			list = append(list, Attachment{a.rec, a.gate, a.at})
		}
	}
	slices.SortFunc(list, func(a, b Attachment) int { return cmp.Compare(a.Record.Epoch, b.Record.Epoch) })
	return list
}

// errStillFencing is what settle fails with before it lets somebody new in beside what is being fenced: that has to be proven first,
// which can't be done under the volume's lock.
var errStillFencing = errors.New("an export of the volume is being fenced")

// settle is change under the volume's lock, but for what is shut out: that is only marked, since the lock is needed to close the
// volume.
func (s *Service) settle(ctx context.Context, t *volume.Turn, q *Request, edit editor) (*settled, error) {
	v := t.Volume()
	e := s.find(v.ID)
	if e == nil {
		dir, err := t.Directory()
		if err != nil {
			return nil, err
		}
		e = &exported{id: v.ID, shared: s.cfg.Shared(v.Pool), dir: dir, units: map[string]Unit{}}
		e.store = &Store{dir: dir, step: s.cfg.step}
		defer func() {
			if s.find(v.ID) == nil {
				dir.Close() //nolint:gosec // nothing was written through it
			}
		}()
	}
	old, err := e.store.readBook(v.ID)
	if err != nil {
		return nil, err
	}
	sc := &scene{
		volume: v, shared: e.shared, book: old, q: q, visit: t.Visits(),
		idle: func() error { return t.Idle(ctx) }, take: func() error { return t.Take(ctx) }, flush: func() error { return e.flush(ctx) },
	}
	if sc.marks, err = marks(e.dir); err != nil {
		return nil, err
	}
	if err := edit(sc); err != nil {
		return nil, err
	}
	p := &passage{s: s, e: e, turn: t, scene: sc, old: old}
	var spared []Record
	for _, r := range s.fresh(e, sc) {
		if _, was := old.Get(r.ID); !was && e.fencing(s) {
			return nil, errStillFencing
		}
		if sc.spared(&old, r) {
			spared = append(spared, r)
		} else {
			p.fresh = append(p.fresh, r)
		}
	}
	if err := p.run(ctx); err != nil {
		p.undo(ctx)
		return nil, err
	}
	to := &settled{e: e}
	var errs []error
	for _, r := range spared { // each on its own, so that one that fails keeps nobody else out
		p := &passage{s: s, e: e, turn: t, scene: sc, old: sc.book, fresh: []Record{r}}
		if err := p.run(ctx); err != nil {
			p.undo(ctx)
			to.unused = append(to.unused, p.claims...)
			errs = append(errs, fmt.Errorf("client %s can't be let in over %s: %w", r.Client, r.Kind, err))
		}
	}
	to.waiting = errors.Join(errs...)
	return to, nil
}

// passage is one change on its way from a Book to the next.
type passage struct {
	s     *Service
	e     *exported
	turn  *volume.Turn
	scene *scene
	old   Book
	fresh []Record // that it is to let in

	claims  []*volume.Opened // in the order of fresh, as far as it came
	written bool             // the new Book may be on disk
	names   []string         // that were taken
	markers []string         // that were written and not there before
	units   []string         // kinds that began to serve
	added   []*attachment
}

// run does what is to be done, in the order that doc.go has.
func (p *passage) run(ctx context.Context) error {
	for _, r := range p.fresh {
		name, me := Name(r.Client, p.e.id), pair{r.Client, p.e.id}
		_, had := p.s.nameOf(name)
		if other, ok := p.s.claimName(name, me); !ok {
			return fault.Errorf(fault.TargetNameTaken, "the name %s, which client %s's exports of volume %s would bear, is that of client %s's of volume %s",
				name, r.Client, p.e.id, other.client, other.id)
		}
		if !had {
			p.names = append(p.names, name)
		}
		claim, err := p.turn.Open(ctx, p.claim(r))
		if err != nil {
			return err
		}
		p.claims = append(p.claims, claim)
	}
	if !same(&p.old, &p.scene.book) {
		p.written = true
		if err := p.e.store.saveBook(&p.scene.book); err != nil {
			return err
		}
	}
	for i, r := range p.fresh {
		if err := p.letIn(ctx, r, p.claims[i]); err != nil {
			return err
		}
	}
	return p.enter(ctx)
}

// fresh returns the records that nothing stands for.
func (s *Service) fresh(e *exported, sc *scene) []Record {
	if sc.closed {
		return nil
	}
	if !sc.visit && sc.book.writer() != s.cfg.ServerID {
		return nil
	}
	standing := s.standing(e)
	return slices.DeleteFunc(slices.Clone(sc.book.Attachments), func(r Record) bool {
		return !sc.book.lets(r, s.cfg.ServerID) || s.over(r) || slices.ContainsFunc(standing, func(a *attachment) bool { return a.rec.ID == r.ID })
	})
}

// claim is what a record claims its volume with.
func (p *passage) claim(r Record) volume.Claim {
	kind, e := r.Kind, p.e
	return volume.Claim{
		Export: r.Kind + ":" + r.Client.String(), Client: r.Client, ReadOnly: r.ReadOnly, Path: r.Path,
		Resized: func(size int64) {
			p.s.mu.Lock()
			unit := e.units[kind]
			p.s.mu.Unlock()
			if unit != nil {
				unit.Resized(size)
			}
		},
	}
}

// letIn makes one attachment stand.
func (p *passage) letIn(ctx context.Context, r Record, claim *volume.Opened) error {
	k, err := p.s.kind(r.Kind)
	if err != nil {
		return err
	}
	if err := p.mark(r, k); err != nil {
		return err
	}
	unit, err := p.unit(ctx, k, claim)
	if err != nil {
		return err
	}
	a := &attachment{rec: r, claim: claim, gate: p.s.gateOf(ctx, r)}
	watch := func(ses Session, began bool) { p.s.watched(p.e, a, ses, began) }
	if a.at, err = unit.Attach(ctx, r, r.Rates.Over(RatesOf(p.scene.volume.Meta)), a.gate, watch); err != nil {
		return err
	}
	p.added = append(p.added, a)
	return nil
}

// mark writes the client's marker, unless that is another server's to do.
func (p *passage) mark(r Record, k Kind) error {
	if p.scene.visit {
		return nil
	}
	name := Name(r.Client, p.e.id) + markerSuffix
	if err := p.e.store.ask("mark", name); err != nil {
		return err
	}
	if _, err := p.e.dir.Lstat(name); err != nil {
		p.markers = append(p.markers, name)
	}
	if err := writeMarker(p.e.dir, name, p.s.marker(r, k)); err != nil {
		return err
	}
	return p.e.store.ask("marked", name)
}

// marker is what is to be seen of an attachment.
func (s *Service) marker(r Record, k Kind) Marker {
	return Marker{Server: s.cfg.ServerID, Host: s.host, BootID: s.bootID, Portals: k.Where(), Kind: r.Kind, Epoch: r.Epoch, Since: r.Since}
}

// unit returns the volume as the kind serves it.
func (p *passage) unit(ctx context.Context, k Kind, claim *volume.Opened) (Unit, error) {
	e := p.e
	p.s.mu.Lock()
	unit := e.units[k.Name()]
	p.s.mu.Unlock()
	if unit != nil {
		return unit, nil
	}
	if e.device == nil {
		e.device = claim
		if e.shared {
			e.lease = newLease(p.s.cfg.now)
			e.device = &leased{claim, e.lease}
		}
	}
	log := p.s.cfg.Log.With(slog.Any("volume", e.id), slog.String("kind", k.Name()))
	m := Medium{Volume: p.scene.volume, Device: e.device, Records: e.store, Log: log}
	for _, r := range p.scene.book.Attachments {
		m.Attachments = append(m.Attachments, r.ID)
	}
	unit, err := k.Serve(ctx, m)
	if err != nil {
		return nil, err
	}
	p.units = append(p.units, k.Name())
	p.s.mu.Lock()
	e.units[k.Name()] = unit
	p.s.mu.Unlock()
	return unit, nil
}

// enter makes the change that of memory too. What is not in the Book any more is fencing from now on.
func (p *passage) enter(ctx context.Context) error {
	s, e := p.s, p.e
	rates := RatesOf(p.scene.volume.Meta)
	var errs []error
	s.mu.Lock()
	units := slices.Collect(maps.Values(e.units))
	s.mu.Unlock()
	for _, unit := range units {
		if u, ok := unit.(Updater); ok {
			errs = append(errs, u.Updated(ctx, &p.scene.volume.Meta))
		}
	}
	for _, a := range s.standing(e) {
		if r, ok := p.scene.book.Get(a.rec.ID); ok {
			if err := a.at.Renew(r, r.Rates.Over(rates)); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.attachments = append(e.attachments, p.added...)
	e.book, e.owner, e.private = p.scene.book, p.scene.volume.Meta.Creator, p.scene.volume.Meta.Private
	e.visit = p.scene.visit
	for _, a := range e.attachments {
		if r, ok := e.book.Get(a.rec.ID); ok {
			a.rec = r
		} else {
			a.fencing = true
		}
	}
	for _, r := range p.old.Attachments {
		_, stays := e.book.Get(r.ID)
		if !stays && !slices.ContainsFunc(e.attachments, func(a *attachment) bool { return a.rec.ID == r.ID }) {
			e.ghosts = append(e.ghosts, r)
		}
	}
	if len(e.attachments) > 0 {
		s.volumes[e.id] = e
	}
	delete(s.waiting, e.id)
	return nil
}

// undo puts back what run did before it failed. Who was in the Book before keeps what it has reserved. The claims are the turn's
// to end, or the caller's.
func (p *passage) undo(ctx context.Context) {
	s, e := p.s, p.e
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.FenceWait)
	defer cancel()
	log := s.cfg.Log.With(slog.Any("volume", e.id))
	for _, a := range p.added {
		end := a.at.Remove
		if _, was := p.old.Get(a.rec.ID); was {
			end = a.at.Detach
		}
		if err := end(ctx); err != nil {
			log.Error("attachment not removed after a failure", slog.Any("error", err))
		}
	}
	for _, kind := range p.units {
		s.mu.Lock()
		unit := e.units[kind]
		delete(e.units, kind)
		s.mu.Unlock()
		if err := unit.Close(ctx, false); err != nil {
			log.Error("unit not closed after a failure", slog.Any("error", err))
		}
	}
	if s.find(e.id) == nil {
		e.device, e.lease = nil, nil
	}
	for _, name := range p.markers {
		if err := removeMarker(e.dir, name); err != nil {
			log.Warn("export marker not removed", slog.Any("error", err))
		}
	}
	s.mu.Lock()
	for _, name := range p.names {
		delete(s.names, name)
	}
	s.mu.Unlock()
	if !p.written {
		return
	}
	if err := e.store.saveBook(&p.old); err != nil {
		// Whatever of the two is on disk: it stands after the next look at it.
		log.Error("export records not put back after a failure", slog.Any("error", err))
		s.await(e.id, err)
	}
}

// same reports whether a Book needs no writing to become the other.
func same(a, b *Book) bool {
	if len(a.Attachments)+len(b.Attachments) == 0 {
		return true
	}
	return a.Server == b.Server && a.Pen == b.Pen && a.Epoch == b.Epoch && slices.EqualFunc(a.Attachments, b.Attachments, func(x, y Record) bool {
		return string((&Book{Attachments: []Record{x}}).encode()) == string((&Book{Attachments: []Record{y}}).encode())
	})
}

// nameOf returns whose a name is.
func (s *Service) nameOf(name string) (pair, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.names[name]
	return p, ok
}

// await notes that a volume's Book has to be looked at again.
func (s *Service) await(id volume.ID, why error) {
	s.mu.Lock()
	s.waiting[id] = why
	s.mu.Unlock()
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// directory opens a volume's directory for a look, whoever is at work there.
func (s *Service) directory(ctx context.Context, id volume.ID) (*os.Root, error) {
	return s.cfg.Volumes.Directory(ctx, id)
}
