package volume_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"elstore/pool"
	"elstore/test/need"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/file"
	"elstore/volume/volumetest"
)

// journals puts journals of unfinished sets into a new state directory.
func journals(t *testing.T, sets ...map[string][]volume.ID) *os.Root {
	t.Helper()
	state := t.TempDir()
	if err := os.Mkdir(filepath.Join(state, "sets"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, set := range sets {
		data, err := json.Marshal(map[string]any{"volumes": set})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(state, "sets", fmt.Sprint(i, ".json")), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// A set may be in the making in another pool while one is added: to write its journal would bring it back after it was dropped.
func TestJournalOfOtherPoolsIsNotTouched(t *testing.T) {
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	state := journals(t, map[string][]volume.ID{"elsewhere": {volume.NewID()}})
	name := filepath.Join(state.Name(), "sets", "0.json")
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	rig.Assemble(t, root, func(c *volume.Config) { c.State = state })
	if after, err := os.Stat(name); err != nil || !os.SameFile(before, after) {
		t.Errorf("written anew, or gone: %v", err)
	}
}

func TestPoolsRollBackTheSameSetsAtTheSameTime(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		rig.Pool(t, root, name, `{}`)
	}
	var sets []map[string][]volume.ID
	for range 50 {
		sets = append(sets, map[string][]volume.ID{"a": {volume.NewID()}, "b": {volume.NewID()}})
	}
	state := journals(t, sets...)
	parts := rig.Assemble(t, root, func(c *volume.Config) { c.State = state })
	for _, info := range parts.Pools.Infos() {
		if !info.Valid {
			t.Errorf("pool %s: %s", info.Name, info.Reason)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(state.Name(), "sets", "*")); len(left) != 0 {
		t.Errorf("journals left: %v", left)
	}
}

// An earlier try with the same ids failed, and neither its volumes nor its journal could be removed.
func TestSetThatIsAcknowledgedSurvivesTheJournalOfAnEarlierTry(t *testing.T) {
	for name, made := range map[string]bool{"its volumes are there": true, "its volumes are gone": false} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			rig.Pool(t, root, "pool", `{}`)
			list := []volume.NewVolume{wish("a", mib), wish("b", mib)}
			ids := []volume.ID{volume.NewID(), volume.NewID()}
			list[0].ID, list[1].ID = ids[0], ids[1]
			other := volume.NewID()
			state := journals(t)
			parts := rig.Assemble(t, root, func(c *volume.Config) { c.State = state })
			create := func() {
				t.Helper()
				if _, err := parts.Volumes.CreateMany(t.Context(), slices.Clone(list)); err != nil {
					t.Fatal(err)
				}
			}
			if made {
				create()
			}
			journal, err := json.Marshal(map[string]any{"volumes": map[string][]volume.ID{"pool": ids, "elsewhere": {other}}})
			if err != nil {
				t.Fatal(err)
			}
			if err := state.MkdirAll("sets", 0o700); err != nil {
				t.Fatal(err)
			}
			if err := state.WriteFile("sets/old.json", journal, 0o600); err != nil {
				t.Fatal(err)
			}
			create()
			parts.Jobs.Stop(context.Background())
			if err := parts.Pools.Close(); err != nil {
				t.Fatal(err)
			}
			next := rig.Assemble(t, root, func(c *volume.Config) { c.State = state })
			for _, id := range ids {
				if !next.Volumes.Has(t.Context(), id, nil) {
					t.Errorf("volume %s was acknowledged and is gone", id)
				}
			}
			if _, err := state.Stat("sets/old.json"); err != nil {
				t.Errorf("what the earlier try left in another pool is forgotten: %v", err)
			}
		})
	}
}

// onFailing is a Service whose one pool asks step before each call of its backend.
func onFailing(t *testing.T, root string, state *os.Root, step func(string) error) *place {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	p := &place{t: t, root: root, pool: filepath.Join(root, "pool"), Parts: &rig.Parts{State: state, Events: volume.NewEvents(1000)}}
	var err error
	p.Pools, err = pool.New(pool.Config{
		Root: root, ServerID: volume.NewID().String(), Log: log,
		Attach: func(ctx context.Context, at *pool.Pool) (volume.Caps, error) {
			b, err := file.Open(ctx, file.Config{Dir: at.Path(), Log: log})
			if err != nil {
				return volume.Caps{}, err
			}
			t.Cleanup(func() { b.Close() })
			return b.Caps(), p.Volumes.AddPool(ctx, at, volumetest.Failing(b, step))
		},
		Detach: func(at *pool.Pool) { p.Volumes.RemovePool(at.Name()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if p.Volumes, err = volume.New(volume.Config{Pools: p.Pools, Events: p.Events, Log: log, State: state}); err != nil {
		t.Fatal(err)
	}
	if err := p.Pools.Rescan(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.Volumes.Close(), p.Pools.Close()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestCreateManyFails lets one call of the backend fail, or all from one on, for each that there is: all of a set is there or nothing.
// What can't be taken back while the storage is away is taken back by the next start.
func TestCreateManyFails(t *testing.T) {
	for name, at := range map[string]func(n int) *volumetest.Steps{
		"one call":  func(n int) *volumetest.Steps { return volumetest.FailAt(n, syscall.EIO) },
		"an outage": volumetest.CrashAt,
	} {
		t.Run(name, func(t *testing.T) {
			disk := need.Disk(t)
			for n := 0; ; n++ {
				root, state := filepath.Join(disk, fmt.Sprint(n)), journals(t)
				rig.Pool(t, root, "pool", `{}`)
				steps := at(n)
				var armed atomic.Bool
				p := onFailing(t, root, state, func(call string) error {
					if !armed.Load() {
						return nil
					}
					return steps.Step(call)
				})
				list := []volume.NewVolume{wish("a", mib), wish("b", mib), wish("c", mib)}
				for i := range list {
					list[i].ID = volume.NewID()
				}
				armed.Store(true)
				made, err := p.Volumes.CreateMany(t.Context(), slices.Clone(list))
				armed.Store(false)
				call, hit := steps.Hit()
				if !hit && err != nil {
					t.Fatal(err)
				}
				whole := 0
				if err == nil {
					if whole = len(list); len(made) != whole {
						t.Errorf("call %d (%s): %d volumes were made", n, call, len(made))
					}
				} else if !errors.Is(err, syscall.EIO) {
					t.Errorf("call %d (%s): the error is %v", n, call, err)
				}
				if got := p.accessible(); got != whole {
					t.Errorf("call %d (%s): %d volumes are listed, want %d: %v", n, call, got, whole, err)
				}
				if volumes, bytes := p.used(); volumes != int64(whole) || bytes != int64(whole)*mib {
					t.Errorf("call %d (%s): %d volumes of %d bytes are counted", n, call, volumes, bytes)
				}
				if err := p.Pools.Close(); err != nil {
					t.Fatal(err)
				}
				next := onFailing(t, root, state, func(string) error { return nil })
				if got := next.accessible(); got != whole {
					t.Errorf("call %d (%s): after a restart %d volumes are listed, want %d", n, call, got, whole)
				}
				if again, err := next.Volumes.CreateMany(t.Context(), slices.Clone(list)); err != nil || len(again) != len(list) {
					t.Errorf("call %d (%s): again: %d volumes, %v", n, call, len(again), err)
				}
				if left, _ := filepath.Glob(state.Name() + "/sets/*"); len(left) > 0 {
					t.Errorf("call %d (%s): journals %q stay", n, call, left)
				}
				if err := next.Pools.Close(); err != nil {
					t.Fatal(err)
				}
				if !hit || t.Failed() {
					return
				}
			}
		})
	}
}
