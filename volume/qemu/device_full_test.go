package qemu

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"elstore/test/need"
	"elstore/volume/fault"
)

// fill makes a file that takes all but spare bytes of the file system, and returns its path.
func fill(t *testing.T, dir string, spare int64) string {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	var st unix.Statfs_t
	must(t, unix.Fstatfs(int(f.Fd()), &st))
	must(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-spare))
	return path
}

// A full file system is ENOSPC to whoever writes, and when there is room again the Device goes on.
func TestDeviceNoSpace(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			dir := need.FS(t, kind)
			path := filepath.Join(dir, "image.qcow2")
			qemuImg(t, "create", "-q", "-f", "qcow2", path, "64M")
			d := openDevice(t, realOpener(t, OpenerConfig{}), OpenOptions{Image: Image{Path: path, Format: QCOW2}})
			filler := fill(t, dir, 8<<20)

			want := make([]byte, 64<<20)
			data := pattern(1 << 20)
			before := d.pid()
			full := 0
			for off := int64(0); off < int64(len(want)); off += 1 << 20 {
				n, err := d.WriteAt(data, off)
				switch {
				case err == nil:
					copy(want[off:], data)
				case errors.Is(err, syscall.ENOSPC) && fault.Is(err, fault.PoolFull) && n == 0:
					full++
				default:
					t.Fatalf("at %d: %d, %v", off, n, err)
				}
			}
			if full == 0 {
				t.Fatal("the file system never was full")
			}
			_ = d.Flush(t.Context()) // it may fail as well: metadata needs room too
			must(t, os.Remove(filler))
			for off := int64(0); off < int64(len(want)); off += 1 << 20 {
				mustWrite(t, d, off, data)
				copy(want[off:], data)
			}
			must(t, d.Flush(t.Context()))
			if d.pid() != before {
				t.Error("the daemon died")
			}
			wantRead(t, d, 0, want)
			closeDevice(t, d)
			wantImage(t, path, want)
		})
	}
}

// Where what must be made again finds no room, the Device tries for a while, and goes on when there is some.
func TestDeviceNoSpaceToReplay(t *testing.T) {
	dir := need.FS(t, "ext4")
	path := filepath.Join(dir, "image.qcow2")
	qemuImg(t, "create", "-q", "-f", "qcow2", path, "64M")
	o := impatient(realOpener(t, OpenerConfig{}))
	o.times.attempts = 1 << 20 // until the filler is gone
	d := openDevice(t, o, OpenOptions{Image: Image{Path: path, Format: QCOW2}})
	data := pattern(16 << 20)
	mustWrite(t, d, 0, data)
	d.signal(unix.SIGSTOP)
	filler := fill(t, dir, 0)
	d.signal(unix.SIGKILL)
	removed := make(chan struct{})
	go func() {
		defer close(removed)
		must(t, os.Remove(filler))
	}()
	must(t, d.Flush(t.Context()))
	<-removed
	want := make([]byte, 64<<20)
	copy(want, data)
	closeDevice(t, d)
	wantImage(t, path, want)
}
