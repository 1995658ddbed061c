package file

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/qemu"
)

// qcow2 returns the bytes of an empty qcow2 image of 1 MiB that qemu-img made, changed.
func qcow2(t testing.TB, change func(b []byte) []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image")
	err := newTool(t).Create(t.Context(), qemu.CreateOptions{Image: qemu.Image{Path: name, Format: qemu.QCOW2}, Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(change(data))
}

// backed makes the image an overlay of the file with that name, of format if that is not "".
func backed(name, format string) func(b []byte) []byte {
	return func(b []byte) []byte {
		const at = 512
		off := int(binary.BigEndian.Uint32(b[100:])) // the header's length: there the extensions begin
		clear(b[off : off+64])
		if format != "" {
			binary.BigEndian.PutUint32(b[off:], 0xe2792aca)
			binary.BigEndian.PutUint32(b[off+4:], uint32(len(format)))
			copy(b[off+8:], format)
		}
		copy(b[at:], name)
		binary.BigEndian.PutUint64(b[8:], at)
		binary.BigEndian.PutUint32(b[16:], uint32(len(name)))
		return b
	}
}

func set64(off int, value uint64) func(b []byte) []byte {
	return func(b []byte) []byte {
		binary.BigEndian.PutUint64(b[off:], value)
		return b
	}
}

func TestHandMadeVolumes(t *testing.T) {
	const creator = `"creatorID":"5E96AFA5-2C1A-5334-8ADC-5C5663978058"`
	base := strings.Repeat("ab", 32)
	same := func(b []byte) []byte { return b }
	type files map[string]string
	tests := []struct {
		name   string
		files  files
		size   int64
		base   string
		iso    string
		damage string // in the sentence of Problem
		none   bool   // it is no volume
	}{
		{name: "raw, without a size", files: files{"meta.json": `{` + creator + `}`, "data.img": "12345"}, size: 5},
		{name: "raw, of another size than it says", files: files{"meta.json": `{` + creator + `,"size":512}`, "data.img": "12345"}, size: 5},
		{
			name:  "raw that bears a qcow2 header",
			files: files{"meta.json": `{` + creator + `}`, "data.img": qcow2(t, backed("/etc/passwd", "raw"))}, size: int64(len(qcow2(t, same))),
		},
		{name: "qcow2, without a size", files: files{"meta.json": `{` + creator + `,"format":"qcow2"}`, "data.qcow2": qcow2(t, same)}, size: 1 << 20},
		{
			name:  "qcow2 that was compacted and says the old base",
			files: files{"meta.json": `{` + creator + `,"format":"qcow2","base":"` + base + `.img"}`, "data.qcow2": qcow2(t, same)},
			size:  1 << 20,
		},
		{
			name: "ISO", iso: "os_generic", size: 3,
			files: files{"meta.json": `{` + creator + `,"format":"iso"}`, "data.iso": "iso", "isoinfo.json": `{"isotype":"os_generic"}`},
		},
		{
			name: "ISO with a bad isoinfo.json", size: 3,
			files: files{"meta.json": `{` + creator + `,"format":"iso"}`, "data.iso": "iso", "isoinfo.json": `{"isotype":`},
		},
		{name: "no meta.json", files: files{"data.img": "12345"}, none: true},
		{name: "nothing", files: files{"other": ""}, none: true},
		{name: "empty meta.json", files: files{"meta.json": "", "data.img": "1"}, damage: "meta.json"},
		{name: "truncated meta.json", files: files{"meta.json": `{` + creator + `,"na`, "data.img": "1"}, damage: "meta.json"},
		{name: "huge meta.json", files: files{"meta.json": strings.Repeat(" ", volume.MaxMeta+1), "data.img": "1"}, damage: "meta.json"},
		{name: "meta.json is a directory", files: files{"meta.json/x": "", "data.img": "1"}, damage: "meta.json: not a regular file"},
		{name: "meta.json is a link", files: files{"real": `{` + creator + `}`, "meta.json": "->real", "data.img": "1"}, damage: "meta.json: not a regular file"},
		{name: "meta.json is a FIFO", files: files{"meta.json": "fifo", "data.img": "1"}, damage: "meta.json: not a regular file"},
		{name: "image is missing", files: files{"meta.json": `{` + creator + `}`}, damage: "data.img: it is missing"},
		{name: "image is a directory", files: files{"meta.json": `{` + creator + `}`, "data.img/x": ""}, damage: "data.img: not a regular file"},
		{name: "image is a link", files: files{"meta.json": `{` + creator + `}`, "x": "1", "data.img": "->x"}, damage: "data.img: not a regular file"},
		{name: "qcow2 image is a link", files: files{"meta.json": `{` + creator + `,"format":"qcow2"}`, "x": qcow2(t, same), "data.qcow2": "->x"}, damage: "data.qcow2: not a regular file"},
		{name: "qcow2 image is a FIFO", files: files{"meta.json": `{` + creator + `,"format":"qcow2"}`, "data.qcow2": "fifo"}, damage: "data.qcow2: not a regular file"},
		{name: "qcow2 image of garbage", files: files{"meta.json": `{` + creator + `,"format":"qcow2"}`, "data.qcow2": strings.Repeat("garbage", 1000)}, damage: "data.qcow2"},
		{name: "qcow2 image that is empty", files: files{"meta.json": `{` + creator + `,"format":"qcow2"}`, "data.qcow2": ""}, damage: "data.qcow2"},
		{
			name:   "qcow2 image that needs /etc/passwd",
			files:  files{"meta.json": `{` + creator + `,"format":"qcow2"}`, "data.qcow2": qcow2(t, backed("/etc/passwd", "raw"))},
			damage: "no base image of the pool",
		},
		{
			name:   "qcow2 image that leads out of the base images",
			files:  files{"meta.json": `{` + creator + `,"format":"qcow2"}`, "data.qcow2": qcow2(t, backed("../elemento-base/../../etc/passwd", "raw"))},
			damage: "no base image of the pool",
		},
		{
			name:   "overlay that meta.json does not know",
			files:  files{"meta.json": `{` + creator + `,"format":"qcow2"}`, "data.qcow2": qcow2(t, backed("../elemento-base/"+base+".img", "raw"))},
			damage: "that meta.json does not name",
		},
		{
			name: "overlay",
			files: files{
				"meta.json":  `{` + creator + `,"format":"qcow2","base":"` + base + `.img"}`,
				"data.qcow2": qcow2(t, backed("../elemento-base/"+base+".img", "raw")), "../elemento-base/" + base + ".img": "base",
			},
			size: 1 << 20, base: base + ".img",
		},
		{
			name: "overlay without a base image",
			files: files{
				"meta.json":  `{` + creator + `,"format":"qcow2","base":"` + base + `.img"}`,
				"data.qcow2": qcow2(t, backed("../elemento-base/"+base+".img", "raw")),
			},
			damage: "its base image is missing",
		},
		{
			name: "overlay that would let QEMU guess",
			files: files{
				"meta.json":  `{` + creator + `,"format":"qcow2","base":"` + base + `.img"}`,
				"data.qcow2": qcow2(t, backed("../elemento-base/"+base+".img", "")), "../elemento-base/" + base + ".img": "base",
			},
			damage: "does not say its base image's format",
		},
		{
			name: "overlay of an image that needs /etc/passwd",
			files: files{
				"meta.json":                           `{` + creator + `,"format":"qcow2","base":"` + base + `.qcow2"}`,
				"data.qcow2":                          qcow2(t, backed("../elemento-base/"+base+".qcow2", "qcow2")),
				"../elemento-base/" + base + ".qcow2": qcow2(t, backed("/etc/passwd", "raw")),
			},
			damage: "its base image is missing",
		},
		{
			name:   "encrypted qcow2 image",
			files:  files{"meta.json": `{` + creator + `,"format":"qcow2"}`, "data.qcow2": qcow2(t, func(b []byte) []byte { b[35] = 1; return b })},
			damage: "encrypted",
		},
		{
			name:   "qcow2 image with its data elsewhere",
			files:  files{"meta.json": `{` + creator + `,"format":"qcow2"}`, "data.qcow2": qcow2(t, set64(72, qemu.IncompatibleDataFile))},
			damage: "its data is in another file",
		},
		{
			name:   "corrupt qcow2 image",
			files:  files{"meta.json": `{` + creator + `,"format":"qcow2"}`, "data.qcow2": qcow2(t, set64(72, qemu.IncompatibleCorrupt))},
			damage: "corrupt",
		},
		{
			name:   "qcow2 image of 1 PiB",
			files:  files{"meta.json": `{` + creator + `,"format":"qcow2"}`, "data.qcow2": qcow2(t, set64(24, 1<<50))},
			damage: "over",
		},
		{name: "RBD", files: files{"meta.json": `{` + creator + `,"format":"rbd"}`, "data.rbd": "x"}, damage: "Ceph"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, id := t.TempDir(), volume.NewID()
			for name, content := range tt.files {
				at := filepath.Join(dir, volumeName(id), name)
				switch target, link := strings.CutPrefix(content, "->"); {
				case link:
					put(t, "", at+".d")
					if err := os.Symlink(target, at); err != nil {
						t.Fatal(err)
					}
				case content == "fifo":
					put(t, "", at+".d")
					if err := syscall.Mkfifo(at, 0o600); err != nil {
						t.Fatal(err)
					}
				default:
					put(t, content, at)
				}
			}
			b := openPool(t, Config{Dir: dir, Tool: newTool(t)})
			f, there := scan(t, b)[id]
			loaded, err := b.Load(t.Context(), id)
			if tt.none {
				if there || !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Scan found %t %+v, Load %v", there, f, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for how, f := range map[string]volume.Found{"Scan": f, "Load": loaded} {
				if tt.damage != "" {
					if !fault.Is(f.Problem, fault.VolumeDamaged) || !strings.Contains(f.Problem.Error(), tt.damage) {
						t.Errorf("%s: the problem is %v, want one that says %q", how, f.Problem, tt.damage)
					}
					continue
				}
				if f.Problem != nil || f.Meta.Size != tt.size || f.Meta.Base != tt.base || f.ISOType != tt.iso || time.Since(f.Changed) > time.Hour {
					t.Errorf("%s: %+v, want %d bytes, base %q, isotype %q", how, f, tt.size, tt.base, tt.iso)
				}
			}
			// Whatever it is, it can be deleted.
			locked(t, b, id, func(h volume.Held) {
				if err := h.Trash(t.Context(), time.Now()); err != nil {
					t.Error(err)
				}
				if err := h.Purge(t.Context()); err != nil {
					t.Error(err)
				}
			})
			if _, there := scan(t, b)[id]; there {
				t.Error("it was purged, and is there")
			}
		})
	}
}

func TestALinkInAVolumesPlaceIsNone(t *testing.T) {
	dir, elsewhere, id := t.TempDir(), t.TempDir(), volume.NewID()
	put(t, `{"creatorID":"5e96afa52c1a53348adc5c5663978058"}`, elsewhere, "meta.json")
	put(t, "1", elsewhere, "data.img")
	for _, target := range []string{elsewhere, volumeName(volume.NewID())} {
		if err := os.Symlink(target, filepath.Join(dir, volumeName(id))); err != nil {
			t.Fatal(err)
		}
		b := openPool(t, Config{Dir: dir})
		if found := scan(t, b); len(found) > 0 {
			t.Errorf("Scan found %v", found)
		}
		if _, err := b.Load(t.Context(), id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Load: %v", err)
		}
		if _, err := b.Lock(t.Context(), id, volume.Operation{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Lock: %v", err)
		}
		if _, err := b.Stage(t.Context(), id); !fault.Is(err, fault.VolumeExists) {
			t.Errorf("Stage: %v", err)
		}
		if err := os.Remove(filepath.Join(dir, volumeName(id))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBinByHand(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name, deleted string
		want          time.Time // zero: about now
	}{
		{"with its time", `{"time":"2026-01-02T03:04:05Z"}`, when},
		{"with a time of another zone", `{"time":"2026-01-02T04:04:05+01:00"}`, when},
		{"garbage", `{"time":`, time.Time{}},
		{"empty", "", time.Time{}},
		{"moved there by hand", "absent", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, id := t.TempDir(), volume.NewID()
			at := filepath.Join(dir, binName, volumeName(id))
			put(t, `{"creatorID":"5e96afa52c1a53348adc5c5663978058"}`, at, "meta.json")
			put(t, "1", at, "data.img")
			if tt.deleted != "absent" {
				put(t, tt.deleted, at, deletedName)
			}
			b := openPool(t, Config{Dir: dir})
			got := scan(t, b)[id].Trashed
			if tt.want.IsZero() && time.Since(got).Abs() > time.Hour || !tt.want.IsZero() && !got.Equal(tt.want) {
				t.Errorf("deleted at %v, want %v", got, tt.want)
			}
			locked(t, b, id, func(h volume.Held) {
				if f, err := h.Load(t.Context()); err != nil || f.Trashed.Before(got) {
					t.Errorf("Load says %v, %v", f.Trashed, err)
				}
				if err := h.Restore(t.Context()); err != nil {
					t.Error(err)
				}
			})
			if f, err := b.Load(t.Context(), id); err != nil || !f.Trashed.IsZero() {
				t.Errorf("restored it is %+v, %v", f, err)
			}
		})
	}
}

// TestSourcesThatNameOtherFiles are refused before qemu-img opens one, whoever should have looked before.
func TestSourcesThatNameOtherFiles(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	put(t, strings.Repeat("secret!!", 64), secret)
	base := strings.Repeat("ab", 32) + ".img"
	tests := []struct {
		name   string
		change func(b []byte) []byte
		size   int64
		base   string
	}{
		{"a backing file", backed(secret, "raw"), 1 << 20, ""},
		{"a backing file beside it", backed("secret", "raw"), 1 << 20, ""},
		{"a base image that it was not said to need", backed("../elemento-base/"+base, "raw"), 1 << 20, ""},
		{"another base image", backed("../elemento-base/"+base, "raw"), 1 << 20, strings.Repeat("cd", 32) + ".img"},
		{"data elsewhere", set64(72, qemu.IncompatibleDataFile), 1 << 20, ""},
		{"another size", func(b []byte) []byte { return b }, 1 << 19, ""},
		{"garbage", func([]byte) []byte { return []byte("garbage") }, 1 << 20, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			b := openPool(t, Config{Dir: dir, Tool: newTool(t)})
			source := filepath.Join(filepath.Dir(secret), "source")
			put(t, qcow2(t, tt.change), source)
			for _, format := range []volume.Format{volume.Raw, volume.QCOW2} {
				for _, c := range []volume.Content{{}, {Overlay: true}} {
					if c.Overlay && format == volume.Raw {
						continue
					}
					c.From = &volume.Image{Path: source, Format: "qcow2", Size: tt.size, Base: tt.base, Pool: b}
					s, err := b.Stage(t.Context(), volume.NewID())
					if err != nil {
						t.Fatal(err)
					}
					if _, err := s.Fill(t.Context(), meta(format, 1<<20), c); !fault.Is(err, fault.ImageRefused) {
						t.Errorf("into %s, overlay %t: %v", format, c.Overlay, err)
					}
					s.Discard()
				}
			}
			if left := tree(t, dir); len(left) != 0 {
				t.Errorf("left are %q", names(left))
			}
		})
	}
}
