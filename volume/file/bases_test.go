package file

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/qemu"
)

// A volume that was put into the pool by hand needs its base image as much as one that we made.
func TestBaseImageOfAVolumeThatCameSinceTheScan(t *testing.T) {
	tests := map[string]struct {
		spoil func(t *testing.T, dir string)
		by    func(t *testing.T, b *Backend, id volume.ID)
	}{
		"seen by Load": {by: func(t *testing.T, b *Backend, id volume.ID) {
			if f, err := b.Load(t.Context(), id); err != nil || f.Problem != nil {
				t.Fatal(err, f.Problem)
			}
		}},
		"seen under its lock": {by: func(t *testing.T, b *Backend, id volume.ID) {
			locked(t, b, id, func(h volume.Held) {
				if f, err := h.Load(t.Context()); err != nil || f.Problem != nil {
					t.Fatal(err, f.Problem)
				}
			})
		}},
		"still being copied": {
			spoil: func(t *testing.T, dir string) {
				if err := os.Truncate(filepath.Join(dir, "data.qcow2"), 0); err != nil {
					t.Fatal(err)
				}
			},
			by: func(t *testing.T, b *Backend, id volume.ID) {
				if f, err := b.Load(t.Context(), id); err != nil || f.Problem == nil {
					t.Fatal(err, f.Problem)
				}
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pool := t.TempDir()
			b := openPool(t, Config{Dir: pool, Tool: newTool(t)})
			source := filepath.Join(t.TempDir(), "source.img")
			if err := os.WriteFile(source, make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			from := volume.Image{Path: source, Format: string(qemu.Raw), Size: 1 << 20}
			first, m := create(t, b, meta(volume.QCOW2, 1<<20), volume.Content{From: &from, Overlay: true})
			second := volume.NewID()
			place := filepath.Join(pool, volumeName(second))
			if out, err := exec.Command("cp", "-a", filepath.Join(pool, volumeName(first)), place).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if tt.spoil != nil {
				tt.spoil(t, place)
			}
			tt.by(t, b, second)
			locked(t, b, first, func(h volume.Held) {
				if err := h.Purge(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			if !b.hasBase(m.Base) || b.BaseBytes() == 0 {
				t.Error("the base image went with the volume that it was made for")
			}
			if there, err := b.listBases(); err != nil || there[m.Base] == 0 {
				t.Errorf("%v, %v", there, err)
			}
			if tt.spoil != nil {
				return
			}
			locked(t, b, second, func(h volume.Held) {
				if err := h.Purge(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			if there, err := b.listBases(); err != nil || len(there) != 0 {
				t.Errorf("left when nobody needs it: %v, %v", there, err)
			}
		})
	}
}

// The image of a volume whose replacement could neither be finished nor undone is the new one, as long as nobody has settled it: the base
// image that it needs is kept until then.
func TestBaseImageOfAReplacementThatCouldNotBeUndone(t *testing.T) {
	failing, undoing := false, false
	b := openPool(t, Config{Dir: t.TempDir(), Tool: newTool(t)}.Stepped(func(op, name string) error {
		switch {
		case failing && op == "replace" && name == metaName:
			failing, undoing = false, true
			return unix.EIO
		case undoing && op == "sync" && name == ".": // by which that is undone
			undoing = false
			return unix.EIO
		}
		return nil
	}))
	source := filepath.Join(t.TempDir(), "source.img")
	if err := os.WriteFile(source, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	id, m := create(t, b, meta(volume.QCOW2, 1<<20), volume.Content{})
	locked(t, b, id, func(h volume.Held) {
		failing = true
		_, err := h.Replace(t.Context(), m, volume.Content{From: &volume.Image{Path: source, Format: string(qemu.Raw), Size: 1 << 20}, Overlay: true})
		if !errors.Is(err, unix.EIO) || failing || undoing {
			t.Errorf("Replace: %v", err)
		}
	})
	locked(t, b, id, func(h volume.Held) {
		f, err := h.Load(t.Context())
		if err != nil || f.Problem != nil {
			t.Fatal(err, f.Problem)
		}
		if there, err := b.listBases(); err != nil || f.Meta.Base == "" || there[f.Meta.Base] == 0 {
			t.Errorf("the volume needs %q, and there is %v, %v", f.Meta.Base, there, err)
		}
	})
}
