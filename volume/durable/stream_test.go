package durable

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// Whatever the pieces, the file has them one after the other, behind what it had.
func TestStream(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := []byte("it was there")
	if _, err := f.Write(want); err != nil {
		t.Fatal(err)
	}
	s := NewStream(f, int64(len(want)))
	source := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{1, 0, 4096, window - 1, 5, window, 3 * window, 511} {
		piece := make([]byte, size)
		source.Read(piece)
		if n, err := s.Write(piece); n != size || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, size, err)
		}
		want = append(want, piece...)
		if s.end != int64(len(want)) || s.end-s.begun >= window {
			t.Errorf("after %d bytes it says %d, and the kernel was asked up to %d", len(want), s.end, s.begun)
		}
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file has %d bytes, not the %d that were written: %v", len(got), len(want), err)
	}
}

// What has no pages to write, and what can't be written, say no more than the write does.
func TestStreamWithoutAFileSystem(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, r)
		read <- n
	}()
	s := NewStream(w, 0)
	if n, err := s.Write(make([]byte, window+1)); n != window+1 || err != nil {
		t.Errorf("wrote %d: %v", n, err)
	}
	w.Close()
	if n := <-read; n != window+1 {
		t.Errorf("%d bytes came", n)
	}
	if n, err := s.Write([]byte("x")); n != 0 || err == nil {
		t.Errorf("a closed file took %d bytes", n)
	}
}
