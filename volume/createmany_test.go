package volume_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"elstore/test/rig"
	"elstore/volume"
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
