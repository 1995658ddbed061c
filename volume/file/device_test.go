package file

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"elstore/volume"
	"elstore/volume/fault"
)

// openDevice opens a new raw volume.
func openDevice(t testing.TB, size int64) (*Backend, volume.ID, *device) {
	t.Helper()
	b := openPool(t, Config{Dir: t.TempDir()})
	id, m := create(t, b, meta(volume.Raw, size), volume.Content{})
	var d volume.Device
	locked(t, b, id, func(h volume.Held) {
		var err error
		if d, err = h.Open(t.Context(), m, false); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { d.Close() })
	return b, id, d.(*device)
}

// TestAFlushThatFailedStaysFailed: the kernel would let the next one succeed, over data that is lost.
func TestAFlushThatFailedStaysFailed(t *testing.T) {
	_, _, d := openDevice(t, 4096)
	good := d.f
	read, write, err := os.Pipe() // which can't be flushed
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	d.f = write
	first := d.Flush(t.Context())
	if first == nil {
		t.Fatal("a pipe was flushed: the test is wrong")
	}
	d.f = good
	for range 2 {
		if err := d.Flush(t.Context()); !errors.Is(err, first) {
			t.Errorf("after a failed flush: %v, want %v", err, first)
		}
	}
	if err := d.Close(); !errors.Is(err, first) {
		t.Errorf("Close: %v, want %v", err, first)
	}
}

func TestAnImageThatBecameShorter(t *testing.T) {
	b, id, d := openDevice(t, 4096)
	if err := os.Truncate(filepath.Join(b.cfg.Dir, volumeName(id), "data.img"), 1024); err != nil {
		t.Fatal(err)
	}
	if n, err := d.ReadAt(make([]byte, 1024), 0); n != 1024 || err != nil {
		t.Errorf("read %d bytes that are there, %v", n, err)
	}
	if _, err := d.ReadAt(make([]byte, 1024), 512); !fault.Is(err, fault.VolumeDamaged) {
		t.Errorf("reading over the end: %v", err)
	}
	if err := d.Grow(8192); err == nil {
		t.Error("it grew over its image")
	}
	if err := d.Grow(2048); err == nil {
		t.Error("it shrank")
	}
}

func TestAClosedDevice(t *testing.T) {
	_, _, d := openDevice(t, 4096)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 512)
	_, rerr := d.ReadAt(p, 0)
	_, werr := d.WriteAt(p, 0)
	for what, err := range map[string]error{
		"ReadAt": rerr, "WriteAt": werr, "Flush": d.Flush(t.Context()), "Discard": d.Discard(0, 512), "WriteZeroes": d.WriteZeroes(0, 512, true),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v, want %v", what, err, os.ErrClosed)
		}
	}
}

func TestFlushWithAContextThatIsOver(t *testing.T) {
	_, _, d := openDevice(t, 4096)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := d.Flush(t.Context()); err != nil {
		t.Errorf("and then: %v", err)
	}
}

// TestDiscardGivesBack looks at the storage that is taken.
func TestDiscardGivesBack(t *testing.T) {
	b, id, d := openDevice(t, 1<<20)
	taken := func() int64 {
		st, err := b.Stat(id, meta(volume.Raw, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		return st.OnDisk
	}
	full := make([]byte, 1<<20)
	for i := range full {
		full[i] = 'x'
	}
	for what, give := range map[string]func() error{
		"Discard":                func() error { return d.Discard(0, 1<<20) },
		"WriteZeroes with unmap": func() error { return d.WriteZeroes(0, 1<<20, true) },
	} {
		if _, err := d.WriteAt(full, 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Flush(t.Context()), give(), d.Flush(t.Context())); err != nil {
			t.Fatal(err)
		}
		if n := taken(); n > 64<<10 {
			t.Errorf("after %s the image takes %d bytes", what, n)
		}
	}
	if err := errors.Join(d.WriteZeroes(0, 1<<20, false), d.Flush(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := taken(); n < 1<<20 {
		t.Errorf("after WriteZeroes without unmap the image takes %d bytes, and may lack room for what is written", n)
	}
}

func TestWriteVector(t *testing.T) {
	const size = 1 << 20
	for _, c := range []struct {
		name  string
		sizes []int
		off   int64
		fails bool
	}{
		{"one piece", []int{4096}, 512, false},
		{"several, and an empty one", []int{512, 0, 4096, 1}, 0, false},
		{"to the end", []int{512, 512}, size - 1024, false},
		{"none", nil, 0, false},
		{"more than a system call takes", slices.Repeat([]int{7}, maxPieces+1), 3, false},
		{"over the end", []int{512, 513}, size - 1024, true},
		{"before the beginning", []int{512}, -1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, d := openDevice(t, size)
			var pieces [][]byte
			var whole []byte
			for i, n := range c.sizes {
				p := bytes.Repeat([]byte{byte(i + 1)}, n)
				pieces, whole = append(pieces, p), append(whole, p...)
			}
			n, err := d.WriteVectorAt(pieces, c.off)
			if (err != nil) != c.fails || err == nil && n != len(whole) {
				t.Fatalf("%d, %v", n, err)
			}
			got := make([]byte, size)
			if _, err := d.ReadAt(got, 0); err != nil {
				t.Fatal(err)
			}
			want := make([]byte, size)
			if !c.fails {
				copy(want[c.off:], whole)
			}
			if !bytes.Equal(got, want) {
				t.Error("something else is in the image")
			}
		})
	}
}
