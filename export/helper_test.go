package export

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"elstore/export/iscsi/login"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

var (
	alice = rig.Alice
	bob   = rig.Bob
	carol = rig.Client("0000000000000000000000000000ca01")
)

// toy is a Kind whose clients are the test. It holds what it was told to the promises of the interfaces.
type toy struct {
	t    testing.TB
	name string

	mu      sync.Mutex
	units   map[volume.ID]*toyUnit
	stopped bool
	off     bool             // what is below is gone, as after a crash
	removed int              // attachments of which what they had reserved is free
	fail    map[string]error // by what is to fail: serve, attach, renew, remove, close
}

func newToy(t testing.TB, name string) *toy {
	return &toy{t: t, name: name, units: map[volume.ID]*toyUnit{}, fail: map[string]error{}}
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

func (k *toy) Name() string    { return k.name }
func (k *toy) Where() []string { return []string{"192.0.2.1:3260"} }

func (k *toy) Complete(_ *volume.Volume, q *Request, r *Record) error {
	if q.Initiator == "bad" {
		return fault.Errorf(fault.BadRequest, "'initiator' is bad")
	}
	if r == nil {
		return nil
	}
	if r.User == "" {
		r.User = volume.NewID().String()
	}
	r.Secret = login.NewSecret("secret-" + volume.NewID().String())
	return nil
}

func (k *toy) Serve(_ context.Context, m Medium) (Unit, error) {
	if err := k.failing("serve"); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.units[m.Volume.ID] != nil {
		k.t.Errorf("volume %s is served twice", m.Volume.ID)
	}
	u := &toyUnit{kind: k, medium: m, attached: map[volume.ID]*toyAttached{}}
	k.units[m.Volume.ID] = u
	return u, nil
}

func (k *toy) Stop(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	for _, u := range k.units {
		u.attached = map[volume.ID]*toyAttached{}
	}
	return nil
}

// login finds the attachment that lets somebody in.
func (k *toy) login(id volume.ID, secret string) *toyAttached {
	k.mu.Lock()
	defer k.mu.Unlock()
	u := k.units[id]
	if u == nil {
		return nil
	}
	for _, a := range u.attached {
		if a.rec.Secret.Reveal() == secret {
			return a
		}
	}
	return nil
}

type toyUnit struct {
	kind     *toy
	medium   Medium
	attached map[volume.ID]*toyAttached
	resized  []int64
}

func (u *toyUnit) Attach(_ context.Context, r Record, rates Rates, g *Gate, w Watch) (Attached, error) {
	if err := u.kind.failing("attach"); err != nil {
		return nil, err
	}
	u.kind.mu.Lock()
	defer u.kind.mu.Unlock()
	a := &toyAttached{unit: u, rec: r, rates: rates, gate: g, watch: w}
	u.attached[r.ID] = a
	return a, nil
}

func (u *toyUnit) Resized(size int64) { u.resized = append(u.resized, size) }

func (u *toyUnit) Close(context.Context, bool) error {
	u.kind.mu.Lock()
	defer u.kind.mu.Unlock()
	if len(u.attached) > 0 {
		u.kind.t.Errorf("volume %s is closed with attachments", u.medium.Volume.ID)
	}
	if _, err := u.medium.Device.ReadAt(make([]byte, 512), 0); err != nil && !u.kind.off {
		u.kind.t.Errorf("the device was closed before the unit: %v", err)
	}
	delete(u.kind.units, u.medium.Volume.ID)
	return u.kind.fail["close"]
}

type toyAttached struct {
	unit  *toyUnit
	rec   Record
	rates Rates
	gate  *Gate
	watch Watch
	live  []Session
}

func (a *toyAttached) Access(*Request) Access {
	return Access{URI: "toy://" + a.rec.User, User: a.rec.User, Secret: a.rec.Secret.Reveal()}
}

func (a *toyAttached) Renew(r Record, rates Rates) error {
	if err := a.unit.kind.failing("renew"); err != nil {
		return err
	}
	a.unit.kind.mu.Lock()
	defer a.unit.kind.mu.Unlock()
	a.rec, a.rates = r, rates
	return nil
}

func (a *toyAttached) Sessions() []Session {
	a.unit.kind.mu.Lock()
	defer a.unit.kind.mu.Unlock()
	return slices.Clone(a.live)
}

func (a *toyAttached) Counts() Counts { return Counts{ReadOperations: 7} }

func (a *toyAttached) Detach(context.Context) error {
	if err := a.unit.kind.failing("remove"); err != nil {
		return err
	}
	a.unit.kind.mu.Lock()
	defer a.unit.kind.mu.Unlock()
	delete(a.unit.attached, a.rec.ID)
	return nil
}

func (a *toyAttached) Remove(ctx context.Context) error {
	err := a.Detach(ctx)
	a.unit.kind.mu.Lock()
	defer a.unit.kind.mu.Unlock()
	if err == nil {
		a.unit.kind.removed++
	}
	return err
}

// enter logs somebody in.
func (a *toyAttached) enter(name string) {
	s := Session{Initiator: name, Remote: "192.0.2.9:40000", Since: time.Now()}
	a.unit.kind.mu.Lock()
	a.live = append(a.live, s)
	a.unit.kind.mu.Unlock()
	a.watch(s, true)
}

// place is a server's parts on a root with one pool.
type place struct {
	*rig.Parts
	*Service
	t    testing.TB
	root string
	pool string
	toy  *toy
	cfg  Config

	lockWait time.Duration
}

// newPlace makes a root with a pool, and a server on it.
func newPlace(t testing.TB, settings string, change ...func(*Config)) *place {
	t.Helper()
	root := t.TempDir()
	return start(t, root, rig.Pool(t, root, "pool", settings), change...)
}

// start starts a server on a root, which is another one than those before unless change says so.
func start(t testing.TB, root, pool string, change ...func(*Config)) *place {
	t.Helper()
	p := &place{t: t, root: root, pool: pool, lockWait: 200 * time.Millisecond}
	p.cfg = Config{
		Log: slog.New(slog.DiscardHandler), ServerID: volume.NewID().String(),
		LockWait: 200 * time.Millisecond,
	}
	for _, fn := range change {
		fn(&p.cfg)
	}
	p.lockWait = p.cfg.LockWait
	p.assemble()
	p.again()
	return p
}

// again makes a new Service with new kinds.
func (p *place) again() {
	p.t.Helper()
	p.toy = newToy(p.t, "iscsi")
	p.cfg.Volumes, p.cfg.Events, p.cfg.Kinds = p.Volumes, p.Events, []Kind{p.toy, newToy(p.t, "nbd")}
	s, err := New(p.cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Service = s
	p.Exported = s.Recorded
	p.t.Cleanup(func() { s.drop() })
}

// drop closes the directories that a Service has open.
func (s *Service) drop() {
	for _, e := range s.all() {
		e.dir.Close()
	}
}

// assemble makes the parts below.
func (p *place) assemble() {
	p.t.Helper()
	p.Parts = rig.Assemble(p.t, p.root, func(c *volume.Config) { c.LockWait = p.lockWait })
}

// create makes a volume of alice's.
func (p *place) create(change ...func(*volume.Meta)) volume.ID {
	p.t.Helper()
	return p.Disk(p.t, change...)
}

func shareable(m *volume.Meta) { m.Shareable = true }
func readonly(m *volume.Meta)  { m.ReadOnly = true }
func private(m *volume.Meta)   { m.Private = true }

// export exports a volume, which must work.
func (p *place) export(id volume.ID, c volume.Client) *Answer {
	p.t.Helper()
	a, err := p.Export(p.t.Context(), Request{Volume: id, Client: c})
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// end unexports a volume, which must work.
func (p *place) end(id volume.ID, c volume.Client) {
	p.t.Helper()
	if err := p.Unexport(p.t.Context(), id, c, "", false); err != nil {
		p.t.Fatal(err)
	}
}

// dir is the volume's directory.
func (p *place) dir(id volume.ID) string { return filepath.Join(p.pool, "vid."+id.String()+".elimg") }

// traces lists what exports have in the volume's directory.
func (p *place) traces(id volume.ID) []string {
	p.t.Helper()
	var list []string
	err := filepath.WalkDir(p.dir(id), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(p.dir(id), path)
		switch filepath.Base(path) {
		case filepath.Base(p.dir(id)), "meta.json", "data.img", ".lock":
		default:
			list = append(list, rel)
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return list
}

// book reads the volume's Book.
func (p *place) book(id volume.ID) Book {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.dir(id), ".export", "exports.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return Book{}
	}
	if err != nil {
		p.t.Fatal(err)
	}
	b, err := parseBook(data)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func wantCode(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Errorf("got %v, want %s", err, code)
	}
}

// lock takes the volume as an operation does, until unlock is called.
func (p *place) lock(id volume.ID) (unlock func()) {
	p.t.Helper()
	taken, free, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		ended <- p.Volumes.Turn(context.Background(), id, "convert", func(context.Context, *volume.Turn) error {
			close(taken)
			<-free
			return nil
		})
	}()
	<-taken
	return func() {
		close(free)
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
	}
}

// restart ends the server as a crash does, and starts another process on the same root.
func (p *place) restart() {
	p.t.Helper()
	if err := errors.Join(p.Volumes.Close(), p.Pools.Close()); err != nil { // what the kernel lets go of
		p.t.Fatal(err)
	}
	p.cfg.step = nil
	p.assemble()
	p.again()
}

// until waits for what happens by itself.
func (p *place) until(what string, done func() bool) {
	p.t.Helper()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-deadline:
			p.t.Fatalf("never: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}
