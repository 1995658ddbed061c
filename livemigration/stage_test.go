package livemigration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"elstore/export"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

var (
	alice = client(1)
	bob   = client(2)
)

// toy is an export.Kind whose clients are the test: machines that log in and write. It holds the Service to its promises: at no moment may
// two attachments of a volume be changing it.
type toy struct {
	t    testing.TB
	ring *ring // that of another server's too, where two share a pool

	mu    sync.Mutex
	units map[volume.ID]*toyUnit
	fail  map[string]error // by what is to fail: attach, remove, succeed
}

// ring knows who writes to which volume, through whatever server.
type ring struct {
	mu      sync.Mutex
	writing map[volume.ID]map[volume.ID]int // by volume and attachment, how many writes are under way
}

func newRing() *ring { return &ring{writing: map[volume.ID]map[volume.ID]int{}} }

// enter notes a write. It is an error if another attachment's is under way.
func (r *ring) enter(t testing.TB, id, of volume.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writing[id] == nil {
		r.writing[id] = map[volume.ID]int{}
	}
	r.writing[id][of]++
	for other, n := range r.writing[id] {
		if other != of && n > 0 {
			t.Errorf("%s writes to volume %s while %d writes of %s are under way", of, id, n, other)
		}
	}
}

func (r *ring) leave(id, of volume.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writing[id][of]--
}

func (k *toy) failing(what string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fail[what]
}

func (k *toy) failOn(what string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail[what] = err
}

func (k *toy) Name() string               { return "iscsi" }
func (k *toy) Where() []string            { return nil }
func (k *toy) KeepsToGates()              {}
func (k *toy) Stop(context.Context) error { return nil }

func (k *toy) Complete(_ *volume.Volume, q *export.Request, r *export.Record) error {
	if q.Initiator == "bad" {
		return fault.Errorf(fault.BadRequest, "'initiator' is bad")
	}
	if r != nil {
		r.Initiator = q.Initiator
		if q.Initiator != "open" { // stands for no CHAP
			r.User = volume.NewID().String()
		}
	}
	return nil
}

func (k *toy) Serve(_ context.Context, m export.Medium) (export.Unit, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	u := &toyUnit{kind: k, id: m.Volume.ID, device: m.Device, attached: map[volume.ID]*toyAttached{}}
	k.units[u.id] = u
	return u, nil
}

// fixed is a kind that has no gates.
type fixed struct{ export.Kind }

func (fixed) Name() string { return "fixed" }

// get returns an attachment that stands, or nil.
func (k *toy) get(id, of volume.ID) *toyAttached {
	k.mu.Lock()
	defer k.mu.Unlock()
	if u := k.units[id]; u != nil {
		return u.attached[of]
	}
	return nil
}

type toyUnit struct {
	kind     *toy
	id       volume.ID
	device   export.Device
	attached map[volume.ID]*toyAttached
}

func (u *toyUnit) Attach(_ context.Context, r export.Record, _ export.Rates, g *export.Gate, w export.Watch) (export.Attached, error) {
	if err := u.kind.failing("attach"); err != nil {
		return nil, err
	}
	a := &toyAttached{unit: u, rec: r, gate: g, watch: w, ended: make(chan struct{})}
	a.life, a.kill = context.WithCancel(context.Background())
	u.kind.mu.Lock()
	defer u.kind.mu.Unlock()
	u.attached[r.ID] = a
	return a, nil
}

func (u *toyUnit) Resized(int64) {}

func (u *toyUnit) Close(context.Context, bool) error {
	u.kind.mu.Lock()
	defer u.kind.mu.Unlock()
	delete(u.kind.units, u.id)
	return nil
}

type toyAttached struct {
	unit  *toyUnit
	rec   export.Record
	gate  *export.Gate
	watch export.Watch
	life  context.Context //nolint:containedctx // of the attachment, which its commands have
	kill  context.CancelFunc

	// under toy.mu
	live     []export.Session
	reserved string
	running  int
	ended    chan struct{} // closed when none runs, and there was somebody to wait for it
	gone     bool
}

func (a *toyAttached) Access(*export.Request) export.Access {
	return export.Access{URI: "toy://" + a.rec.ID.String()}
}

func (a *toyAttached) Renew(export.Record, export.Rates) error { return nil }

func (a *toyAttached) Sessions() []export.Session {
	a.unit.kind.mu.Lock()
	defer a.unit.kind.mu.Unlock()
	return slices.Clone(a.live)
}

func (a *toyAttached) Counts() export.Counts { return export.Counts{} }

func (a *toyAttached) Succeed(_ context.Context, old export.Attached) error {
	if err := a.unit.kind.failing("succeed"); err != nil {
		return err
	}
	from := old.(*toyAttached)
	a.unit.kind.mu.Lock()
	defer a.unit.kind.mu.Unlock()
	if len(a.live) > 0 && from.reserved != "" {
		a.reserved, from.reserved = from.reserved, ""
	}
	return nil
}

func (a *toyAttached) Remove(ctx context.Context) error { return a.Detach(ctx) }

func (a *toyAttached) Detach(ctx context.Context) error {
	if err := a.unit.kind.failing("remove"); err != nil {
		return err
	}
	a.kill()
	a.unit.kind.mu.Lock()
	a.gone, a.live = true, nil
	for a.running > 0 {
		ended := a.ended
		a.unit.kind.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
		a.unit.kind.mu.Lock()
	}
	delete(a.unit.attached, a.rec.ID)
	a.unit.kind.mu.Unlock()
	return nil
}

// login logs somebody in. It says whether they got in.
func (a *toyAttached) login() bool {
	s := export.Session{Initiator: "toy", Since: time.Now()}
	a.unit.kind.mu.Lock()
	if a.gone {
		a.unit.kind.mu.Unlock()
		return false
	}
	a.live = append(a.live, s)
	a.unit.kind.mu.Unlock()
	a.watch(s, true)
	return true
}

func (a *toyAttached) logout() {
	a.unit.kind.mu.Lock()
	defer a.unit.kind.mu.Unlock()
	a.live = nil
}

// begin is a command that changes the medium, up to its end, which is end. Nil says that it was refused.
func (a *toyAttached) begin(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(a.life, cancel)()
	defer cancel()
	k := a.unit.kind
	k.mu.Lock()
	if a.gone {
		k.mu.Unlock()
		return nil
	}
	a.running++
	k.mu.Unlock()
	done := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if a.running--; a.running == 0 {
			close(a.ended)
			a.ended = make(chan struct{})
		}
	}
	if !a.gate.Enter(ctx) {
		done()
		return nil
	}
	k.ring.enter(k.t, a.unit.id, a.rec.ID)
	return func() {
		k.ring.leave(a.unit.id, a.rec.ID)
		a.gate.Leave()
		done()
	}
}

// write is a whole command.
func (a *toyAttached) write(ctx context.Context) bool {
	end := a.begin(ctx)
	if end == nil {
		return false
	}
	runtime.Gosched()
	end()
	return true
}

// stage is a server's parts on a root with one pool.
type stage struct {
	*rig.Parts
	*Service
	t       testing.TB
	root    string
	state   string
	id      string
	exports *export.Service
	toy     *toy
	ring    *ring
	shared  bool // the pool is another server's too
	change  func(*Config)
}

func newStage(t testing.TB, change func(*Config)) *stage {
	t.Helper()
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	s := &stage{t: t, root: root, state: t.TempDir(), id: volume.NewID().String(), ring: newRing(), change: change}
	s.start()
	return s
}

// start is the start of a process.
func (s *stage) start() {
	s.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("STAGE_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	s.toy = &toy{t: s.t, ring: s.ring, units: map[volume.ID]*toyUnit{}, fail: map[string]error{}}
	var live *Service
	s.Parts = rig.Assemble(s.t, s.root, func(c *volume.Config) {
		c.LockWait = 10 * time.Second
		c.Held = func(id volume.ID) error { return live.Held(id) }
	})
	var err error
	s.exports, err = export.New(export.Config{
		Volumes: s.Volumes, Events: s.Events, Log: log, ServerID: s.id, Kinds: []export.Kind{s.toy, fixed{s.toy}}, FenceWait: 50 * time.Millisecond,
		Shared: func(string) bool { return s.shared },
	})
	s.must(err)
	state, err := os.OpenRoot(s.state)
	s.must(err)
	s.t.Cleanup(func() { state.Close() })
	cfg := Config{Exports: s.exports, Events: s.Events, Log: log, State: state}
	if s.change != nil {
		s.change(&cfg)
	}
	live, err = New(cfg)
	s.must(err)
	s.Service = live
	s.exports.Restore(s.t.Context())
	s.Restore(s.t.Context())
}

// restart ends the process, as far as anybody sees as a crash does, and starts another one.
func (s *stage) restart() {
	s.t.Helper()
	s.end()
	s.start()
}

func (s *stage) end() {
	s.t.Helper()
	s.jobs.Wait()
	s.toy.failOn("remove", nil)
	for _, u := range s.toy.units {
		for _, a := range u.attached {
			a.kill()
		}
	}
	s.must(s.exports.Close(s.t.Context()))
	s.must(errors.Join(s.Volumes.Close(), s.Pools.Close()))
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// disks makes volumes that alice has exported.
func (s *stage) disks(n int) (ids []volume.ID) {
	s.t.Helper()
	for i := range n {
		m := volume.Meta{Creator: alice, Name: fmt.Sprint("disk", i), Clonable: true, Alg: volume.Copy, Format: volume.Raw, Bus: volume.Virtio, Size: 1 << 20}
		v, err := s.Volumes.Create(s.t.Context(), volume.NewVolume{Meta: m}, nil)
		s.must(err)
		_, err = s.exports.Export(s.t.Context(), export.Request{Volume: v.ID, Client: alice})
		s.must(err)
		ids = append(ids, v.ID)
	}
	return ids
}

// prepared is a migration of disks to bob.
func (s *stage) prepared(ids ...volume.ID) *Set {
	s.t.Helper()
	set, err := s.Prepare(s.t.Context(), Request{Volumes: ids, Source: Party{Client: alice}, Destination: Party{Client: bob}})
	s.must(err)
	return set
}

// at returns a side's attachment to a volume of the set, nil where it doesn't stand.
func (s *stage) at(rec Record, i int, side Side) *toyAttached {
	return s.toy.get(rec.Parts[i].Volume, rec.Parts[i].of(side))
}

// arrive logs the destination in to all volumes.
func (s *stage) arrive(rec Record) {
	s.t.Helper()
	for i := range rec.Parts {
		if !s.at(rec, i, Destination).login() {
			s.t.Fatal("the destination can't log in")
		}
	}
}

// wantWriter checks who can write, by writing. A side that is not there can't.
func (s *stage) wantWriter(rec Record, want Side) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	for i := range rec.Parts {
		for _, side := range []Side{Source, Destination} { // the destination would take the pen
			a := s.at(rec, i, side)
			if got := a != nil && a.write(ctx); got != (side == want) {
				s.t.Errorf("%s writes to volume %d: %t, want %t", side, i, got, side == want)
			}
			if want == Source {
				break
			}
		}
	}
}

// wantOwner checks that a side alone has the volumes, for good.
func (s *stage) wantOwner(rec Record, want volume.Client) {
	s.t.Helper()
	for _, p := range rec.Parts {
		id := p.Volume
		list := s.exports.List(s.t.Context(), export.Query{Volume: &id})
		if len(list) != 1 || list[0].Record.Client != want || list[0].Record.Migration != "" || list[0].State != export.Standing {
			s.t.Errorf("volume %s is exported so: %+v", id, list)
		}
		if err := s.Held(id); err != nil {
			s.t.Error(err)
		}
	}
}

func wantCode(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Errorf("got %v, want %s", err, code)
	}
}

// journals lists the journal's files.
func (s *stage) journals() []string {
	list, err := filepath.Glob(filepath.Join(s.state, journalDir, "*"))
	s.must(err)
	return list
}
