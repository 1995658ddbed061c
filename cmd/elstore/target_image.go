package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"elstore/export/scsi"
	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/file"
	"elstore/volume/qemu"
)

// imageWait is how long an image may be in use elsewhere before it is refused. The storage daemon of a process that
// was killed has it until all that it was given is written.
const imageWait = 5 * time.Second

// image is what `elstore target` serves.
type image struct {
	volume.Device
	id   scsi.ID
	path string     // absolute, without symbolic links; "" of a disk in memory
	raw  *os.File   // where the image is raw
	held []*os.File // whose flocks keep others away; raw's is one more
}

// openImage opens the disk that the options name, and keeps others from it.
func openImage(ctx context.Context, o targetOptions, log *slog.Logger) (*image, error) {
	if o.ram != "" {
		return openRAM(o)
	}
	path, err := filepath.Abs(o.image)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &notFoundError{"file", o.image}
	}
	if err != nil {
		return nil, fmt.Errorf("--image: %w", err)
	}
	flags := os.O_RDWR
	if !o.writable() {
		flags = os.O_RDONLY
	}
	info, err := os.Stat(path) // before it is opened, which for a named pipe would wait for a writer
	if err != nil {
		return nil, fmt.Errorf("--image: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, usagef("--image %s is not a regular file", o.image)
	}
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, fmt.Errorf("--image: %w", err)
	}
	im := &image{path: path, id: idOf(path)}
	if im.Device, err = im.open(ctx, f, o, log); err != nil {
		f.Close() //nolint:errcheck,gosec // nothing was written
		im.release()
		return nil, err
	}
	return im, nil
}

// open makes the Device of an image's file.
func (im *image) open(ctx context.Context, f *os.File, o targetOptions, log *slog.Logger) (volume.Device, error) {
	// Where the image is a volume's, what is done to the volume is kept away too.
	ofVolume, err := file.OpenLock(im.path)
	if err != nil {
		return nil, err
	}
	if ofVolume != nil {
		im.held = append(im.held, ofVolume)
	}
	for _, lock := range append(im.held, f) {
		if err := lockImage(ctx, lock, o.image, o.writable()); err != nil {
			return nil, err
		}
	}
	format, err := formatOf(f, o)
	if err != nil {
		return nil, err
	}
	if format == qemu.QCOW2 {
		im.held = append(im.held, f)
		return im.openQCOW2(ctx, f, o, log)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("--image: %w", err)
	}
	if err := checkSize(o.image, info.Size(), o.cdrom); err != nil {
		return nil, err
	}
	im.raw = f
	return file.OpenImage(f, "image "+o.image, !o.writable())
}

// Close closes the Device and lets others have the image.
func (im *image) Close() error {
	err := im.Device.Close()
	im.release()
	return err
}

func (im *image) release() {
	for _, f := range im.held {
		f.Close() //nolint:errcheck,gosec // nothing was written
	}
}

// lockImage keeps others from an image: from all of it where it is written, else from writing it.
func lockImage(ctx context.Context, f *os.File, name string, writes bool) error {
	how := unix.LOCK_SH
	if writes {
		how = unix.LOCK_EX
	}
	wait, cancel := context.WithTimeout(ctx, imageWait)
	defer cancel()
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("--image %s can't be locked: %w", name, err)
		}
		select {
		case <-pause.C:
		case <-wait.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fault.Errorf(fault.VolumeInUse, "another process uses %s; an image can be served twice only with --readonly", name)
		}
	}
}

// formatOf returns the format that was named. Without one the image is raw, unless it looks like something else.
func formatOf(f *os.File, o targetOptions) (qemu.Format, error) {
	header := make([]byte, qemu.DetectLen)
	n, err := f.ReadAt(header, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("--image: %w", err)
	}
	named, seen := qemu.Format(o.format), qemu.Detect(header[:n])
	switch {
	case named == qemu.QCOW2 && seen != qemu.QCOW2:
		return "", usagef("%s is not a qcow2 image", o.image)
	case named != "":
		return named, nil
	}
	switch seen {
	case qemu.QCOW2:
		return "", usagef("%s looks like a qcow2 image: say --format qcow2, or --format raw to serve the file as it is", o.image)
	case qemu.VMDK, qemu.VDI, qemu.VPC, qemu.VHDX, qemu.QED, qemu.Parallels:
		return "", usagef("%s looks like a %s image, which must be converted with `qemu-img convert` first; --format raw serves the file as it is", o.image, seen)
	default: // no format of disks: a disk may begin with anything
		return qemu.Raw, nil
	}
}

// checkSize refuses what is no whole number of blocks. The last block of a CD-ROM may be cut off.
func checkSize(name string, size int64, cdrom bool) error {
	const block = 512
	switch {
	case size <= 0:
		return usagef("%s is empty; `truncate -s 10G` makes it a disk of 10 GiB", name)
	case size%block != 0 && !cdrom:
		return usagef("%s has %d bytes, which is not a multiple of %d; `truncate -s %d` makes it one by adding zeros",
			name, size, block, size+block-size%block)
	}
	return nil
}

// openQCOW2 opens the image in a storage daemon, which shares the locks.
func (im *image) openQCOW2(ctx context.Context, f *os.File, o targetOptions, log *slog.Logger) (volume.Device, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("--image: %w", err)
	}
	if _, err := qemu.Inspect(f, info.Size(), qemu.InspectOptions{Format: qemu.QCOW2}); err != nil {
		return nil, fmt.Errorf("%s: %w", o.image, err)
	}
	opener, err := qemu.NewOpener(qemu.OpenerConfig{Log: log})
	if err != nil {
		return nil, err
	}
	return opener.Open(ctx, qemu.OpenOptions{
		Name: o.image, Image: qemu.Image{Path: im.path, Format: qemu.QCOW2}, ReadOnly: !o.writable(),
	}, im.held...)
}

// openRAM makes a disk in memory, which takes room only where it was written.
func openRAM(o targetOptions) (*image, error) {
	size, err := parseSize(o.ram)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("elstore-ram", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("--ram: %w", err)
	}
	f := os.NewFile(uintptr(fd), "elstore-ram")
	if err := f.Truncate(int64(size)); err != nil {
		f.Close() //nolint:errcheck,gosec // nothing was written
		return nil, fmt.Errorf("--ram: %w", err)
	}
	im := &image{}
	_, _ = rand.Read(im.id[:])
	im.Device, err = file.OpenImage(f, "disk in memory", !o.writable())
	return im, err
}

// idOf returns the identity of an image: the same for the same path on the same machine.
func idOf(path string) scsi.ID {
	machine, _ := os.ReadFile("/etc/machine-id") // where there is none, the path must do
	sum := sha256.Sum256(append(append(machine, 0), path...))
	return scsi.ID(sum[:16])
}

// regrow makes a raw image as large as its file has become. It reports whether that is another size.
func (im *image) regrow(o targetOptions) (size int64, grown bool, err error) {
	if im.raw == nil {
		return 0, false, errors.New("only raw images grow while they are served")
	}
	info, err := im.raw.Stat()
	if err != nil {
		return 0, false, err
	}
	if size = info.Size(); size == im.Size() {
		return size, false, nil
	}
	if err := checkSize(o.image, size, o.cdrom); err != nil {
		return 0, false, err
	}
	return size, true, im.Grow(size)
}
