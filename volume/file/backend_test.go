package file

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"elstore/test/need"
	"elstore/volume"
	"elstore/volume/qemu"
)

var owner = must(volume.ParseClient("5e96afa52c1a53348adc5c5663978058"))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// newTool returns a Tool whose qemu-img is there.
func newTool(t testing.TB) *qemu.Tool {
	t.Helper()
	need.Program(t, "qemu-img")
	tool, err := qemu.New(qemu.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

// openPool opens a pool in dir and scans it.
func openPool(t testing.TB, cfg Config) *Backend {
	t.Helper()
	b, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	scan(t, b)
	return b
}

// scan returns what Scan finds, by id.
func scan(t testing.TB, b *Backend) map[volume.ID]volume.Found {
	t.Helper()
	found := map[volume.ID]volume.Found{}
	err := b.Scan(t.Context(), func(f volume.Found) error { found[f.ID] = f; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func meta(format volume.Format, size int64) volume.Meta {
	return volume.Meta{
		Creator: owner, Name: "disk", Clonable: true, Alg: volume.Copy, Format: format, Bus: volume.Virtio, Size: size,
	}
}

// create makes a volume.
func create(t testing.TB, b *Backend, m volume.Meta, c volume.Content) (volume.ID, volume.Meta) {
	t.Helper()
	id := volume.NewID()
	s, err := b.Stage(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Discard()
	if m, err = s.Fill(t.Context(), m, c); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return id, m
}

// locked runs do with the volume's lock held.
func locked(t testing.TB, b *Backend, id volume.ID, do func(h volume.Held)) {
	t.Helper()
	h, err := b.Lock(t.Context(), id, volume.Operation{Purpose: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Unlock()
	do(h)
}

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	b := openPool(t, Config{Dir: dir, Tool: newTool(t)})
	for _, format := range []volume.Format{volume.Raw, volume.QCOW2} {
		id, m := create(t, b, meta(format, 1<<20), volume.Content{})
		locked(t, b, id, func(h volume.Held) {
			var err error
			if m, err = h.Resize(t.Context(), m, 2<<20, false, volume.PreallocOff); err != nil {
				t.Fatal(err)
			}
			to := volume.QCOW2
			if format == to {
				to = volume.Raw
			}
			if m, err = h.Convert(t.Context(), m, to, nil); err != nil {
				t.Fatal(err)
			}
		})
		f, err := b.Load(t.Context(), id)
		if err != nil || f.Meta.Size != 2<<20 || f.Meta.Format != m.Format || f.Problem != nil {
			t.Errorf("loaded %+v, %v", f, err)
		}
		t.Log(list(t, filepath.Join(dir, volumeName(id))))
		locked(t, b, id, func(h volume.Held) {
			if err := h.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
	if left := list(t, dir); !slices.Equal(left, []string{binName}) {
		t.Errorf("left are %q", left)
	}
	_ = context.Background
}

// list returns the names in a directory, sorted.
func list(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}
