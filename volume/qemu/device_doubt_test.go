package qemu

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"elstore/test/need"
)

// deafen makes a daemon listen to another eventfd than we kick: it lives, and takes nothing from its queue any more.
func deafen(t testing.TB, l *link) {
	t.Helper()
	other, err := newKick()
	must(t, err)
	defer other.close()
	must(t, vhostPeer{l.queue.socket}.send(vhostSetVringKick, vhostNumber(0), int(other)))
}

// A daemon whose queue is dead while the rest of it lives is killed, what it had not flushed is made again, and all goes on over NBD.
func TestDeviceDeadQueue(t *testing.T) {
	for name, tc := range map[string]func(t *testing.T, d *Device, data []byte, off int64){
		"writes": func(t *testing.T, d *Device, data []byte, off int64) { mustWrite(t, d, off, data[off:off+4096]) },
		"reads":  func(t *testing.T, d *Device, data []byte, off int64) { wantRead(t, d, 0, data[:512<<10]) },
		"both in turn": func(t *testing.T, d *Device, data []byte, off int64) {
			mustWrite(t, d, off, data[off:off+4096])
			wantRead(t, d, off, data[off:off+4096])
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			o := realOpener(t, OpenerConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
			o.times.hang, o.times.ping = 200*time.Millisecond, 100*time.Millisecond
			path := image(t, QCOW2, 1<<20)
			d := openDevice(t, o, OpenOptions{Image: Image{Path: path, Format: QCOW2}})
			data := pattern(1 << 20)
			mustWrite(t, d, 0, data[:512<<10])
			before := d.pid()
			deafen(t, d.link)
			for off, end := int64(512<<10), time.Now().Add(patient); d.pid() == before; off += 4096 {
				if off == 1<<20 {
					off = 512 << 10
				}
				if time.Now().After(end) {
					t.Fatal("the queue goes on")
				}
				tc(t, d, data, off)
			}
			gonePid(t, before)
			if !strings.Contains(log.String(), "queue is dead") || d.link.queue != nil {
				t.Errorf("queue %p, log %s", d.link.queue, log.String())
			}
			mustWrite(t, d, 0, data)
			wantRead(t, d, 0, data)
			closeDevice(t, d)
			wantImage(t, path, data)
		})
	}
}

// freeze makes writes to a file system wait until it is thawed.
func freeze(t testing.TB, mountpoint string) (thaw func()) {
	t.Helper()
	const fifreeze, fithaw = 0xc0045877, 0xc0045878 // ioctl_fifreeze(2const)
	f, err := os.Open(mountpoint)
	must(t, err)
	must(t, unix.IoctlSetInt(int(f.Fd()), fifreeze, 0))
	thawed := false
	thaw = func() {
		if !thawed {
			must(t, unix.IoctlSetInt(int(f.Fd()), fithaw, 0))
			must(t, f.Close())
			thawed = true
		}
	}
	t.Cleanup(thaw)
	return thaw
}

// Storage that takes no writes for long is waited for: it is not the queue that is dead. What is written over NBD meanwhile, to
// find out, comes before what is written after it.
func TestDeviceFrozenStorage(t *testing.T) {
	mountpoint := need.FS(t, "ext4")
	path := filepath.Join(mountpoint, "image.qcow2")
	qemuImg(t, "create", "-q", "-f", "qcow2", path, "1M")
	var log logBuffer
	o := realOpener(t, OpenerConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
	o.times.hang = 200 * time.Millisecond // and ping as it is: a slow machine is no dead queue either
	d := openDevice(t, o, OpenOptions{Image: Image{Path: path, Format: QCOW2}})
	data := pattern(1 << 20)
	mustWrite(t, d, 0, data)
	must(t, d.Flush(t.Context()))
	before, queue := d.pid(), d.link.queue

	thaw := freeze(t, mountpoint)
	written := make(chan struct{})
	first := bytes.Repeat([]byte{1}, 8192)
	go func() {
		defer close(written)
		mustWrite(t, d, 4096, first)
		mustWrite(t, d, 8192, data[8192:8192+4096])
	}()
	waitUntil(t, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.changes) == 2 && d.link.doubted
	})
	waitUntil(t, func() bool { return strings.Contains(log.String(), "storage is slow") })
	select {
	case <-written:
		t.Error("it was written to storage that is frozen")
	default:
	}
	thaw()
	<-written
	copy(data[4096:8192], first)
	if d.pid() != before || d.link.queue != queue {
		t.Errorf("another daemon; log %s", log.String())
	}
	wantRead(t, d, 0, data)
	closeDevice(t, d)
	wantImage(t, path, data)
}

// What is overdue is the oldest request, of those that have been under way for so many ticks.
func TestVhostOverdue(t *testing.T) {
	c, d := vhostPair(t)
	if _, ok := c.overdue(0); ok {
		t.Error("a request is overdue, and there is none")
	}
	done := make(chan error, 2)
	go func() { done <- c.write(512, 1024, bytes.Repeat([]byte("w"), 1024)) }()
	write := d.take()
	c.tick()
	go func() { done <- c.read(make([]byte, 512), 4096) }()
	read := d.take()
	if _, ok := c.overdue(2); ok {
		t.Error("a request is overdue before its time")
	}
	c.tick()
	o, ok := c.overdue(2)
	if !ok || o.kind != virtioOut || o.off != 512 || string(o.data) != strings.Repeat("w", 1024) || !c.pending(o) {
		t.Errorf("overdue is %+v, %v", o, ok)
	}
	d.answer(write, virtioOK, 0)
	must(t, <-done)
	if c.pending(o) {
		t.Error("what was answered is pending")
	}
	if o, ok := c.overdue(1); !ok || o.kind != virtioIn || o.off != 4096 || len(o.data) != 512 || !c.pending(o) {
		t.Errorf("overdue is %+v, %v", o, ok)
	}
	if _, ok := c.overdue(2); ok {
		t.Error("a request is overdue before its time")
	}
	go func() { done <- c.write(0, 512, make([]byte, 512)) }() // takes the place of the first
	again := d.take()
	if c.pending(o) {
		t.Error("another request is taken for one that was answered")
	}
	d.answer(read, virtioOK, 512)
	d.answer(again, virtioOK, 0)
	must(t, <-done)
	must(t, <-done)
}
