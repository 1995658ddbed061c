package file

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"elstore/test/need"
	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/qemu"
)

var owner = func() volume.Client {
	c, err := volume.ParseClient("5e96afa52c1a53348adc5c5663978058")
	if err != nil {
		panic(err)
	}
	return c
}()

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

// openPool opens a pool and scans it.
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

// put writes a file and the directories above it.
func put(t testing.TB, data string, elem ...string) {
	t.Helper()
	name := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tree returns the content of every file below dir by its name, and "/" for directories.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			found[rel] = "/"
		case d.Type().IsRegular():
			data, err := os.ReadFile(name)
			found[rel] = string(data)
			return err
		default:
			found[rel] = d.Type().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func names(tree map[string]string) []string { return slices.Sorted(maps.Keys(tree)) }

func TestLayout(t *testing.T) {
	dir := t.TempDir()
	b := openPool(t, Config{Dir: dir, ServerID: "server-1"})
	if left := tree(t, dir); len(left) != 0 {
		t.Errorf("opening left %q", names(left))
	}
	id, m := create(t, b, meta(volume.Raw, 4096), volume.Content{})
	name := volumeName(id)
	if want := "vid." + id.String() + ".elimg"; name != want {
		t.Errorf("the directory is %s, want %s", name, want)
	}
	want := map[string]string{
		name: "/", name + "/.lock": "", name + "/meta.json": string(m.Encode()), name + "/data.img": strings.Repeat("\x00", 4096),
	}
	if got := tree(t, dir); !maps.Equal(got, want) {
		t.Errorf("a volume is %q", names(got))
	}
	for rel, content := range want {
		info, err := os.Lstat(filepath.Join(dir, rel))
		if err != nil {
			t.Fatal(err)
		}
		if mode, perm := info.Mode(), fs.FileMode(0o600); content == "/" && mode != 0o700|fs.ModeDir || content != "/" && mode != perm {
			t.Errorf("%s has mode %v", rel, mode)
		}
	}

	h, err := b.Lock(t.Context(), id, volume.Operation{Purpose: "Paint it/black", Args: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	marks, _ := filepath.Glob(filepath.Join(dir, name, "elemento.*.ignore"))
	if len(marks) != 1 || !strings.HasPrefix(filepath.Base(marks[0]), "elemento.paintitblack.") {
		t.Fatalf("the locked volume bears %q", marks)
	}
	data, err := os.ReadFile(marks[0])
	if err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	got, ok := parseMark(data)
	if !ok || got.Host != host || got.PID != os.Getpid() || got.BootID == "" || got.Started == 0 || got.Server != "server-1" ||
		got.Purpose != "Paint it/black" || !slices.Equal(got.Args, []string{"a", "b"}) {
		t.Errorf("the mark says %s", data)
	}
	when := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if err := h.Trash(t.Context(), when); err != nil {
		t.Fatal(err)
	}
	h.Unlock()
	h.Unlock()
	place := binName + "/" + name
	want = map[string]string{
		binName: "/", place: "/", place + "/.lock": "", place + "/meta.json": string(m.Encode()),
		place + "/data.img": want[name+"/data.img"], place + "/.deleted": `{"time":"2026-03-01T12:00:00Z"}` + "\n",
	}
	if got := tree(t, dir); !maps.Equal(got, want) {
		t.Errorf("a volume in the bin is %q", names(got))
	}
	locked(t, b, id, func(h volume.Held) {
		if err := h.Purge(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if got := names(tree(t, dir)); !slices.Equal(got, []string{binName}) {
		t.Errorf("left are %q", got)
	}
}

func TestOverlayLayout(t *testing.T) {
	dir := t.TempDir()
	b := openPool(t, Config{Dir: dir, Tool: newTool(t)})
	source := filepath.Join(t.TempDir(), "source")
	put(t, strings.Repeat("elemento", 64), source)
	img := &volume.Image{Path: source, Format: "raw", Size: 512}
	id, m := create(t, b, meta(volume.QCOW2, 1<<20), volume.Content{From: img, Overlay: true})
	if want := "ebac1eb3867c7094e2bd3a67d7498a807a0d6cbf9c8d045cc60c22018399c634.img"; m.Base != want { // sha256sum source
		t.Errorf("the base is %q, want %q", m.Base, want)
	}
	info, err := os.Lstat(filepath.Join(dir, baseName, m.Base))
	if err != nil || info.Mode() != 0o400 {
		t.Errorf("the base image has mode %v, %v", info.Mode(), err)
	}
	f, err := os.Open(filepath.Join(dir, volumeName(id), "data.qcow2"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	header, err := qemu.Header(f)
	if err != nil || header.BackingFile != "../elemento-base/"+m.Base || header.BackingFormat != "raw" {
		t.Errorf("the overlay needs %q of format %q, %v", header.BackingFile, header.BackingFormat, err)
	}
}

func TestUnknownFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	b := openPool(t, Config{Dir: dir, Tool: newTool(t)})
	id, m := create(t, b, meta(volume.Raw, 4096), volume.Content{})
	name := volumeName(id)
	foreign := map[string]string{
		"settings.json": "{}", "notes.txt": "mine", ".tmp-theirs": "x", "vid.x.elimg/meta.json": "{}",
		"elemento-base/readme": "x", "elemento-bin/readme": "x", "vid." + strings.ToUpper(id.String()) + ".elimg/meta.json": "{}",
		name + "/iqn.2004-10.cloud.elemento:01:abc.exported": "", name + "/cloud-init-metadata/user-data": "#cloud-config",
		name + "/.export/record.json": "{}", name + "/data": "x", name + "/snapshot.img": "x",
		"vid.00000000000000000000000000000001.elimg/data.img": "no meta.json, no volume",
	}
	for rel, content := range foreign {
		put(t, content, dir, rel)
	}
	if found := scan(t, b); len(found) != 1 {
		t.Errorf("Scan found %v", found)
	}
	locked(t, b, id, func(h volume.Held) {
		var err error
		if m, err = h.Resize(t.Context(), m, 8192, false, ""); err != nil {
			t.Error(err)
		}
		if m, err = h.Convert(t.Context(), m, volume.QCOW2, nil); err != nil {
			t.Error(err)
		}
		if err := h.Trash(t.Context(), time.Now()); err != nil {
			t.Error(err)
		}
		if err := h.Restore(t.Context()); err != nil {
			t.Error(err)
		}
	})
	scan(t, openPool(t, Config{Dir: dir, Tool: newTool(t)}))
	got := tree(t, dir)
	for rel, content := range foreign {
		if got[rel] != content {
			t.Errorf("%s is %q, and was %q", rel, got[rel], content)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	put(t, "", file)
	tests := []struct {
		name string
		cfg  Config
		err  error
	}{
		{"what is not there", Config{Dir: filepath.Join(t.TempDir(), "absent")}, fs.ErrNotExist},
		{"a file", Config{Dir: file}, nil},
		{"what can't be unique", Config{Dir: t.TempDir(), Unique: true}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Open(t.Context(), tt.cfg)
			if b != nil || !fault.Is(err, fault.PoolUnavailable) || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("opened %v, %v", b, err)
			}
		})
	}
}

func TestWithoutATool(t *testing.T) {
	b := openPool(t, Config{Dir: t.TempDir()})
	if slices.Contains(b.Caps().Formats, volume.QCOW2) {
		t.Error("the pool says that it keeps qcow2")
	}
	id, m := create(t, b, meta(volume.Raw, 4096), volume.Content{})
	locked(t, b, id, func(h volume.Held) {
		if _, err := h.Convert(t.Context(), m, volume.QCOW2, nil); !fault.Is(err, fault.ImageToolMissing) {
			t.Errorf("converting: %v", err)
		}
	})
	for _, c := range []volume.Content{{}, {From: &volume.Image{Path: "/dev/null", Format: "raw", Size: 512}, Overlay: true}} {
		s, err := b.Stage(t.Context(), volume.NewID())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Fill(t.Context(), meta(volume.QCOW2, 4096), c); !fault.Is(err, fault.ImageToolMissing) {
			t.Errorf("making qcow2: %v", err)
		}
		s.Discard()
	}
}
