package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"elstore/api/client"
	"elstore/volume/fault"
)

const (
	imageSize = 3<<20 + 512 // bytes; no whole number of pieces
	pieceSize = 1 << 20
)

// image is one that no other seed gives, half of it zeros.
func image(seed uint64) []byte {
	data := make([]byte, imageSize)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(data[:imageSize/2])
	copy(data[imageSize-100:], "the end")
	return data
}

func upload(ctx context.Context, c *client.Client, id string, data []byte) error {
	return c.Upload(ctx, client.UploadRequest{ID: id, By: me, Source: bytes.NewReader(data), Size: int64(len(data)), Piece: pieceSize})
}

func sameFile(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes of sum %x, want %d of %x", filepath.Base(path), len(got), sha256.Sum256(got), len(want), sha256.Sum256(want))
	}
}

// TestUploadOverABrokenLine: wherever the line is cut, the image arrives.
func TestUploadOverABrokenLine(t *testing.T) {
	tests := []struct {
		name string
		cut  func(l *line)
	}{
		{"not at all", func(*line) {}},
		{"at once", func(l *line) { l.cutIn(1) }},
		{"in the first header", func(l *line) { l.cutIn(150) }},
		{"in the first piece", func(l *line) { l.cutIn(300_000) }},
		{"in the second piece", func(l *line) { l.cutIn(pieceSize + 300_000) }},
		{"in the last piece", func(l *line) { l.cutIn(3*pieceSize + 2000) }},
		{"in the first answer", func(l *line) { l.cutOut(10) }},
		{"in the answer to a piece", func(l *line) { l.cutOut(1000) }},
		{"again and again", func(l *line) { l.set(func() { l.each = 200_000 }) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := realServer(t)
			c := s.client(t)
			id := s.volume(t, c, imageSize)
			c.Close()
			tt.cut(s.line)
			data := image(1)
			if err := upload(t.Context(), c, id, data); err != nil {
				t.Fatal(err)
			}
			if cuts := s.line.count(); cuts == 0 && tt.name != "not at all" {
				t.Error("the line was not cut")
			}
			sameFile(t, s.data(id), data)
		})
	}
}

// TestUploadOverALineThatLosesAnAnswer cuts every answer once, also that to the last piece: what arrived whole is
// found again and not sent twice.
func TestUploadOverALineThatLosesAnAnswer(t *testing.T) {
	s := realServer(t)
	c := s.client(t)
	data := image(2)
	lost := 0
	for n := int64(1); ; n += 150 {
		id := s.volume(t, c, imageSize)
		c.Close()
		before := s.line.count()
		s.line.cutOut(n)
		if err := upload(t.Context(), c, id, data); err != nil {
			t.Fatalf("cut after %d bytes of answers: %v", n, err)
		}
		sameFile(t, s.data(id), data)
		if s.line.count() == before {
			break // the whole upload has fewer bytes of answers
		}
		lost++
	}
	if lost < 5 {
		t.Errorf("only %d answers were cut", lost)
	}
}

// TestUploadGoesOn: what an earlier try left is not sent again.
func TestUploadGoesOn(t *testing.T) {
	s := realServer(t)
	c := s.client(t)
	id := s.volume(t, c, imageSize)
	data := image(3)
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Upload(ctx, client.UploadRequest{
		ID: id, By: me, Source: bytes.NewReader(data), Size: imageSize, Piece: pieceSize,
		Bytes: func(done, _ int64) {
			if done > 2*pieceSize {
				cancel()
			}
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want that it was cancelled", err)
	}
	first := int64(-1)
	err = c.Upload(t.Context(), client.UploadRequest{
		ID: id, By: me, Source: bytes.NewReader(data), Size: imageSize, Piece: pieceSize,
		Bytes: func(done, total int64) {
			if total != imageSize || done > total {
				t.Errorf("told of %d of %d bytes", done, total)
			}
			if first < 0 {
				first = done
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if first <= 2*pieceSize {
		t.Errorf("the second try began with byte %d, want it behind the %d that arrived", first, 2*pieceSize)
	}
	sameFile(t, s.data(id), data)
}

// TestUploadOfAnotherImage: what is there of another image is found out by the digest, and sent anew.
func TestUploadOfAnotherImage(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %t", restart), func(t *testing.T) {
			s := realServer(t)
			c := s.client(t)
			id := s.volume(t, c, imageSize)
			ctx, cancel := context.WithCancel(t.Context())
			old, data := image(4), image(5)
			_ = c.Upload(ctx, client.UploadRequest{
				ID: id, By: me, Source: bytes.NewReader(old), Size: imageSize, Piece: pieceSize,
				Bytes: func(done, _ int64) {
					if done > pieceSize {
						cancel()
					}
				},
			})
			err := c.Upload(t.Context(), client.UploadRequest{
				ID: id, By: me, Source: bytes.NewReader(data), Size: imageSize, Piece: pieceSize, Restart: restart,
			})
			if err != nil {
				t.Fatal(err)
			}
			sameFile(t, s.data(id), data)
		})
	}
}

// changing is a file that changes between being summed up and being sent.
type changing struct{ n byte }

func (c *changing) ReadAt(p []byte, _ int64) (int, error) {
	c.n++
	for i := range p {
		p[i] = c.n
	}
	return len(p), nil
}

func TestUploadRefused(t *testing.T) {
	s := realServer(t)
	c := s.client(t)
	id := s.volume(t, c, imageSize)
	data := image(6)
	if err := upload(t.Context(), c, id, data); err != nil {
		t.Fatal(err)
	}
	unreadable := errors.New("the disk is bad")
	tests := []struct {
		name string
		r    client.UploadRequest
		want func(error) bool
	}{
		{
			"no such volume",
			client.UploadRequest{ID: vid, Source: bytes.NewReader(data), Size: imageSize},
			func(err error) bool { return fault.Is(err, fault.VolumeNotFound) },
		},
		{
			"not the owner",
			client.UploadRequest{ID: id, By: vid, Source: bytes.NewReader(data), Size: imageSize},
			func(err error) bool { return fault.Is(err, fault.NotAllowed) },
		},
		{
			"too large",
			client.UploadRequest{ID: id, By: me, Source: &changing{}, Size: imageSize + 512},
			func(err error) bool { return fault.Is(err, fault.UploadInvalidRange) },
		},
		{
			"no such format",
			client.UploadRequest{ID: id, By: me, Source: bytes.NewReader(data), Size: imageSize, Format: "zip"},
			func(err error) bool { return fault.Is(err, fault.UnsupportedFormat) },
		},
		{
			"not of the format",
			client.UploadRequest{ID: id, By: me, Source: bytes.NewReader(data), Size: imageSize, Format: "qcow2"},
			func(err error) bool { return fault.Is(err, fault.ImageRefused) },
		},
		{
			"it changes",
			client.UploadRequest{ID: id, By: me, Source: &changing{}, Size: imageSize},
			func(err error) bool { return fault.Is(err, fault.ChecksumMismatch) },
		},
		{
			"empty",
			client.UploadRequest{ID: id, By: me, Source: bytes.NewReader(nil)},
			func(err error) bool { return err != nil && strings.Contains(err.Error(), "empty") },
		},
		{
			"shorter than it says",
			client.UploadRequest{ID: id, By: me, Source: bytes.NewReader(data[:100]), Size: imageSize},
			func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) },
		},
		{
			"can't be read",
			client.UploadRequest{ID: id, By: me, Source: failing{data, pieceSize + 10, unreadable}, Size: imageSize, Piece: pieceSize},
			func(err error) bool { return errors.Is(err, unreadable) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := c.Upload(t.Context(), tt.r); !tt.want(err) {
				t.Errorf("error %v", err)
			}
			sameFile(t, s.data(id), data)
		})
	}
}

// failing can be read up to a byte.
type failing struct {
	data []byte
	end  int64
	err  error
}

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.end {
		return 0, f.err
	}
	return copy(p, f.data[off:]), nil
}

// TestDownloadOverABrokenLine: wherever the line is cut, the image arrives.
func TestDownloadOverABrokenLine(t *testing.T) {
	s := realServer(t)
	c := s.client(t)
	id := s.volume(t, c, imageSize)
	data := image(7)
	if err := upload(t.Context(), c, id, data); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{1, 100, 500, 1000, 100_000, imageSize / 2, imageSize - 10, imageSize + 100} {
		t.Run(fmt.Sprintf("after %d bytes", n), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.img")
			c.Close()
			before := s.line.count()
			s.line.cutOut(n)
			got, err := c.Download(t.Context(), client.DownloadRequest{ID: id, By: me}, path)
			if err != nil || got != imageSize {
				t.Fatalf("downloaded %d bytes, %v", got, err)
			}
			if s.line.count() == before {
				t.Error("the line was not cut")
			}
			sameFile(t, path, data)
			onlyFile(t, path)

			c.Close()
			s.line.cutOut(n)
			var b bytes.Buffer
			if got, err := c.DownloadTo(t.Context(), client.DownloadRequest{ID: id}, &b); err != nil || got != imageSize || !bytes.Equal(b.Bytes(), data) {
				t.Errorf("the stream has %d bytes, %v", got, err)
			}
		})
	}
}

// onlyFile checks that nothing else is beside path.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// TestDownloadGoesOn: a download that was interrupted goes on where it was, and only if the volume is the same.
func TestDownloadGoesOn(t *testing.T) {
	for _, changed := range []bool{false, true} {
		t.Run(fmt.Sprintf("changed %t", changed), func(t *testing.T) {
			s := realServer(t)
			c := s.client(t)
			id := s.volume(t, c, imageSize)
			data := image(8)
			if err := upload(t.Context(), c, id, data); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "disk.img")
			ctx, cancel := context.WithCancel(t.Context())
			_, err := c.Download(ctx, client.DownloadRequest{ID: id, Bytes: func(done, _ int64) {
				if done > imageSize/4 {
					cancel()
				}
			}}, path)
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v, want that it was cancelled", err)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Error("half a download has the name of the whole")
			}
			if changed {
				data = image(9)
				if err := upload(t.Context(), c, id, data); err != nil {
					t.Fatal(err)
				}
			}
			first := int64(-1)
			_, err = c.Download(t.Context(), client.DownloadRequest{ID: id, Bytes: func(done, _ int64) {
				if first < 0 {
					first = done
				}
			}}, path)
			if err != nil {
				t.Fatal(err)
			}
			if went := first > imageSize/4; went == changed {
				t.Errorf("it went on with byte %d", first)
			}
			sameFile(t, path, data)
			onlyFile(t, path)
		})
	}
}

func TestDownloadRefused(t *testing.T) {
	s := realServer(t)
	c := s.client(t)
	id := s.volume(t, c, imageSize)
	dir := t.TempDir()
	path := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Download(t.Context(), client.DownloadRequest{ID: vid}, path); !fault.Is(err, fault.VolumeNotFound) {
		t.Errorf("error %v", err)
	}
	sameFile(t, path, []byte("old"))
	onlyFile(t, path)
	if _, err := c.Download(t.Context(), client.DownloadRequest{ID: id}, dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory as the file: %v", err)
	}
	if _, err := c.Download(t.Context(), client.DownloadRequest{ID: id}, filepath.Join(dir, "none", "x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in no directory: %v", err)
	}
	if _, err := c.Download(t.Context(), client.DownloadRequest{ID: id}, path); err != nil {
		t.Errorf("over an old file: %v", err)
	}
	sameFile(t, path, make([]byte, imageSize))
}

// TestDownloadsAtOnce: two into one file don't mix.
func TestDownloadsAtOnce(t *testing.T) {
	s := realServer(t)
	c := s.client(t)
	id := s.volume(t, c, imageSize)
	path := filepath.Join(t.TempDir(), "disk.img")
	var second error
	_, err := c.Download(t.Context(), client.DownloadRequest{ID: id, Bytes: func(int64, int64) {
		if second == nil {
			_, second = c.Download(t.Context(), client.DownloadRequest{ID: id}, path)
		}
	}}, path)
	if err != nil || second == nil || !strings.Contains(second.Error(), "another download") {
		t.Errorf("the first: %v; the second: %v", err, second)
	}
	sameFile(t, path, make([]byte, imageSize))
}

// TestDownloadIsSparse: zeros take no room.
func TestDownloadIsSparse(t *testing.T) {
	s := realServer(t)
	c := s.client(t)
	id := s.volume(t, c, 64<<20)
	path := filepath.Join(t.TempDir(), "disk.img")
	if n, err := c.Download(t.Context(), client.DownloadRequest{ID: id}, path); err != nil || n != 64<<20 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if used := onDisk(t, path); used > 1<<20 {
		t.Errorf("64 MiB of zeros take %d bytes", used)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != 64<<20 || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

func TestPatienceEnds(t *testing.T) {
	s := realServer(t)
	c := dial(t, s.url, func(cfg *client.Config) { cfg.Patience = 30 * time.Millisecond })
	id := s.volume(t, c, imageSize)
	s.line.set(func() { s.line.each = 1 })
	c.Close()
	if err := upload(t.Context(), c, id, image(1)); !isUnreachable(err) {
		t.Errorf("upload: %v", err)
	}
	if _, err := c.DownloadTo(t.Context(), client.DownloadRequest{ID: id}, io.Discard); !isUnreachable(err) {
		t.Errorf("download: %v", err)
	}
}

func isUnreachable(err error) bool {
	_, ok := errors.AsType[*client.UnreachableError](err)
	return ok
}
