package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

func TestNewNeeds(t *testing.T) {
	attach := func(context.Context, *Pool) (volume.Caps, error) { return volume.Caps{}, nil }
	tests := []struct {
		name string
		cfg  Config
	}{
		{"root", Config{ServerID: "a", Attach: attach}},
		{"server id", Config{Root: t.TempDir(), Attach: attach}},
		{"attach", Config{Root: t.TempDir(), ServerID: "a"}},
		{"a root that is there", Config{Root: filepath.Join(t.TempDir(), "gone"), ServerID: "a", Attach: attach}},
		{"a root that is a directory", Config{Root: os.Args[0], ServerID: "a", Attach: attach}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.cfg); err == nil {
				t.Error("it was made")
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := New(Config{Root: t.TempDir(), ServerID: "a", Attach: attach})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Rescan(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v", err)
	}
}

func TestInfo(t *testing.T) {
	root := tree(t, map[string]string{
		"a/" + SettingsFile: `{"max-volumes": 9, "max-total-size": "90G", "reserve": "1K", "bin-retention": "7d", "bin-keep": true}`,
		"b/" + SettingsFile: `{"max-volumes": "x"}`, "a/b/" + SettingsFile: "{}",
	})
	w := open(t, root, volumes{"a": {Volumes: 3, Bytes: 30 * gb, BinVolumes: 1, BinBytes: 10 * gb}})
	p := w.get("a")
	p.SetBase(5)
	r, err := w.reserve("a", gb)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	got := w.info("a")
	if got.Free == nil || *got.Free <= 0 || got.FileSystem == "" || strings.HasPrefix(got.FileSystem, "0x") {
		t.Errorf("file system %q with %v free", got.FileSystem, got.Free)
	}
	got.Free, got.FileSystem = nil, ""
	nine, ninety := int64(9), int64(90*gb)
	want := Info{
		Name: "a", Path: filepath.Join(root, "a"), Valid: true, Formats: []volume.Format{volume.Raw, volume.QCOW2},
		Limits: InfoLimits{Volumes: &nine, TotalSize: &ninety}, Used: InfoUse{3, 30*gb + 5, 5}, Reserved: InfoUse{Volumes: 1, Bytes: gb},
		Bin: InfoBin{1, 10 * gb, "168h0m0s", true}, Reserve: 1000,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if retention, keep := p.Bin(); retention != 7*24*time.Hour || !keep || p.Path() != want.Path {
		t.Errorf("retention %v, keep %t, path %s", retention, keep, p.Path())
	}
	w.wantPool("b", `max-volumes "x" is not allowed`)
	if n := w.NotPools(); len(n) != 1 || n[0].Path != filepath.Join(root, "a/b") {
		t.Errorf("not pools: %+v", n)
	}
}

func TestNames(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string // name, a bar and the reason
	}{
		{"by place", map[string]string{"a/" + SettingsFile: "{}", "b/c/" + SettingsFile: "{}"}, []string{"a|", "b/c|"}},
		{"by settings", map[string]string{"a/" + SettingsFile: `{"name": "Zürich 1"}`}, []string{"Zürich 1|"}},
		{"two alike", map[string]string{"a/" + SettingsFile: `{"name": "x"}`, "b/" + SettingsFile: `{"name": "x"}`}, []string{"x|", "x|/a is named x already"}},
		{"one like a place", map[string]string{"a/" + SettingsFile: `{"name": "b"}`, "b/" + SettingsFile: `{}`}, []string{"b|", "b|/a is named b already"}},
		{"not a name", map[string]string{"a\x01/" + SettingsFile: `{}`}, []string{"a\x01|can't be a pool's"}},
		{"not a text", map[string]string{"a\xff/" + SettingsFile: `{}`}, []string{"a?|can't be a pool's"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := open(t, tree(t, tt.files), nil)
			infos := w.Infos()
			if len(infos) != len(tt.want) {
				t.Fatalf("the pools are:\n%s", w.describe())
			}
			for i, want := range tt.want {
				name, reason, _ := strings.Cut(want, "|")
				if got := infos[i]; got.Name != name || got.Valid != (reason == "") || !strings.Contains(got.Reason, reason) {
					t.Errorf("pool %q, valid %t, %q, want %q", got.Name, got.Valid, got.Reason, want)
				}
			}
		})
	}
	t.Run("the root", func(t *testing.T) {
		root := tree(t, map[string]string{"mnt/" + SettingsFile: "{}"})
		open(t, filepath.Join(root, "mnt"), nil).wantPool("mnt", "")
	})
	t.Run("the name becomes free", func(t *testing.T) {
		root := tree(t, map[string]string{"a/" + SettingsFile: `{"name": "x"}`, "b/" + SettingsFile: `{"name": "x"}`})
		w := open(t, root, nil)
		w.run()
		put(t, root, "a/"+SettingsFile, `{"name": "y"}`)
		w.until(func() bool { return w.valid("x") && w.valid("y") })
	})
}

func TestAttachRefused(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	w := open(t, tree(t, map[string]string{"a/" + SettingsFile: "{}", "b/" + SettingsFile: "{}"}), nil, func(c *Config) {
		attach := c.Attach
		c.Attach = func(ctx context.Context, p *Pool) (volume.Caps, error) {
			if p.Name() == "a" && broken.Load() {
				p.Account(volume.Usage{Volumes: 5, Bytes: gb})
				return volume.Caps{}, fault.Errorf(fault.PoolUnavailable, "subvolumes can't be made here")
			}
			return attach(ctx, p)
		}
	})
	w.wantPool("a", "subvolumes can't be made here")
	w.wantPool("b", "")
	w.rescan()
	w.wantPool("a", "subvolumes can't be made here")
	broken.Store(false)
	w.rescan()
	w.wantPool("a", "")
	if used := w.info("a").Used; used != (InfoUse{}) {
		t.Errorf("what the failed try found counts: %+v", used)
	}
}

func TestPoolsAreAttachedAtOnce(t *testing.T) {
	files := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d"} {
		files[name+"/"+SettingsFile] = "{}"
	}
	meet := make(chan struct{}) // each waits here for another
	open(t, tree(t, files), nil, func(c *Config) {
		c.Attach = func(ctx context.Context, _ *Pool) (volume.Caps, error) {
			select {
			case meet <- struct{}{}:
			case <-meet:
			case <-time.After(patient):
				return volume.Caps{}, errors.New("nobody else is being attached")
			}
			return volume.Caps{}, nil
		}
	}).wantPool("a", "")
}

func TestAPoolThatGoesWhileItIsAttached(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}"})
	begun, ended := make(chan struct{}, 9), make(chan struct{}, 9)
	var slow atomic.Bool
	w := open(t, root, nil, func(c *Config) {
		attach := c.Attach
		c.Attach = func(ctx context.Context, p *Pool) (volume.Caps, error) {
			if slow.Load() && p.Name() == "b" {
				begun <- struct{}{}
				<-ctx.Done()
				ended <- struct{}{}
			}
			return attach(ctx, p)
		}
	})
	w.run()
	slow.Store(true)
	put(t, root, "b/"+SettingsFile, "{}")
	<-begun
	w.wantPool("b", "its volumes are being read")
	if _, err := w.reserve("b", gb); !fault.Is(err, fault.PoolUnavailable) {
		t.Errorf("room in a pool whose volumes are not known: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	<-ended
	w.await("detach b")
	w.until(func() bool { return len(w.Infos()) == 1 })
	w.wantPool("a", "")
}

func TestUnwell(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}"})
	w := open(t, root, nil)
	w.run()
	// A rename within the pool that nobody watches for, so that only a look finds it.
	if err := os.Rename(filepath.Join(root, "a", LockFile), filepath.Join(root, "a", ".lock")); err != nil {
		t.Fatal(err)
	}
	w.get("a").Unwell(errors.New("input/output error"))
	w.await("detach a")
	w.until(func() bool { return w.valid("a") })
}

func TestClose(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}", "b/" + SettingsFile: "-"})
	w := open(t, root, nil)
	r, err := w.reserve("a", gb)
	if err != nil {
		t.Fatal(err)
	}
	p := w.get("a")
	for range 2 {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	w.await("detach a")
	r.Keep(1, gb) // late, and harmless
	p.Account(volume.Usage{Volumes: 1})
	w.rescan()
	if len(w.Infos()) != 0 {
		t.Errorf("after Close there are pools:\n%s", w.describe())
	}
	if _, err := w.reserve("", gb); !fault.Is(err, fault.VolumeAvailablePathNotFound) {
		t.Errorf("after Close: %v", err)
	}
	open(t, root, nil).wantPool("a", "")
}
