package file

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

func TestWriteVector(t *testing.T) {
	many := make([][]byte, 3000)
	for i := range many {
		many[i] = bytes.Repeat([]byte{byte(i)}, i%7)
	}
	for name, pieces := range map[string][][]byte{
		"none":        nil,
		"empty":       {nil, {}},
		"one":         {[]byte("abc")},
		"with holes":  {nil, []byte("abc"), nil, []byte("defg"), nil},
		"beyond 1024": many,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.img")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(16384); err != nil {
				t.Fatal(err)
			}
			d, err := OpenImage(f, "image", false)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			want := slices.Concat(pieces...)
			if n, err := d.(volume.VectorWriter).WriteVectorAt(pieces, 100); n != len(want) || err != nil {
				t.Errorf("wrote %d of %d bytes, %v", n, len(want), err)
			}
			got := make([]byte, 16384)
			if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got[100:100+len(want)], want) || len(bytes.Trim(got[100+len(want):], "\x00")) > 0 {
				t.Errorf("something else was written, %v", err)
			}
			before := slices.Clone(got)
			if n, err := d.(volume.VectorWriter).WriteVectorAt([][]byte{[]byte("x"), make([]byte, 16384)}, 1); n != 0 || !fault.Is(err, fault.BadRequest) {
				t.Errorf("past the end: %d bytes, %v", n, err)
			}
			if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, before) {
				t.Errorf("a write past the end changed something, %v", err)
			}
		})
	}
}

// What can't be written is told, and why.
func TestWriteVectorFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path) // a descriptor that can't write
	if err != nil {
		t.Fatal(err)
	}
	d, err := OpenImage(f, "image", false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n, err := d.(volume.VectorWriter).WriteVectorAt([][]byte{{1}, {2}}, 0); n != 0 || !errors.Is(err, unix.EBADF) {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
}

func TestPassOver(t *testing.T) {
	pieces := [][]byte{make([]byte, 3), nil, make([]byte, 4), make([]byte, 2)}
	for n, want := range map[int]string{0: "4 0", 1: "4 1", 3: "2 0", 5: "2 2", 7: "1 0", 8: "1 1", 9: "0 0"} {
		rest, skip := passOver(pieces, n)
		if got := fmt.Sprint(len(rest), skip); got != want {
			t.Errorf("after %d bytes: %s, want %s", n, got, want)
		}
	}
}
