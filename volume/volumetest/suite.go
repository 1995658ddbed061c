package volumetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"elstore/volume"
)

// Storage is one pool's storage, empty when it is made, for as many Backends as a test opens. Each of them stands
// for a process of its own.
type Storage struct {
	// Open opens it as a server that starts does. The Backend asks step before each change of the storage; nil is never.
	Open func(step func(op string) error) (volume.Backend, error)
	// Kill lets go of what the kernel would let go of if b's process were killed, and changes nothing.
	Kill func(b volume.Backend)
	// Leftovers lists what lies there that no complete volume, in place or in the bin, accounts for.
	Leftovers func(t testing.TB) []string
}

// Run holds the Backends on the Storages that make makes to their contract.
func Run(t *testing.T, make func(t testing.TB) Storage) {
	s := suite{make}
	for _, tt := range []struct {
		name string
		test func(*testing.T, suite)
	}{
		{"Create", testCreate},
		{"Stage", testStage},
		{"Fill", testFill},
		{"Overlay", testOverlay},
		{"SetMeta", testSetMeta},
		{"Resize", testResize},
		{"Convert", testConvert},
		{"Replace", testReplace},
		{"Beside", testBeside},
		{"Copies", testCopies},
		{"Bin", testBin},
		{"Records", testRecords},
		{"Lock", testLock},
		{"Device", testDevice},
		{"Cancel", testCancel},
		{"Concurrent", testConcurrent},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, s) })
	}
}

// suite makes the Storages of a run.
type suite struct{ make func(testing.TB) Storage }

// pool is a Storage and a Backend that is open on it, scanned.
type pool struct {
	volume.Backend
	t       testing.TB
	storage Storage
	closed  bool
}

// pool opens a new Storage.
func (s suite) pool(t testing.TB) *pool {
	t.Helper()
	return open(t, s.make(t))
}

// open opens a Storage and scans it, as a server that starts.
func open(t testing.TB, storage Storage) *pool {
	t.Helper()
	p := start(t, storage, func(string) error { return nil })
	p.scan()
	return p
}

// start opens a Storage without a scan.
func start(t testing.TB, storage Storage, step func(string) error) *pool {
	t.Helper()
	b, err := storage.Open(step)
	if err != nil {
		t.Fatal(err)
	}
	p := &pool{Backend: b, t: t, storage: storage}
	t.Cleanup(func() { p.Close() })
	return p
}

// Close closes the Backend once.
func (p *pool) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	return p.Backend.Close()
}

// other opens another Backend on the same storage, as another process would.
func (p *pool) other() *pool {
	p.t.Helper()
	return open(p.t, p.storage)
}

// reopened closes the Backend and opens another.
func (p *pool) reopened() *pool {
	p.t.Helper()
	if err := p.Close(); err != nil {
		p.t.Fatal(err)
	}
	return p.other()
}

// scan returns what Scan finds.
func (p *pool) scan() map[volume.ID]volume.Found {
	p.t.Helper()
	found := map[volume.ID]volume.Found{}
	running := false
	err := p.Scan(context.Background(), func(f volume.Found) error {
		if running {
			p.t.Error("Scan called yield while it ran")
		}
		running = true
		defer func() { running = false }()
		if _, twice := found[f.ID]; twice {
			p.t.Errorf("Scan reported volume %s twice", f.ID)
		}
		found[f.ID] = f
		return nil
	})
	if err != nil {
		p.t.Fatalf("Scan: %v", err)
	}
	return found
}

// keeps reports whether the storage can have volumes of the format.
func (p *pool) keeps(f volume.Format) bool { return slices.Contains(p.Caps().Formats, f) }

// formats returns those of raw, qcow2 and rbd that the storage can have.
func (p *pool) formats() (list []volume.Format) {
	for _, f := range []volume.Format{volume.Raw, volume.QCOW2, volume.RBD} {
		if p.keeps(f) {
			list = append(list, f)
		}
	}
	return list
}

// owner is the creator of the suite's volumes.
var owner = volume.Client(volume.IDFrom(sha256.Sum256([]byte("owner"))))

// meta returns the attributes of a volume.
func meta(f volume.Format, size int64) volume.Meta {
	return volume.Meta{
		Creator: owner, Name: "disk of a test", Clonable: true, Alg: volume.Copy, Format: f, Bus: volume.Virtio, Size: size,
	}
}

// create makes a volume of a random id.
func (p *pool) create(m volume.Meta, c volume.Content) (volume.ID, volume.Meta) {
	p.t.Helper()
	id := volume.NewID()
	m, err := p.make(context.Background(), id, m, c)
	if err != nil {
		p.t.Fatal(err)
	}
	return id, m
}

// make makes a volume, or leaves none.
func (p *pool) make(ctx context.Context, id volume.ID, m volume.Meta, c volume.Content) (volume.Meta, error) {
	s, err := p.Stage(ctx, id)
	if err != nil {
		return m, err
	}
	defer s.Discard()
	if m, err = s.Fill(ctx, m, c); err != nil {
		return m, err
	}
	return m, s.Commit(ctx, m)
}

// locked does something with the volume's lock held.
func (p *pool) locked(id volume.ID, do func(h volume.Held, m volume.Meta) error) error {
	return lockedBy(p.Backend, id, do)
}

func lockedBy(b volume.Backend, id volume.ID, do func(h volume.Held, m volume.Meta) error) error {
	ctx := context.Background()
	h, err := b.Lock(ctx, id, volume.Operation{Purpose: "test"})
	if err != nil {
		return err
	}
	defer h.Unlock()
	f, err := h.Load(ctx)
	if err != nil {
		return err
	}
	if f.Problem != nil {
		return f.Problem
	}
	return do(h, f.Meta)
}

// must is locked for what must not fail.
func (p *pool) must(id volume.ID, do func(h volume.Held, m volume.Meta) error) {
	p.t.Helper()
	if err := p.locked(id, do); err != nil {
		p.t.Fatal(err)
	}
}

// load is Load for a volume that must be there and sound.
func (p *pool) load(id volume.ID) volume.Found {
	p.t.Helper()
	f, err := p.Load(context.Background(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	if f.Problem != nil {
		p.t.Fatal(f.Problem)
	}
	return f
}

// content returns what a machine would see.
func (p *pool) content(id volume.ID) []byte {
	p.t.Helper()
	var data []byte
	p.must(id, func(h volume.Held, m volume.Meta) (err error) {
		data, err = contentOf(h, m)
		return err
	})
	return data
}

func contentOf(h volume.Held, m volume.Meta) ([]byte, error) {
	img, release, err := h.Export(context.Background(), m, volume.Raw, nil)
	if err != nil {
		return nil, err
	}
	defer release()
	return os.ReadFile(img.Path)
}

// want fails the test unless the volume holds data and then zeros up to size.
func (p *pool) want(id volume.ID, data []byte, size int64) {
	p.t.Helper()
	if f := p.load(id); f.Meta.Size != size {
		p.t.Errorf("volume %s has %d bytes, want %d", id, f.Meta.Size, size)
	}
	same(p.t, p.content(id), data, size)
}

func same(t testing.TB, got, data []byte, size int64) {
	t.Helper()
	want := append(bytes.Clone(data[:min(int64(len(data)), size)]), make([]byte, max(size-int64(len(data)), 0))...)
	if bytes.Equal(got, want) {
		return
	}
	if len(got) != len(want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("byte %d is %#x, want %#x", i, got[i], want[i])
			return
		}
	}
}

// patterns are those that pattern has made: the sums take long where each is watched for races.
var patterns sync.Map

// pattern returns n bytes that no other seed gives, with a hole in the middle.
func pattern(seed byte, n int) []byte {
	type key struct {
		seed byte
		n    int
	}
	if data, ok := patterns.Load(key{seed, n}); ok {
		return bytes.Clone(data.([]byte))
	}
	data := make([]byte, n)
	for i := 0; i < n; i += sha256.Size {
		sum := sha256.Sum256([]byte{seed, byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)})
		copy(data[i:], sum[:])
	}
	clear(data[n/4 : n/2])
	patterns.Store(key{seed, n}, bytes.Clone(data))
	return data
}

// outside writes data into a file outside of the storage and names it as a raw image.
func outside(t testing.TB, data []byte) volume.Image {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "*.raw")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return volume.Image{Path: f.Name(), Format: "raw", Size: int64(len(data))}
}

// empty is the content of a new volume.
var empty volume.Content

// of is the content of a volume that is made of an image.
func of(img volume.Image) volume.Content { return volume.Content{From: &img, Alg: volume.Copy} }

// progress is a Progress that checks what it is told.
type progress struct {
	t     testing.TB
	last  atomic.Int64
	total atomic.Int64
	ended atomic.Bool
	calls atomic.Int64
}

func (p *progress) tell(done, total int64) {
	if p.ended.Load() {
		p.t.Error("progress was told after the call had returned")
	}
	if before := p.last.Swap(done); done < before || done > total || total <= 0 {
		p.t.Errorf("progress went from %d to %d of %d", before, done, total)
	}
	p.total.Store(total)
	p.calls.Add(1)
}

// end checks that the call that has returned told of all.
func (p *progress) end() {
	p.t.Helper()
	p.ended.Store(true)
	if last, total := p.last.Load(), p.total.Load(); total == 0 || last != total {
		p.t.Errorf("progress ended at %d of %d", last, total)
	}
}
