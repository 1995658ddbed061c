package qemu

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"elstore/test/need"
	"elstore/volume/fault"
)

func TestDeviceResize(t *testing.T) {
	for _, format := range []Format{QCOW2, Raw} {
		t.Run(string(format), func(t *testing.T) {
			path := image(t, format, 1<<20)
			d := openDevice(t, realOpener(t, OpenerConfig{}), OpenOptions{Image: Image{Path: path, Format: format}})
			data := pattern(1 << 20)
			mustWrite(t, d, 0, data)
			pid := d.pid()
			must(t, d.Resize(t.Context(), 4<<20))
			if d.Size() != 1<<20 {
				t.Errorf("size %d before Grow", d.Size())
			}
			if _, err := d.WriteAt(data[:512], 1<<20); !fault.Is(err, fault.BadRequest) {
				t.Errorf("a write past the end before Grow: %v", err)
			}
			must(t, d.Grow(4<<20))
			if d.Size() != 4<<20 || d.pid() != pid {
				t.Errorf("size %d, daemon %d, was %d", d.Size(), d.pid(), pid)
			}
			mustWrite(t, d, 3<<20, data)
			want := append(bytes.Clone(data), make([]byte, 2<<20)...)
			want = append(want, data...)
			wantRead(t, d, 0, want)
			must(t, d.Resize(t.Context(), 4<<20)) // as it is
			// A growth that does not count after all is taken back.
			must(t, d.Resize(t.Context(), 8<<20))
			must(t, d.Resize(t.Context(), 4<<20))
			if err := d.Grow(8 << 20); !fault.Is(err, fault.InternalError) {
				t.Errorf("growing beyond the image: %v", err)
			}
			if err := d.Grow(1 << 20); !fault.Is(err, fault.InternalError) {
				t.Errorf("growing backwards: %v", err)
			}
			if err := d.Resize(t.Context(), 1<<20); !fault.Is(err, fault.VolumeInUse) {
				t.Errorf("cutting off what is in use: %v", err)
			}
			if err := d.Resize(t.Context(), 4<<20+1); !fault.Is(err, fault.BadRequest) {
				t.Errorf("an odd size: %v", err)
			}
			wantRead(t, d, 0, want)
			closeDevice(t, d)
			qemuImg(t, "compare", "-f", "raw", "-F", string(format), writeFile(t, "want.raw", want), path)
			if info, err := realTool(t).Info(t.Context(), Image{Path: path, Format: format}); err != nil || info.VirtualSize != int64(len(want)) {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
}

// QEMU since 8.0 takes nothing from a queue any more after it failed to tell of a resize: there is another afterwards, and it is used.
func TestDeviceResizeRenewsTheQueue(t *testing.T) {
	d, _ := newDevice(t, 1<<20)
	queue := func() *vhostConn {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.link.queue
	}
	files := openFiles(t)
	old := queue()
	if old == nil {
		need.Program(t, "a qemu-storage-daemon with vhost-user-blk")
	}
	for size := int64(2 << 20); size <= 8<<20; size += 2 << 20 {
		must(t, d.Resize(t.Context(), size))
		must(t, d.Grow(size))
		fresh := queue()
		if fresh == nil || fresh == old {
			t.Fatalf("the queue is %p, and was %p", fresh, old)
		}
		old = fresh
		mustWrite(t, d, size-4096, pattern(4096))
		wantRead(t, d, size-4096, pattern(4096))
		if n := fresh.heard.Load(); n < 2 {
			t.Errorf("%d requests went through the queue", n)
		}
	}
	if n := openFiles(t); n != files {
		t.Errorf("%d files were open before, %d after", files, n)
	}
}

// What QEMU refuses leaves everything as it was.
func TestDeviceResizeRefused(t *testing.T) {
	d, path := newDevice(t, 1<<20)
	data := pattern(1 << 20)
	mustWrite(t, d, 0, data)
	err := d.Resize(t.Context(), 1<<62)
	wantCode(t, err, fault.PoolFull) // no file can be so large
	wantRead(t, d, 0, data)
	mustWrite(t, d, 0, data[:512])
	closeDevice(t, d)
	wantImage(t, path, data)
}

// Requests only see a pause.
func TestDeviceResizeUnderLoad(t *testing.T) {
	d, path := newDevice(t, 1<<20)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	want := make([]byte, 1<<20, 64<<20)
	for i := range 4 {
		writers.Go(func() {
			for n := 0; ; n++ {
				off := (n%4*4 + i) << 16
				b := bytes.Repeat([]byte{byte(1 + n%255)}, 1<<16)
				copy(want[off:], b)
				if _, err := d.WriteAt(b, int64(off)); err != nil {
					t.Error(err)
					return
				}
				wantRead(t, d, int64(off), b)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for size := int64(2 << 20); size <= 32<<20; size += 2 << 20 {
		must(t, d.Resize(t.Context(), size))
		must(t, d.Grow(size))
	}
	close(stop)
	writers.Wait()
	want = want[:32<<20]
	wantRead(t, d, 0, want)
	closeDevice(t, d)
	wantImage(t, path, want)
}

// A daemon that dies around a resize is replaced, and the size is the old or the new one, never an error to a writer.
func TestDeviceResizeAndDeath(t *testing.T) {
	path := image(t, QCOW2, 1<<20)
	o := impatient(realOpener(t, OpenerConfig{}))
	d := openDevice(t, o, OpenOptions{Image: Image{Path: path, Format: QCOW2}})
	data := pattern(1 << 20)
	size := int64(1 << 20)
	for range 20 {
		mustWrite(t, d, 0, data)
		var killing sync.WaitGroup
		killing.Go(func() { d.signal(unix.SIGKILL) })
		err := d.Resize(t.Context(), size+1<<20)
		killing.Wait()
		if err == nil {
			size += 1 << 20
			must(t, d.Grow(size))
		} else {
			t.Log(err)
		}
		wantRead(t, d, 0, data)
	}
	if size == 1<<20 {
		t.Error("it never grew")
	}
	closeDevice(t, d)
	wantSound(t, path)
}

func TestDeviceResizeContext(t *testing.T) {
	d, _ := newDevice(t, 1<<20)
	d.signal(unix.SIGSTOP)
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		mustWrite(t, d, 0, []byte("data"))
	}()
	d.mu.Lock()
	for d.running == 0 {
		d.mu.Unlock()
		d.mu.Lock()
	}
	d.mu.Unlock()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Resize(ctx, 2<<20) }()
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("error is %v", err)
	}
	d.signal(unix.SIGCONT)
	<-writing
	must(t, d.Resize(t.Context(), 2<<20))
}
