package pool

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"elstore/volume"
)

const gb = 1_000_000_000

// patient is how long a test waits for what has to happen, at most.
const patient = 20 * time.Second

// tree makes files below a new directory and returns it. A name that ends in a slash is a directory.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		put(t, root, name, content)
	}
	return root
}

func put(t testing.TB, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, name)
	dir := filepath.Dir(path)
	if strings.HasSuffix(name, "/") {
		dir = path
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(name, "/") {
		return
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// world is a Set and what it told.
type world struct {
	*Set
	t    testing.TB
	told chan string // what it called, such as "notify a", "attach a", "detach a", "changed a"
}

// volumes are what Attach finds in a pool, by its name.
type volumes map[string]volume.Usage

// open makes a Set whose pools keep raw and qcow2 volumes, and hold there when they are attached.
func open(t testing.TB, root string, there volumes, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, told: make(chan string, 10_000)}
	cfg := Config{
		Root: root, ServerID: "test", Rescan: time.Hour,
		Attach: func(_ context.Context, p *Pool) (volume.Caps, error) {
			w.tell("attach", p.Name())
			p.Account(there[p.Name()])
			p.SetBase(0)
			return volume.Caps{Formats: []volume.Format{volume.Raw, volume.QCOW2}}, nil
		},
		Detach:  func(p *Pool) { w.tell("detach", p.Name()) },
		Changed: func(_ context.Context, p *Pool) { w.tell("changed", p.Name()) },
		Notify:  func(pool string) { w.tell("notify", pool) },
	}
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Set = s
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w.rescan()
	return w
}

func (w *world) tell(what, pool string) { w.told <- what + " " + pool }

// run follows changes until the test ends.
func (w *world) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx)
	}()
	w.t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// await waits until the Set tells what.
func (w *world) await(what string) {
	w.t.Helper()
	timer := time.NewTimer(patient)
	defer timer.Stop()
	for {
		select {
		case told := <-w.told:
			if told == what {
				return
			}
		case <-timer.C:
			w.t.Fatalf("%q was not told; the pools are:\n%s", what, w.describe())
		}
	}
}

// until waits until ok, which is asked again whenever the Set tells something.
func (w *world) until(ok func() bool) {
	w.t.Helper()
	timer := time.NewTimer(patient)
	defer timer.Stop()
	for !ok() {
		select {
		case <-w.told:
		case <-timer.C:
			w.t.Fatalf("it did not come; the pools are:\n%s", w.describe())
		}
	}
}

// describe lists pools as name, validity and reason, one a line.
func (w *world) describe() string {
	var b strings.Builder
	for _, i := range w.Infos() {
		fmt.Fprintf(&b, "%s %t %s\n", i.Name, i.Valid, i.Reason)
	}
	for _, n := range w.NotPools() {
		fmt.Fprintf(&b, "not %s: %s\n", strings.TrimPrefix(n.Path, w.root), n.Reason)
	}
	return b.String()
}

func (w *world) rescan() {
	w.t.Helper()
	if err := w.Rescan(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// info returns what is known of a pool, which has to be there.
func (w *world) info(pool string) Info {
	w.t.Helper()
	for _, i := range w.Infos() {
		if i.Name == pool {
			return i
		}
	}
	w.t.Fatalf("there is no pool %s; the pools are:\n%s", pool, w.describe())
	return Info{}
}

// valid reports whether a pool is there and valid.
func (w *world) valid(pool string) bool {
	for _, i := range w.Infos() {
		if i.Name == pool {
			return i.Valid
		}
	}
	return false
}

// wantPool fails unless the pool is valid, or not valid for a reason that contains why.
func (w *world) wantPool(pool, why string) {
	w.t.Helper()
	i := w.info(pool)
	if i.Valid != (why == "") || !strings.Contains(i.Reason, why) {
		w.t.Errorf("pool %s: valid %t, reason %q, want the reason %q", pool, i.Valid, i.Reason, why)
	}
}

// get returns a pool in use.
func (w *world) get(pool string) *Pool {
	w.t.Helper()
	p, ok := w.Get(pool)
	if !ok {
		w.t.Fatalf("pool %s is not in use; the pools are:\n%s", pool, w.describe())
	}
	return p
}

// reserve reserves room for one volume of size bytes, in a pool or in any for "".
func (w *world) reserve(pool string, size int64) (volume.Reservation, error) {
	list, err := w.Reserve(w.t.Context(), []volume.Want{one(pool, size)}, nil)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func one(pool string, size int64) volume.Want {
	return volume.Want{Pool: pool, Volumes: 1, Size: size, Bytes: size, Format: volume.Raw}
}
