package file_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"elstore/test/need"
	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/file"
	"elstore/volume/volumetest"
)

// TestContractOnFileSystems holds the promises on file systems that share blocks, and with volumes that are subvolumes.
func TestContractOnFileSystems(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, kind string
		unique     bool
		faults     []string // of the changes that other system calls make there than on ext4
	}{
		{"xfs", "xfs", false, []string{"clone", "clone qcow2"}},
		{"btrfs", "btrfs", false, nil},
		{"btrfs subvolumes", "btrfs", true, []string{"create", "purge"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, cfg := need.FS(t, tt.kind), file.Config{Tool: tool(t), Opener: opener(t), Unique: tt.unique}
			make := func(t testing.TB) volumetest.Storage { return storage(t, dir, cfg) }
			volumetest.Run(t, make)
			if tt.faults != nil {
				volumetest.Faults(t, make, tt.faults...)
			}
		})
	}
}

// TestContractOnTmpfs holds the promises where ranges can't be zeroed by the file system.
func TestContractOnTmpfs(t *testing.T) {
	t.Parallel()
	dir := need.Tmpfs(t, 1<<30)
	cfg := file.Config{Tool: tool(t), Opener: opener(t)}
	volumetest.Run(t, func(t testing.TB) volumetest.Storage { return storage(t, dir, cfg) })
}

// at opens a pool on dir.
func at(t testing.TB, dir string, cfg file.Config) *file.Backend {
	t.Helper()
	cfg.Dir = dir
	b, err := file.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if err := b.Scan(t.Context(), func(volume.Found) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return b
}

func raw(size int64) volume.Meta {
	owner, _ := volume.ParseClient("5e96afa52c1a53348adc5c5663978058")
	return volume.Meta{Creator: owner, Name: "disk", Format: volume.Raw, Bus: volume.Virtio, Alg: volume.Copy, Size: size}
}

// newVolume makes a volume, or says why not.
func newVolume(t testing.TB, b *file.Backend, m volume.Meta, c volume.Content) (volume.ID, volume.Meta, error) {
	t.Helper()
	id := volume.NewID()
	s, err := b.Stage(t.Context(), id)
	if err != nil {
		return id, m, err
	}
	defer s.Discard()
	if m, err = s.Fill(t.Context(), m, c); err != nil {
		return id, m, err
	}
	return id, m, s.Commit(t.Context(), m)
}

// under does something with the volume's lock held.
func under(t testing.TB, b *file.Backend, id volume.ID, do func(h volume.Held) error) error {
	t.Helper()
	h, err := b.Lock(t.Context(), id, volume.Operation{Purpose: "test"})
	if err != nil {
		return err
	}
	defer h.Unlock()
	return do(h)
}

// room returns the bytes that are free on the file system of dir.
func room(t testing.TB, dir string) int64 {
	t.Helper()
	unix.Sync()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bfree) * st.Bsize // with what is kept for root, who runs this
}

func TestClonesShareBlocks(t *testing.T) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			dir := need.FS(t, kind)
			b := at(t, dir, file.Config{})
			if !b.Caps().Reflink {
				t.Fatal("the pool says that it can't share blocks")
			}
			const size = 64 << 20
			id, m, err := newVolume(t, b, raw(size), volume.Content{Prealloc: volume.PreallocFull})
			if err != nil {
				t.Fatal(err)
			}
			before := room(t, dir)
			for _, alg := range []volume.Alg{volume.Copy, volume.Rsync, volume.Rclone} {
				err := under(t, b, id, func(h volume.Held) error {
					img := h.Image(m)
					_, _, err := newVolume(t, b, m, volume.Content{From: &img, Alg: alg})
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if took := before - room(t, dir); took > size/2 {
				t.Errorf("three clones took %d bytes", took)
			}
		})
	}
	if b := at(t, need.FS(t, "ext4"), file.Config{}); b.Caps().Reflink {
		t.Error("the pool on ext4 says that it can share blocks")
	}
}

// subvolumes lists those of a btrfs file system, by their last element.
func subvolumes(t testing.TB, dir string) (names []string) {
	t.Helper()
	need.Program(t, "btrfs")
	out, err := exec.CommandContext(t.Context(), "btrfs", "subvolume", "list", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		names = append(names, filepath.Base(fields[len(fields)-1]))
	}
	return names
}

func TestUnique(t *testing.T) {
	dir := need.FS(t, "btrfs")
	b := at(t, dir, file.Config{Unique: true})
	id, m, err := newVolume(t, b, raw(1<<20), volume.Content{})
	if err != nil {
		t.Fatal(err)
	}
	name := "vid." + id.String() + ".elimg"
	steps := []struct {
		name string
		do   func(h volume.Held) error
		want []string
	}{
		{"made", func(volume.Held) error { return nil }, []string{name}},
		{"in the bin", func(h volume.Held) error { return h.Trash(t.Context(), time.Now()) }, []string{name}},
		{"restored", func(h volume.Held) error { return h.Restore(t.Context()) }, []string{name}},
		{"resized", func(h volume.Held) error {
			_, err := h.Resize(t.Context(), m, 2<<20, false, "")
			return err
		}, []string{name}},
		{"purged", func(h volume.Held) error { return h.Purge(t.Context()) }, nil},
	}
	for _, step := range steps {
		if err := under(t, b, id, step.do); err != nil {
			t.Fatal(err)
		}
		if got := subvolumes(t, dir); fmt.Sprint(got) != fmt.Sprint(step.want) {
			t.Errorf("%s: the subvolumes are %q, want %q", step.name, got, step.want)
		}
	}
	// What a crash leaves half-made is a subvolume too.
	s, err := b.Stage(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got := subvolumes(t, dir); len(got) != 1 {
		t.Errorf("a volume in the making: the subvolumes are %q", got)
	}
	s.Discard()
	if got := subvolumes(t, dir); len(got) != 0 {
		t.Errorf("discarded: the subvolumes are %q", got)
	}
}

// fill leaves about n bytes of room on the file system of dir, and returns how to give the rest back.
func fill(t testing.TB, dir string, n int64) (free func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(0)
	for _, piece := range []int64{64 << 20, 1 << 20, 4096} {
		for unix.Fallocate(int(f.Fd()), 0, size, piece) == nil {
			size += piece
		}
	}
	if err := errors.Join(f.Truncate(size-n), f.Sync()); err != nil {
		t.Fatal(err)
	}
	return func() { os.Remove(f.Name()) }
}

// TestFull works on a file system that is full, really.
func TestFull(t *testing.T) {
	dir := need.FS(t, "ext4")
	b := at(t, dir, file.Config{Tool: tool(t)})
	id, m, err := newVolume(t, b, raw(8<<20), volume.Content{Prealloc: volume.PreallocFull})
	if err != nil {
		t.Fatal(err)
	}
	quiet, qm, err := newVolume(t, b, raw(1<<20), volume.Content{})
	if err != nil {
		t.Fatal(err)
	}
	m.Format = volume.Raw
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, []byte(strings.Repeat("x", 8<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	img := &volume.Image{Path: big, Format: "raw", Size: 8 << 20}
	sound := func() {
		t.Helper()
		n := 0
		err := b.Scan(t.Context(), func(f volume.Found) error { n++; return f.Problem })
		if err != nil || n != 2 {
			t.Errorf("found %d volumes, %v", n, err)
		}
		if f, err := b.Load(t.Context(), id); err != nil || f.Meta.Size != m.Size || f.Meta.Format != m.Format {
			t.Errorf("loaded %+v, %v", f, err)
		}
	}
	free := fill(t, dir, 4<<20)
	for what, c := range map[string]volume.Content{
		"reserved": {Prealloc: volume.PreallocFalloc}, "written": {Prealloc: volume.PreallocFull}, "copied": {From: img},
		"copied by rsync": {From: img, Alg: volume.Rsync}, "kept as a base": {From: img, Overlay: true},
	} {
		want := m
		if c.Overlay {
			want.Format = volume.QCOW2
		}
		if _, _, err := newVolume(t, b, want, c); !fault.Is(err, fault.PoolFull) {
			t.Errorf("%s: %v (%s)", what, err, fault.CodeOf(err))
		}
	}
	for what, do := range map[string]func(h volume.Held) error{
		"grown": func(h volume.Held) error {
			_, err := h.Resize(t.Context(), m, 32<<20, false, volume.PreallocFull)
			return err
		},
		"reserved": func(h volume.Held) error {
			_, err := h.Resize(t.Context(), m, 32<<20, false, volume.PreallocFalloc)
			return err
		},
		"replaced": func(h volume.Held) error { _, err := h.Replace(t.Context(), m, volume.Content{From: img}); return err },
		"exported": func(h volume.Held) error { _, _, err := h.Export(t.Context(), m, volume.Raw, nil); return err },
		"uploading": func(h volume.Held) error {
			f, err := h.Incoming()
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.Write(make([]byte, 8<<20))
			return errors.Join(fault.FromOS("write", err), h.DropIncoming())
		},
	} {
		if err := under(t, b, id, do); !fault.Is(err, fault.PoolFull) && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v (%s)", what, err, fault.CodeOf(err))
		}
	}
	sound()
	if left := leftovers(t, dir, false); len(left) > 0 && fmt.Sprint(left) != "[ballast lost+found]" {
		t.Errorf("left over are %q", left)
	}

	free()
	free = fill(t, dir, 0)
	defer free()
	if err := under(t, b, quiet, func(h volume.Held) error {
		qm.Name = strings.Repeat("long", 60)
		return h.SetMeta(t.Context(), qm)
	}); !fault.Is(err, fault.PoolFull) {
		t.Errorf("attributes of a volume on a full file system: %v", err)
	}
	sound()
	at(t, dir, file.Config{}) // it can be opened
	if err := under(t, b, id, func(h volume.Held) error { return h.Purge(t.Context()) }); err != nil {
		t.Errorf("a full file system keeps a volume from being removed: %v", err)
	}
	if err := under(t, b, quiet, func(h volume.Held) error { return h.SetMeta(t.Context(), qm) }); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestReadOnly works on a pool whose file system became read-only.
func TestReadOnly(t *testing.T) {
	dir := need.FS(t, "ext4")
	b := at(t, dir, file.Config{Tool: tool(t)})
	id, m, err := newVolume(t, b, raw(1<<20), volume.Content{})
	if err != nil {
		t.Fatal(err)
	}
	if err := under(t, b, id, func(volume.Held) error { return nil }); err != nil { // its .lock is there now
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Open(t.Context(), file.Config{Dir: dir}); !fault.Is(err, fault.PoolUnavailable) {
		t.Errorf("opening: %v", err)
	}
	if f, err := b.Load(t.Context(), id); err != nil || f.Problem != nil {
		t.Errorf("loading: %+v, %v", f, err)
	}
	_, _, err = newVolume(t, b, m, volume.Content{})
	if !fault.Is(err, fault.PoolUnavailable) {
		t.Errorf("creating: %v (%s)", err, fault.CodeOf(err))
	}
	for what, do := range map[string]func(h volume.Held) error{
		"SetMeta": func(h volume.Held) error { return h.SetMeta(t.Context(), m) },
		"Resize":  func(h volume.Held) error { _, err := h.Resize(t.Context(), m, 2<<20, false, ""); return err },
		"Convert": func(h volume.Held) error { _, err := h.Convert(t.Context(), m, volume.QCOW2, nil); return err },
		"Trash":   func(h volume.Held) error { return h.Trash(t.Context(), time.Now()) },
		"Purge":   func(h volume.Held) error { return h.Purge(t.Context()) },
		"Open":    func(h volume.Held) error { _, err := h.Open(t.Context(), m, false); return err },
	} {
		if err := under(t, b, id, do); !fault.Is(err, fault.PoolUnavailable) {
			t.Errorf("%s: %v (%s)", what, err, fault.CodeOf(err))
		}
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	if f, err := b.Load(t.Context(), id); err != nil || f.Meta.Size != m.Size {
		t.Errorf("writable again: %+v, %v", f, err)
	}
}
