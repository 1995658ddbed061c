package qemu

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// logBuffer is a log that several goroutines write.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A daemon that answers nothing, not even whether it lives, is killed after the timeout, and what waited goes on.
func TestDeviceHangs(t *testing.T) {
	var log logBuffer
	o := realOpener(t, OpenerConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
	o.times.hang, o.times.ping = 200*time.Millisecond, 100*time.Millisecond
	path := image(t, QCOW2, 1<<20)
	d := openDevice(t, o, OpenOptions{Image: Image{Path: path, Format: QCOW2}})
	data := pattern(1 << 20)
	mustWrite(t, d, 0, data[:4096])
	before := d.pid()
	d.signal(unix.SIGSTOP)
	mustWrite(t, d, 4096, data[4096:])
	if d.pid() == before {
		t.Error("the same daemon")
	}
	gonePid(t, before)
	if !strings.Contains(log.String(), "storage daemon hangs and is killed") {
		t.Errorf("log %s", log.String())
	}
	wantRead(t, d, 0, data)
	closeDevice(t, d)
	wantImage(t, path, data)
}

// One that stands still for less than the timeout is let be, and requests wait so long.
func TestDeviceWaits(t *testing.T) {
	d, _ := newDevice(t, 1<<20)
	before := d.pid()
	d.signal(unix.SIGSTOP)
	started, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		close(started)
		mustWrite(t, d, 0, []byte("data"))
	}()
	<-started
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-done:
		t.Error("a daemon that stands still answered")
	case <-timer.C:
	}
	d.signal(unix.SIGCONT)
	<-done
	if d.pid() != before {
		t.Error("another daemon")
	}
}

// A daemon that lives and whose storage is slow is not killed.
func TestDeviceSlowStorage(t *testing.T) {
	var log logBuffer
	o := realOpener(t, OpenerConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
	d := openDevice(t, o, OpenOptions{Image: Image{Path: image(t, QCOW2, 1<<20), Format: QCOW2}})
	before := d.pid()
	d.prod(d.link)
	if !strings.Contains(log.String(), "storage is slow") || d.pid() != before {
		t.Errorf("log %s", log.String())
	}
	wantRead(t, d, 0, make([]byte, 4096))
}

// Close of a daemon that hangs ends too, and what it had not flushed is there.
func TestDeviceCloseOfHangingDaemon(t *testing.T) {
	o := realOpener(t, OpenerConfig{})
	o.times.hang, o.times.ping = 200*time.Millisecond, 100*time.Millisecond
	path := image(t, QCOW2, 1<<20)
	d := openDevice(t, o, OpenOptions{Image: Image{Path: path, Format: QCOW2}})
	data := pattern(1 << 20)
	mustWrite(t, d, 0, data)
	d.signal(unix.SIGSTOP)
	closeDevice(t, d)
	wantImage(t, path, data)
}

// Requests under way when Close comes are let end.
func TestDeviceCloseUnderLoad(t *testing.T) {
	d, path := newDevice(t, 1<<20)
	data := pattern(1 << 20)
	d.signal(unix.SIGSTOP)
	var writers sync.WaitGroup
	for i := range 16 {
		writers.Go(func() { mustWrite(t, d, int64(i)<<16, data[i<<16:(i+1)<<16]) })
	}
	d.mu.Lock()
	for d.running < 16 {
		d.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		<-ctx.Done()
		cancel()
		d.mu.Lock()
	}
	d.mu.Unlock()
	closing := make(chan error, 1)
	go func() { closing <- d.Close() }()
	d.signal(unix.SIGCONT)
	writers.Wait()
	must(t, <-closing)
	wantImage(t, path, data)
}
