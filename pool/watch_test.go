package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"elstore/volume"
)

func TestPoolsComeAndGo(t *testing.T) {
	root := t.TempDir()
	w := open(t, root, volumes{"a": {Volumes: 1, Bytes: gb}})
	w.run()
	put(t, root, "a/"+SettingsFile, "{}")
	w.until(func() bool { _, ok := w.Get("a"); return ok })
	first := w.get("a")
	put(t, root, "x/y/"+SettingsFile, "{}") // in directories that are new themselves
	w.until(func() bool { _, ok := w.Get("x/y"); return ok })

	if err := os.Remove(filepath.Join(root, "a", SettingsFile)); err != nil {
		t.Fatal(err)
	}
	w.await("detach a")
	w.until(func() bool { _, ok := w.Get("a"); return !ok })
	put(t, root, "a/"+SettingsFile, "{}")
	w.until(func() bool { _, ok := w.Get("a"); return ok })
	second := w.get("a")
	if first == second {
		t.Error("the pool that came back is the one that went")
	}
	first.Account(volume.Usage{Volumes: 9}) // of an operation that began before
	if used := w.info("a").Used.Volumes; used != 1 {
		t.Errorf("the pool that came back has %d volumes, want 1", used)
	}

	if err := os.Rename(filepath.Join(root, "x"), filepath.Join(root, "z")); err != nil {
		t.Fatal(err)
	}
	w.until(func() bool { _, ok := w.Get("z/y"); return ok })
	w.until(func() bool { return len(w.Infos()) == 2 })
	if err := os.RemoveAll(filepath.Join(root, "z")); err != nil {
		t.Fatal(err)
	}
	w.until(func() bool { return len(w.Infos()) == 1 })
}

func TestADirectoryThatTookAnothersPlace(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}", ".new/" + SettingsFile: "{}"})
	w := open(t, root, nil)
	w.run()
	w.await("attach a")
	if err := os.Rename(filepath.Join(root, "a"), filepath.Join(root, ".old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, ".new"), filepath.Join(root, "a")); err != nil {
		t.Fatal(err)
	}
	w.await("detach a")
	w.await("attach a")
	w.until(func() bool { return w.valid("a") })
	// The new directory is the one that is watched.
	put(t, root, "a/vid.0.elimg/", "")
	w.await("changed a")
}

func TestSettingsChange(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: `{"max-volumes": 1}`})
	w := open(t, root, volumes{"a": {Volumes: 1, Bytes: gb}})
	w.run()
	set := func(text string) { put(t, root, "a/"+SettingsFile, text) }
	can := func() bool { n, err := w.Count(t.Context(), one("", gb)); return n == 1 && err == nil }
	if can() {
		t.Fatal("there is room")
	}
	p := w.get("a")
	set(`{"max-volumes": 2}`)
	w.untilLooked(can)
	set(`{"max-volumes": -2}`)
	w.until(func() bool { return !w.valid("a") })
	w.wantPool("a", "max-volumes -2 is not allowed")
	if _, ok := w.Get("a"); !ok {
		t.Error("bad settings took the pool's volumes away")
	}
	set(`{"max-volumes": 2, "bin-retention": "1h"}`)
	w.until(func() bool { return w.valid("a") })
	if d, _ := p.Bin(); d != time.Hour {
		t.Errorf("retention %v", d)
	}
	if w.get("a") != p {
		t.Error("the pool was attached again, without need")
	}
	set(`{"max-volumes": 2, "file-system": "unique"}`)
	w.await("detach a")
	w.until(func() bool { return w.valid("a") })
	if q := w.get("a"); q == p || !q.Settings().Unique {
		t.Error("another backend is needed, and the pool was not attached again")
	}
}

// untilLooked waits until ok, which is asked again after every look at everything: for what is not told.
func (w *world) untilLooked(ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patient); !ok(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("it did not come; the pools are:\n%s", w.describe())
		}
		w.rescan()
	}
}

func TestVolumesThatComeByHand(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}", "b/" + SettingsFile: "{}", "vid.1.elimg/": ""})
	w := open(t, root, nil)
	w.run()
	steps := []struct {
		name string
		do   func() error
	}{
		{"made", func() error { return os.Mkdir(filepath.Join(root, "b/vid.2.elimg"), 0o755) }},
		{"moved in", func() error {
			return os.Rename(filepath.Join(root, "vid.1.elimg"), filepath.Join(root, "b/vid.1.elimg"))
		}},
		{"moved out", func() error {
			return os.Rename(filepath.Join(root, "b/vid.1.elimg"), filepath.Join(root, "vid.1.elimg"))
		}},
		{"removed", func() error { return os.Remove(filepath.Join(root, "b/vid.2.elimg")) }},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			if err := step.do(); err != nil {
				t.Fatal(err)
			}
			w.await("changed b")
		})
	}
}

func TestWhatEventsConcern(t *testing.T) {
	w := open(t, tree(t, map[string]string{"a/" + SettingsFile: "{}", "x/": ""}), nil)
	p := w.get("a")
	tests := []struct {
		name, path string
		op         fsnotify.Op
		look, poke bool
	}{
		{"settings made", "x/" + SettingsFile, fsnotify.Create, true, false},
		{"settings written", "a/" + SettingsFile, fsnotify.Write, true, false},
		{"settings removed", "a/" + SettingsFile, fsnotify.Remove, true, false},
		{"a directory made", "y", fsnotify.Create, true, false},
		{"a directory removed", "x", fsnotify.Remove, true, false},
		{"the pool's rights changed", "a", fsnotify.Chmod, true, false},
		{"a hidden directory", ".y", fsnotify.Create, false, false},
		{"a volume made", "a/vid.1.elimg", fsnotify.Create, false, true},
		{"a volume moved away", "a/vid.1.elimg", fsnotify.Rename, false, true},
		{"a volume removed", "a/vid.1.elimg", fsnotify.Remove, false, true},
		{"a volume touched", "a/vid.1.elimg", fsnotify.Chmod, false, false},
		{"a volume outside of a pool", "x/vid.1.elimg", fsnotify.Create, false, false},
		{"another directory of a pool", "a/b", fsnotify.Create, false, false},
		{"a temporary file of a pool", "a/.tmp-1", fsnotify.Create, false, false},
		{"the pool's bin", "a/elemento-bin", fsnotify.Create, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			select {
			case <-p.poked:
			default:
			}
			look := w.concerns(fsnotify.Event{Name: filepath.Join(w.root, tt.path), Op: tt.op})
			if look != tt.look {
				t.Errorf("look %t, want %t", look, tt.look)
			}
			if tt.poke { // keep may have taken it already
				w.await("changed a")
			} else if len(p.poked) != 0 {
				t.Error("the pool's volumes are looked at")
			}
		})
	}
	if !w.concerns(fsnotify.Event{}) {
		t.Error("the end of a watch concerns nobody")
	}
}

func TestRescanFindsWhatNobodyTold(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}"})
	w := open(t, root, nil)
	if err := w.watcher.close(); err != nil { // as on a file system that doesn't tell
		t.Fatal(err)
	}
	put(t, root, "b/"+SettingsFile, "{}")
	put(t, root, "a/vid.1.elimg/", "")
	w.rescan()
	w.wantPool("b", "")
	w.await("changed a")
}

func TestEventsThatWereLost(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}"})
	w := open(t, root, nil)
	w.run()
	w.watcher.notify.Errors <- fsnotify.ErrEventOverflow
	w.await("changed a")
}

func TestTheRescanIsRun(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}"})
	w := open(t, root, nil, func(c *Config) { c.Rescan = 10 * time.Millisecond })
	if err := w.watcher.close(); err != nil {
		t.Fatal(err)
	}
	w.run()
	put(t, root, "b/"+SettingsFile, "{}")
	w.await("attach b")
}

func TestTheRootGoesAndComes(t *testing.T) {
	top := tree(t, map[string]string{"root/a/" + SettingsFile: "{}"})
	root := filepath.Join(top, "root")
	w := open(t, root, nil)
	w.run()
	if err := os.Rename(root, filepath.Join(top, "away")); err != nil {
		t.Fatal(err)
	}
	w.rescan()
	w.until(func() bool { return len(w.Infos()) == 0 })
	if err := os.Rename(filepath.Join(top, "away"), root); err != nil {
		t.Fatal(err)
	}
	w.rescan()
	w.wantPool("a", "")
}

func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGather()
		start := time.Now()
		wait := func() time.Duration { <-g.timer.C; return time.Since(start) }

		g.add(start)
		if d := wait(); d != quiet {
			t.Errorf("one change was looked at after %v, want %v", d, quiet)
		}
		g.done(time.Now(), time.Now())

		start = time.Now()
		for time.Since(start) < longest {
			g.add(time.Now())
			select {
			case <-g.timer.C:
				if d := time.Since(start); d != longest {
					t.Errorf("changes without end were looked at after %v, want %v", d, longest)
				}
			case <-time.After(quiet / 2):
			}
		}
		g.done(time.Now().Add(-time.Second), time.Now())

		start = time.Now()
		g.add(start)
		if d := wait(); d != rest*time.Second {
			t.Errorf("after a look that took a second, the next came after %v, want %v", d, rest*time.Second)
		}
	})
}

func TestWatcherWithoutWatches(t *testing.T) {
	w := &watcher{}
	if w.follow("/", map[string]bool{".": true}) || w.close() != nil {
		t.Error("a watcher without a system's help does something")
	}
}

// TestRefusedPoolIsTriedAgain has a pool that can't be attached at first, and nothing to be seen when it can.
func TestRefusedPoolIsTriedAgain(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}"})
	const refusals = 3
	var tries atomic.Int32
	w := open(t, root, nil, func(cfg *Config) {
		attach := cfg.Attach
		cfg.Attach = func(ctx context.Context, p *Pool) (volume.Caps, error) {
			if tries.Add(1) <= refusals {
				return volume.Caps{}, errors.New("not yet")
			}
			return attach(ctx, p)
		}
	})
	w.run()
	w.until(func() bool { return w.valid("a") })
	if n := tries.Load(); n != refusals+1 {
		t.Errorf("it was tried %d times, want %d", n, refusals+1)
	}
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before int
		want   time.Duration
	}{
		{"the first", 0, 100 * time.Millisecond},
		{"the second", 1, 200 * time.Millisecond},
		{"the sixth", 5, 3200 * time.Millisecond},
		{"the seventh", 6, 5 * time.Second},
		{"after a year", 1 << 30, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := retryAfter(tt.before); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
