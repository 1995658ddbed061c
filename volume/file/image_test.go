package file

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

func TestOpenImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := OpenImage(f, "image disk.img", false)
	if err != nil {
		t.Fatal(err)
	}
	data, got := []byte("hello"), make([]byte, 5)
	if _, err := d.WriteAt(data, 4096); err != nil {
		t.Error(err)
	}
	if _, err := d.ReadAt(got, 4096); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := d.WriteAt(data, 8190); !fault.Is(err, fault.BadRequest) || err.Error() != "5 bytes at 8190 are not within the 8192 bytes of image disk.img" {
		t.Errorf("past the end: %v", err)
	}
	if err := os.Truncate(path, 16384); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Grow(16384), d.Flush(t.Context()), d.Close()); err != nil || d.Size() != 16384 {
		t.Errorf("size %d, %v", d.Size(), err)
	}
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenImage(dir, "image", true); !fault.Is(err, fault.BadRequest) {
		t.Errorf("a directory: %v", err)
	}
	if err := dir.Close(); !errors.Is(err, os.ErrClosed) {
		t.Error("what is refused is left open")
	}
}

func TestOpenLock(t *testing.T) {
	root := t.TempDir()
	for name, isVolume := range map[string]bool{
		"vid.155a8574f06542f1ac2fbe8790b35160.elimg":      true,
		"vid.155A8574f06542f1ac2fbe8790b35160.elimg":      false,
		".vid.155a8574f06542f1ac2fbe8790b35160.elimg.new": false,
		"images": false,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(root, name)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			f, err := OpenLock(filepath.Join(dir, "data.img"))
			if err != nil || (f != nil) != isVolume {
				t.Fatalf("%v, %v", f, err)
			}
			if !isVolume {
				return
			}
			defer f.Close()
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
				t.Error(err)
			}
			d, err := openDir(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer d.close()
			ours, err := d.openOrNew(lockName)
			if err != nil {
				t.Fatal(err)
			}
			defer ours.Close()
			if err := flockNow(ours, unix.LOCK_EX); !errors.Is(err, errHeld) {
				t.Errorf("an operation on the volume gets its lock: %v", err)
			}
		})
	}
}
