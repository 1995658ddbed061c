package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// target is a new image in the making. It is made by us and not by qemu-img, so that it can't replace a file
// that is there, has the right mode, and is synced through a descriptor of the file that we made.
type target struct {
	path string
	file *os.File
}

// newTarget makes the empty file for an image.
func newTarget(path string, mode fs.FileMode) (*target, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // the caller's own place
	if err != nil {
		return nil, fault.FromOS("create "+filepath.Base(path), err)
	}
	return &target{path: path, file: f}, nil
}

// finish syncs the image if err is nil, and removes it if err, or what it returns itself, is an error.
func (t *target) finish(err error) error {
	if err == nil {
		err = fault.FromOS("sync "+filepath.Base(t.path), t.file.Sync())
	}
	if cerr := t.file.Close(); err == nil {
		err = fault.FromOS("close "+filepath.Base(t.path), cerr)
	}
	if err == nil {
		return nil
	}
	// What is left is a half-made image. If it can't be removed, the error says so, and why it is half-made.
	if rerr := os.Remove(t.path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("remove the half-made image: %w", rerr))
	}
	return err
}

// direct reports whether the target's file system can write past the page cache. Some can't (FUSE, old tmpfs).
func (t *target) direct() bool {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", t.file.Fd()), unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// syncFile makes an image that was changed in place durable.
func syncFile(path string) error {
	f, err := os.Open(path) //nolint:gosec // the caller's own image
	if err != nil {
		return fault.FromOS("open "+filepath.Base(path), err)
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return fault.FromOS("sync "+filepath.Base(path), err)
}
