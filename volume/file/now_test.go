package file

import (
	"bytes"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"elstore/volume"
)

// openDeviceIn opens a new raw volume in a directory's file system.
func openDeviceIn(t testing.TB, dir string, size int64) *device {
	t.Helper()
	b := openPool(t, Config{Dir: dir})
	id, m := create(t, b, meta(volume.Raw, size), volume.Content{})
	var d volume.Device
	locked(t, b, id, func(h volume.Held) {
		var err error
		if d, err = h.Open(t.Context(), m, false); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { d.Close() })
	return d.(*device)
}

// inMemory makes a directory on tmpfs.
func inMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "elstore-test-") //nolint:usetesting // the tests' own directories need not be in memory
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestReadNow(t *testing.T) {
	const size = 1 << 20
	content := bytes.Repeat([]byte("now or later "), size/13+1)[:size]
	for name, dir := range map[string]func(testing.TB) string{
		"memory": inMemory, "the tests' file system": func(t testing.TB) string { return t.TempDir() },
	} {
		t.Run(name, func(t *testing.T) {
			d := openDeviceIn(t, dir(t), size)
			if _, err := d.WriteAt(content, 0); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				name        string
				off, length int64
				inside      bool
			}{
				{"all", 0, size, true},
				{"a block", 8192, 4096, true},
				{"the last byte", size - 1, 1, true},
				{"nothing", size, 0, true},
				{"over the end", size - 1, 2, false},
				{"beyond the end", size, 1, false},
				{"before the beginning", -1, 1, false},
			} {
				p := make([]byte, c.length)
				got := d.ReadNow(p, c.off)
				if got && !c.inside {
					t.Errorf("%s: it was read", c.name)
				}
				if got && c.inside && !bytes.Equal(p, content[c.off:c.off+c.length]) {
					t.Errorf("%s: it read something else", c.name)
				}
				if !got && c.inside && d.pace != paceUnknown && c.length > 0 {
					t.Errorf("%s: it was not read, though it is in the page cache", c.name)
				}
			}
			if d.pace == paceUnknown && name == "memory" {
				t.Error("tmpfs is not known as such")
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if d.ReadNow(make([]byte, 512), 0) {
				t.Error("it read after Close")
			}
		})
	}
}

// TestReadNowDoesNotWait reads what is not in the page cache.
func TestReadNowDoesNotWait(t *testing.T) {
	const size = 1 << 20
	d := openDeviceIn(t, t.TempDir(), size)
	if d.pace == paceMemory {
		return // nothing ever leaves the cache
	}
	if _, err := d.WriteAt(make([]byte, size), 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4096)
	for began := time.Now(); ; {
		if err := unix.Fadvise(int(d.f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		if !d.ReadNow(p, 65536) {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal("it read what is not in the page cache")
		}
	}
	if _, err := d.ReadAt(p, 65536); err != nil {
		t.Fatal(err)
	}
	if d.pace == paceCache && !d.ReadNow(p, 65536) {
		t.Error("it did not read what has just been read")
	}
}

func TestWritesNow(t *testing.T) {
	d := openDeviceIn(t, t.TempDir(), 1<<20)
	for length, want := range map[int64]bool{0: true, 4096: true, 1 << 20: true, 1<<20 + 512: false} {
		if got := d.WritesNow(length); got != want {
			t.Errorf("%d bytes: %v", length, got)
		}
	}
}

func TestNothingIsAllocatedPerReadNow(t *testing.T) {
	for name, dir := range map[string]string{"memory": inMemory(t), "the tests' file system": t.TempDir()} {
		d := openDeviceIn(t, dir, 1<<20)
		p := make([]byte, 4096)
		if n := testing.AllocsPerRun(100, func() { d.ReadNow(p, 0) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
