package file_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/file"
	"elstore/volume/volumetest"
)

func qcow2(size int64) volume.Meta {
	m := raw(size)
	m.Format = volume.QCOW2
	return m
}

// hold runs fn under a volume's lock.
func hold(t testing.TB, b volume.Backend, id volume.ID, fn func(h volume.Held, m volume.Meta)) {
	t.Helper()
	h, err := b.Lock(t.Context(), id, volume.Operation{Purpose: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Unlock()
	f, err := h.Load(t.Context())
	if err != nil || f.Problem != nil {
		t.Fatalf("load: %v, %v", err, f.Problem)
	}
	fn(h, f.Meta)
}

// open opens a volume until the test ends.
func open(t testing.TB, b volume.Backend, id volume.ID) (d volume.Device) {
	t.Helper()
	hold(t, b, id, func(h volume.Held, m volume.Meta) {
		var err error
		if d, err = h.Open(t.Context(), m, false); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func read(t testing.TB, d volume.Device, off int64, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if _, err := d.ReadAt(p, off); err != nil {
		t.Fatal(err)
	}
	return p
}

// Whatever fails when an open image grows, it has the size that meta.json says once the lock was taken again, and can be
// used all the time.
func TestOpenQCOW2GrowsOrNot(t *testing.T) {
	steps := volumetest.FailAt(-1, nil)
	cfg := file.Config{Tool: tool(t), Opener: opener(t)}.Stepped(func(op, _ string) error { return steps.Step(op) })
	b := at(t, t.TempDir(), cfg)
	id, m, err := newVolume(t, b, qcow2(1<<20), volume.Content{})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, b, id)
	data := bytes.Repeat([]byte("data"), 1<<18)
	if _, err := d.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	var failed []string
	for n := 0; ; n++ {
		var err error
		hold(t, b, id, func(h volume.Held, m volume.Meta) {
			steps = volumetest.FailAt(n, syscall.EIO)
			_, err = h.Resize(t.Context(), m, 2<<20, false, volume.PreallocOff)
		})
		op, hit := steps.Hit()
		steps = volumetest.FailAt(-1, nil)
		hold(t, b, id, func(_ volume.Held, now volume.Meta) {
			if want := map[bool]int64{true: 2 << 20, false: m.Size}[err == nil]; now.Size != want {
				t.Errorf("step %d, %s: meta.json has %d bytes, and the error is %v", n, op, now.Size, err)
			}
			if gerr := d.Grow(2 << 20); (gerr == nil) != (err == nil) {
				t.Errorf("step %d, %s: Grow says %v, and Resize said %v", n, op, gerr, err)
			}
		})
		if !bytes.Equal(read(t, d, 0, len(data)), data) {
			t.Fatalf("step %d, %s: the data is not there", n, op)
		}
		if err == nil && !hit {
			break
		}
		if err == nil { // what failed does not count
			hold(t, b, id, func(_ volume.Held, now volume.Meta) { m = now })
			break
		}
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("step %d, %s: %v", n, op, err)
		}
		failed = append(failed, op)
	}
	if len(failed) < 3 {
		t.Errorf("only these failed: %v", failed)
	}
	if d.Size() != 2<<20 {
		t.Errorf("the Device has %d bytes", d.Size())
	}
}

func TestOpenQCOW2Overlays(t *testing.T) {
	b := at(t, t.TempDir(), file.Config{Tool: tool(t), Opener: opener(t)})
	data := bytes.Repeat([]byte("base"), 1<<18)
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, data, 0o600); err != nil {
		t.Fatal(err)
	}
	from := &volume.Image{Path: source, Format: "raw", Size: int64(len(data))}
	for range 2 {
		id, m, err := newVolume(t, b, qcow2(2<<20), volume.Content{From: from, Overlay: true})
		if err != nil || m.Base == "" {
			t.Fatalf("base %q, %v", m.Base, err)
		}
		d := open(t, b, id) // both at the same time
		if got := read(t, d, 0, 2<<20); !bytes.Equal(got[:1<<20], data) || !bytes.Equal(got[1<<20:], make([]byte, 1<<20)) {
			t.Error("what is in the base does not show")
		}
		if _, err := d.WriteAt([]byte("over"), 4096); err != nil {
			t.Error(err)
		}
		if got := read(t, d, 4092, 12); string(got) != "baseoverbase" {
			t.Errorf("got %q", got)
		}
	}
}

func TestOpenQCOW2Refusals(t *testing.T) {
	dir := t.TempDir()
	b := at(t, dir, file.Config{Tool: tool(t), Opener: opener(t)})
	id, _, err := newVolume(t, b, qcow2(1<<20), volume.Content{})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, b, id)
	hold(t, b, id, func(h volume.Held, m volume.Meta) {
		if _, err := h.Open(t.Context(), m, true); !fault.Is(err, fault.VolumeInUse) {
			t.Errorf("a second time: %v", err)
		}
		if _, err := h.Resize(t.Context(), m, 2<<20, false, volume.PreallocMetadata); !fault.Is(err, fault.VolumeInUse) {
			t.Errorf("preallocated: %v", err)
		}
	})
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	hold(t, b, id, func(h volume.Held, m volume.Meta) {
		m.Base = "0000000000000000000000000000000000000000000000000000000000000000.img"
		if _, err := h.Open(t.Context(), m, true); !fault.Is(err, fault.VolumeDamaged) {
			t.Errorf("with a base that is not there: %v", err)
		}
	})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	without := at(t, dir, file.Config{Tool: tool(t)})
	hold(t, without, id, func(h volume.Held, m volume.Meta) {
		if _, err := h.Open(t.Context(), m, false); !fault.Is(err, fault.ImageToolMissing) {
			t.Errorf("without an Opener: %v", err)
		}
	})
}

// The daemon holds the volume's lock too: as long as it is there, no other process has the volume.
func TestOpenQCOW2HoldsLock(t *testing.T) {
	dir := t.TempDir()
	b := at(t, dir, file.Config{Tool: tool(t), Opener: opener(t)})
	id, _, err := newVolume(t, b, qcow2(1<<20), volume.Content{})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, b, id)
	lock, err := os.Open(filepath.Join(dir, "vid."+id.String()+".elimg", ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	try := func() error { return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
	if err := try(); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("while it is open: %v", err)
	}
	b.Kill() // as if the server were gone: only the daemon has it
	if err := try(); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("while the daemon is there: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := try(); err != nil {
		t.Errorf("after Close: %v", err)
	}
}
