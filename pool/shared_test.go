package pool

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// as gives a Set another server's id.
func as(server string) func(*Config) { return func(c *Config) { c.ServerID = server } }

// sharedPool makes a root with the pool a that servers share, with more settings behind a comma.
func sharedPool(t testing.TB, more string) string {
	return tree(t, map[string]string{"a/" + SettingsFile: `{"shared": true` + more + `}`})
}

// wantUse fails unless all Sets agree on what is used and reserved.
func wantUse(t *testing.T, used, reserved int64, sets ...*world) {
	t.Helper()
	for i, w := range sets {
		if err := w.get("a").peek(); err != nil {
			t.Error(err)
		}
		if got := w.info("a"); got.Used.Volumes != used || got.Used.Bytes != used*gb || got.Reserved.Volumes != reserved {
			t.Errorf("server %d: used %+v, reserved %+v, want %d and %d volumes of 1 GB", i, got.Used, got.Reserved, used, reserved)
		}
	}
}

func TestServersShareAPool(t *testing.T) {
	root := sharedPool(t, `, "max-volumes": 4`)
	there := volumes{"a": {Volumes: 1, Bytes: gb}}
	a := open(t, root, there, as("a"))
	b := open(t, root, there, as("b"))
	a.wantPool("a", "")
	b.wantPool("a", "")
	wantUse(t, 1, 0, a, b)

	first, err := a.reserve("a", gb)
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.reserve("a", gb)
	if err != nil {
		t.Fatal(err)
	}
	wantUse(t, 1, 2, a, b)
	first.Keep(1, gb)
	wantUse(t, 2, 1, a, b)
	b.get("a").Observe(volume.Usage{Volumes: 1, Bytes: gb}) // what a made
	wantUse(t, 2, 1, a, b)
	second.Keep(1, gb)
	a.get("a").Observe(volume.Usage{Volumes: 1, Bytes: gb})
	wantUse(t, 3, 0, a, b)

	third, err := b.reserve("a", gb)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.reserve("a", gb); !fault.Is(err, fault.VolumeNotAllocable) {
		t.Errorf("the last volume was promised twice: %v", err)
	}
	if n, err := a.Count(t.Context(), one("", gb)); n != 0 || err != nil {
		t.Errorf("%d pools would take it, %v", n, err)
	}
	third.Release()
	wantUse(t, 3, 0, a, b)

	b.get("a").Account(volume.Usage{Volumes: -1, Bytes: -gb}) // purged what a made
	a.get("a").Observe(volume.Usage{Volumes: -1, Bytes: -gb})
	wantUse(t, 2, 0, a, b)
	b.get("a").SetBase(gb)
	for range 2 {
		if _, err := a.reserve("a", gb); err != nil {
			t.Fatal(err)
		}
	}
	b.get("a").SetBase(0)
	wantUse(t, 2, 2, a, b)
}

func TestServersRaceForASharedPool(t *testing.T) {
	const limit, tries, workers = 100, 1000, 8
	root := sharedPool(t, fmt.Sprintf(`, "max-volumes": %d`, limit))
	sets := []*world{open(t, root, nil, as("a")), open(t, root, nil, as("b"))}
	var kept, at atomic.Int64
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			w := sets[i%len(sets)]
			for n := at.Add(1); n <= tries; n = at.Add(1) {
				r, err := w.reserve("", gb)
				switch {
				case err != nil && !fault.Is(err, fault.VolumeNotAllocable):
					t.Error(err)
				case err == nil && n%3 == 0:
					r.Release()
				case err == nil:
					r.Keep(1, gb)
					kept.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if kept.Load() != limit {
		t.Errorf("%d volumes were made, want %d", kept.Load(), limit)
	}
	wantUse(t, limit, 0, sets...)
}

func TestAServerThatCrashes(t *testing.T) {
	root := sharedPool(t, `, "max-volumes": 3`)
	w := open(t, root, nil)
	c := startServer(t, root)
	for _, line := range []string{"keep", "hold"} {
		c.say(line)
		c.read("ok")
	}
	wantUse(t, 1, 1, w)
	c.kill()
	if err := w.get("a").tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantUse(t, 1, 0, w)
	if left, _ := filepath.Glob(filepath.Join(root, "a", aliveFile("*"))); len(left) != 1 {
		t.Errorf("there are %q, want only our own", left)
	}
	// It had put a volume in its place and died before it could say so.
	w.get("a").Observe(volume.Usage{Volumes: 2, Bytes: 2 * gb})
	wantUse(t, 2, 0, w)

	// It comes back while nothing changes, and counts what is there.
	again := open(t, root, volumes{"a": {Volumes: 2, Bytes: 2 * gb}}, as("child"))
	wantUse(t, 2, 0, w, again)
	if _, err := again.reserve("", gb); err != nil {
		t.Error(err)
	}
	wantUse(t, 2, 1, w, again)
}

func TestAServerThatLeaves(t *testing.T) {
	root := sharedPool(t, "")
	a, b := open(t, root, nil, as("a")), open(t, root, nil, as("b"))
	r, err := a.reserve("", gb)
	if err != nil {
		t.Fatal(err)
	}
	r.Keep(1, gb)
	if _, err := a.reserve("", gb); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	wantUse(t, 1, 0, b)
	l, err := readLedger(b.get("a").root)
	if err != nil || len(l.Servers) != 1 {
		t.Errorf("the ledger has %+v, %v", l, err)
	}
}

func TestTheLedgerIsCheckedAgainstTheDirectory(t *testing.T) {
	root := sharedPool(t, "")
	a := open(t, root, volumes{"a": {Volumes: 7, Bytes: 7 * gb}}, as("a"))
	wantUse(t, 7, 0, a)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	// While nobody was there, people took volumes out.
	b := open(t, root, volumes{"a": {Volumes: 2, Bytes: 2 * gb}}, as("b"))
	wantUse(t, 2, 0, b)
	// One that comes while operations are under way can't tell what it saw of them.
	r, err := b.reserve("", gb)
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, root, volumes{"a": {Volumes: 3, Bytes: 3 * gb}}, as("c"))
	r.Keep(1, gb)
	wantUse(t, 3, 0, b, c)
}

func TestAChangeWhileAServerCounts(t *testing.T) {
	root := sharedPool(t, "")
	a := open(t, root, volumes{"a": {Volumes: 2, Bytes: 2 * gb}}, as("a"))
	b := open(t, root, nil, as("b"), func(c *Config) {
		c.Attach = func(_ context.Context, p *Pool) (volume.Caps, error) {
			p.Account(volume.Usage{Volumes: 2, Bytes: 2 * gb})
			r, err := a.reserve("a", gb)
			if err != nil {
				return volume.Caps{}, err
			}
			r.Keep(1, gb)
			return volume.Caps{Formats: []volume.Format{volume.Raw}}, nil
		}
	})
	wantUse(t, 3, 0, a, b)
}

func TestTheLedgerIsSpoilt(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(path string) error
	}{
		{"removed", os.Remove},
		{"emptied", func(path string) error { return os.Truncate(path, 0) }},
		{"garbage", func(path string) error { return os.WriteFile(path, []byte("{{{"), 0o600) }},
		{"of nobody", func(path string) error {
			return os.WriteFile(path, []byte(`{"complete": true, "counts": {"volumes": 3, "bytes": 3000000000}}`), 0o600)
		}},
		{"a link", func(path string) error { return os.Symlink("/etc/passwd", path+"x") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := sharedPool(t, `, "max-volumes": 5`)
			a, b := open(t, root, nil, as("a")), open(t, root, nil, as("b"))
			for _, w := range []*world{a, b, a} {
				r, err := w.reserve("a", gb)
				if err != nil {
					t.Fatal(err)
				}
				r.Keep(1, gb)
			}
			a.get("a").Observe(volume.Usage{Volumes: 1, Bytes: gb})
			b.get("a").Observe(volume.Usage{Volumes: 2, Bytes: 2 * gb})
			held, err := b.reserve("a", gb)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.spoil(filepath.Join(root, "a", LedgerFile)); err != nil {
				t.Fatal(err)
			}
			if err := a.get("a").tend(t.Context()); err != nil { // nothing to write of its own
				t.Fatal(err)
			}
			last, err := a.reserve("a", gb)
			if err != nil {
				t.Fatal(err)
			}
			last.Keep(1, gb)
			b.get("a").Observe(volume.Usage{Volumes: 1, Bytes: gb})
			held.Keep(1, gb)
			wantUse(t, 5, 0, a, b)
			if _, err := a.reserve("a", gb); !fault.Is(err, fault.VolumeNotAllocable) {
				t.Errorf("a sixth of five volumes: %v", err)
			}
		})
	}
}

func TestSharedAndNot(t *testing.T) {
	root := sharedPool(t, "")
	settings := filepath.Join(root, "a", SettingsFile)
	a := open(t, root, nil, as("a"))
	if err := os.WriteFile(settings, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	// It has not looked yet, and a second server takes the pool for one that is not shared.
	b := open(t, root, nil, as("b"))
	b.wantPool("a", "held by server a")
	a.run()
	a.rescan()
	a.await("detach a")
	a.until(func() bool { return a.valid("a") })
	if i := a.info("a"); i.Shared {
		t.Error("it is shared still")
	}
	if err := os.WriteFile(settings, []byte(`{"shared": true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	a.until(func() bool { return a.valid("a") && a.info("a").Shared })
	b.rescan()
	b.wantPool("a", "")
}

func TestOneIdTwice(t *testing.T) {
	root := sharedPool(t, "")
	open(t, root, nil).wantPool("a", "")
	open(t, root, nil).wantPool("a", "another process uses it with this server's id test")
}

func TestLedgerWritesThatFail(t *testing.T) {
	root := sharedPool(t, `, "max-volumes": 3`)
	a, b := open(t, root, nil, as("a")), open(t, root, nil, as("b"))
	r, err := a.reserve("a", gb)
	if err != nil {
		t.Fatal(err)
	}
	ledgerPath := filepath.Join(root, "a", LedgerFile)
	aside := ledgerPath + ".aside"
	// A directory in its place: neither read nor replaced.
	if err := os.Rename(ledgerPath, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(ledgerPath, 0o755); err != nil {
		t.Fatal(err)
	}
	r.Keep(1, gb)
	if _, err := a.reserve("a", gb); err == nil {
		t.Error("room was promised that nobody else knows of")
	}
	if err := os.Remove(ledgerPath); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, ledgerPath); err != nil {
		t.Fatal(err)
	}
	if err := a.get("a").tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantUse(t, 1, 0, a, b)
}

func TestTheLockIsNotFree(t *testing.T) {
	root := sharedPool(t, "")
	w := open(t, root, nil)
	l := newLock(w.get("a").root, LockFile)
	if ok, err := l.try(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.Reserve(ctx, []volume.Want{one("", gb)}, nil); err == nil {
		t.Error("room was reserved without the lock")
	}
	l.unlock()
	if _, err := w.reserve("", gb); err != nil {
		t.Error(err)
	}
}

func TestALockThatIsNeverFree(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	life, _, err := lockForLife(t.Context(), root, "other")
	if err != nil {
		t.Fatal(err)
	}
	defer life.unlock() // and the collector keeps its file open until then
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := newShared(root, "test").begin(t.Context())
		if !fault.Is(err, fault.PoolUnavailable) || !strings.Contains(err.Error(), "held by server other") {
			t.Errorf("error %v", err)
		}
		if waited := time.Since(start); waited != lockPatience {
			t.Errorf("waited %v, want %v", waited, lockPatience)
		}
	})
}

func TestNobodyWaitsTwiceForALock(t *testing.T) {
	w := open(t, sharedPool(t, ""), nil)
	w.get("a").shun(heldBy(Holder{}))
	if _, err := w.reserve("", gb); !fault.Is(err, fault.VolumeAvailablePathNotFound) || !strings.Contains(err.Error(), "its lock did not become free") {
		t.Errorf("error %v", err)
	}
	if _, err := w.reserve("a", gb); err != nil { // who asks for this one waits
		t.Error(err)
	}
	if _, err := w.reserve("", gb); err != nil {
		t.Errorf("after the lock was free: %v", err)
	}
}

func FuzzHolder(f *testing.F) {
	f.Add([]byte(`{"host":"h\u0000","pid":1,"since":"2024-05-06T07:08:09Z","server_id":"s"}`))
	f.Add([]byte(`{"host":7}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h := parseHolder(data)
		for _, text := range []string{h.Host, h.BootID, h.Server, h.String()} {
			if len(text) > 400 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q", text)
			}
		}
	})
}

func FuzzLedger(f *testing.F) {
	l := newLedger()
	l.Servers[serverKey("a")] = entry{Holder: Holder{Host: "h"}, Made: tally{-1, -gb, 0}, Reserved: tally{1, gb, 5}}
	f.Add(l.encode())
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"servers":{"../../x":{}}}`))
	f.Add([]byte(`{"counts":{"bytes":9223372036854775807}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLedger(data)
		if err != nil {
			return
		}
		for key := range l.Servers {
			if !isServerKey(key) {
				t.Errorf("server %q", key)
			}
		}
		used, reserved := l.others("")
		if used.Bytes > 1<<62 || used.Bytes < -1<<62 || reserved.Bytes < 0 || reserved.Volumes < 0 {
			t.Errorf("sums %+v and %+v", used, reserved)
		}
		again, err := parseLedger(l.encode())
		if err != nil || string(again.encode()) != string(l.encode()) {
			t.Errorf("written and read again it is %+v, %v", again, err)
		}
	})
}
