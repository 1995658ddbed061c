package file

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"elstore/volume"
)

// After a power cut the .ignore file of a replacement may be there without its content, and what was uploaded is the
// image by another name: a new upload would overwrite the volume.
func TestUploadThatBecameTheImageIsNotKept(t *testing.T) {
	pool := t.TempDir()
	b := openPool(t, Config{Dir: pool})
	id, m := create(t, b, meta(volume.Raw, 1<<20), volume.Content{})
	place := filepath.Join(pool, volumeName(id))
	data := make([]byte, m.Size)
	_, _ = rand.Read(data)
	image, upload := filepath.Join(place, dataName(m.Format)), filepath.Join(place, uploadName)
	mark := filepath.Join(place, mark{Purpose: toReplace}.fileName())
	for _, do := range []func() error{
		func() error { return os.WriteFile(image, data, 0o600) },
		func() error { return os.Link(image, upload) },
		func() error { return os.WriteFile(mark, nil, 0o600) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	beginsAnew(t, b, id)
	if got, err := os.ReadFile(image); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes of the image, or others: %v", len(got), err)
	}
}

// Where the file system can't swap files the new image is in place, and the old one gone, when its directory can't be synced: what was uploaded
// is the image by another name then, and not an upload any more.
func TestUploadIsNotKeptWhereItIsInPlaceAfterAFailure(t *testing.T) {
	pool := t.TempDir()
	failing := false
	b := openPool(t, Config{Dir: pool}.Stepped(func(op, _ string) error {
		switch {
		case failing && op == "exchange": // as NFS answers
			return unix.EINVAL
		case failing && op == "renamed":
			return unix.EIO
		}
		return nil
	}))
	id, m := create(t, b, meta(volume.Raw, 1<<20), volume.Content{})
	data := make([]byte, m.Size/2)
	_, _ = rand.Read(data)
	locked(t, b, id, func(h volume.Held) {
		f, err := h.Incoming()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(data); err != nil {
			t.Fatal(err)
		}
		failing = true
		_, err = h.Replace(t.Context(), m, volume.Content{From: &volume.Image{Path: f.Name(), Format: "raw", Size: m.Size / 2, Owned: true}})
		failing = false
		if !errors.Is(err, unix.EIO) {
			t.Errorf("Replace: %v", err)
		}
		if f, err := h.Incoming(); err == nil {
			f.Close()
			t.Error("the image can be written to as an upload")
		}
	})
	beginsAnew(t, b, id)
	image := filepath.Join(pool, volumeName(id), dataName(m.Format))
	if got, err := os.ReadFile(image); err != nil || int64(len(got)) != m.Size || !bytes.Equal(got[:len(data)], data) {
		t.Errorf("%d bytes of the image, or others: %v", len(got), err)
	}
}

// beginsAnew wants nothing of an upload to be there, and begins one.
func beginsAnew(t *testing.T, b *Backend, id volume.ID) {
	t.Helper()
	locked(t, b, id, func(h volume.Held) {
		if n, err := h.Received(); n != 0 || err != nil {
			t.Errorf("%d bytes of an upload, %v", n, err)
		}
		f, err := h.Incoming()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Truncate(0); err != nil { // as an upload that begins anew does
			t.Fatal(err)
		}
	})
}
