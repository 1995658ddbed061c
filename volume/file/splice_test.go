package file

import (
	"bytes"
	"io"
	"os"
	"testing"
)

// spliced returns what Splice puts into a pipe.
func spliced(t *testing.T, d interface {
	Splice(fd int, off, length int64) int64
}, off, length int64,
) []byte {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := d.Splice(int(w.Fd()), off, length)
	w.Close()
	got, err := io.ReadAll(r)
	if err != nil || int64(len(got)) != n {
		t.Errorf("it says %d bytes, and the pipe has %d: %v", n, len(got), err)
	}
	return got
}

func TestSplice(t *testing.T) {
	const size = 1 << 20
	const room = 64 << 10 // of a pipe, in whole pages
	content := bytes.Repeat([]byte("on its way to the other end "), size/28+1)[:size]
	for name, dir := range map[string]func(testing.TB) string{
		"memory": inMemory, "the tests' file system": func(t testing.TB) string { return t.TempDir() },
	} {
		t.Run(name, func(t *testing.T) {
			d := openDeviceIn(t, dir(t), size)
			if _, err := d.WriteAt(content, 0); err != nil {
				t.Fatal(err)
			}
			if err := d.Discard(8192, 4096); err != nil {
				t.Fatal(err)
			}
			want := make([]byte, size)
			if _, err := d.ReadAt(want, 0); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				name              string
				off, length, more int64
			}{
				{"a page", 4096, 4096, 0},
				{"with a hole", 0, 16384, 0},
				{"parts of pages", 513, 20000, 0},
				{"the end", size - 700, 700, 0},
				{"more than the pipe takes", 0, room, size - room},
			} {
				if got := spliced(t, d, c.off, c.length+c.more); !bytes.Equal(got, want[c.off:c.off+c.length]) {
					t.Errorf("%s: something else, %d bytes", c.name, len(got))
				}
			}
			for name, c := range map[string][2]int64{"past the end": {size - 512, 1024}, "behind it": {size, 512}, "before the beginning": {-512, 512}} {
				if got := spliced(t, d, c[0], c[1]); len(got) > 0 {
					t.Errorf("%s: %d bytes", name, len(got))
				}
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if got := spliced(t, d, 0, 4096); len(got) > 0 {
				t.Errorf("once it is closed: %d bytes", len(got))
			}
		})
	}
}
