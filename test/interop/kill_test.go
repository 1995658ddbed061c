package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"elstore/test/need"
	"elstore/test/rig"
)

const (
	chunk   = 64 << 10 // bytes that are written together
	writers = 4        // each with a session and chunks of its own
	chunks  = 256      // of a writer
	kills   = 4
)

// daemonOf returns the storage daemon of a target, which is its child, 0 where it has none.
func daemonOf(t *testing.T, target *rig.Target) int {
	t.Helper()
	if pids := rig.Below(t, target.Pid(), "qemu-storage-da*"); len(pids) > 0 {
		return pids[0]
	}
	return 0
}

// killDaemon kills the storage daemon of a target, waiting for it to have one, and returns its pid.
func killDaemon(t *testing.T, target *rig.Target, not int) int {
	t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if pid := daemonOf(t, target); pid != 0 && pid != not {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return pid
		}
		<-time.After(2 * time.Millisecond)
	}
	t.Fatal("the target has no storage daemon")
	return 0
}

// load writes to a disk from several sessions, and knows what must be there.
type load struct {
	target  *rig.Target
	version [writers][chunks]uint64 // of what was acknowledged last; 0 is never written
	written atomic.Int64
	stop    chan struct{}
	wg      sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

func startLoad(ctx context.Context, target *rig.Target) *load {
	l := &load{target: target, stop: make(chan struct{})}
	for w := range writers {
		l.wg.Go(func() {
			if err := l.write(ctx, w); err != nil {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.errs = append(l.errs, fmt.Errorf("writer %d: %w", w, err))
			}
		})
	}
	return l
}

// write writes chunks at random, and now and then flushes, as a guest does that sees nothing of what happens below it.
func (l *load) write(ctx context.Context, w int) error {
	i := newInitiator(l.target, "writer", byte(w))
	defer i.close()
	if err := i.relogin(ctx); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(uint64(w), 7))
	data := make([]byte, chunk)
	for n := uint64(1); ; n++ {
		select {
		case <-l.stop:
			_, err := i.do(ctx, flush)
			return err
		default:
		}
		c := random.IntN(chunks)
		fill(data, n*writers+uint64(w))
		if _, err := i.do(ctx, write10(lbaOf(w, c), data)); err != nil {
			return err
		}
		l.version[w][c] = n
		l.written.Add(1)
		if random.IntN(64) == 0 {
			if _, err := i.do(ctx, flush); err != nil {
				return err
			}
		}
	}
}

func lbaOf(w, c int) int { return (w*chunks + c) * (chunk / block) }

// more waits until so many more chunks are written.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	enough := l.written.Load() + n
	deadline := time.Now().Add(patience)
	for l.written.Load() < enough {
		if time.Now().After(deadline) {
			t.Fatalf("%d chunks are not written", n)
		}
		<-time.After(time.Millisecond)
	}
}

// end stops the writers, and checks every byte that was acknowledged, from another session.
func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	for _, err := range l.errs {
		t.Error(err)
	}
	i := newInitiator(l.target, "reader", 0)
	defer i.close()
	if err := i.relogin(t.Context()); err != nil {
		t.Fatal(err)
	}
	want, bad := make([]byte, chunk), 0
	for w := range writers {
		for c, n := range l.version[w] {
			clear(want)
			if n != 0 {
				fill(want, n*writers+uint64(w))
			}
			got, err := i.do(t.Context(), read10(lbaOf(w, c), chunk/block))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				bad++
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d chunks are not what was acknowledged", bad, writers*chunks)
	}
}

// TestKillDaemon: what was acknowledged and not flushed is there after the storage daemon was killed.
func TestKillDaemon(t *testing.T) {
	need.Program(t, "qemu-img", "qemu-storage-daemon")
	image := newImage(t, "qcow2", writers*chunks*chunk)
	target := rig.StartTarget(t, "--image", image, "--format", "qcow2")
	i := newInitiator(target, "guest", 0)
	defer i.close()
	if err := i.login(t.Context()); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, chunk)
	for n := range 64 { // into clusters that are new, none of them flushed
		fill(data, uint64(n))
		if _, err := i.once(write10(lbaOf(0, n*16), data)); err != nil {
			t.Fatal(err)
		}
	}
	killed := killDaemon(t, target, 0)
	if _, err := i.once(flush); err != nil {
		t.Fatal(err)
	}
	for n := range 64 {
		fill(data, uint64(n))
		if got, err := i.once(read10(lbaOf(0, n*16), chunk/block)); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("write %d is not there after the flush: %v", n, err)
		}
	}
	if _, err := i.once(command{cdb: []byte{0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, data: unmapAll(writers * chunks * chunk / block)}); err != nil {
		t.Fatal(err)
	}
	i.close()
	l := startLoad(t.Context(), target)
	for range kills {
		l.more(t, 100)
		killed = killDaemon(t, target, killed)
	}
	l.more(t, 100)
	l.end(t)
	if err := target.Stop(); err != nil {
		t.Errorf("%v\n%s", err, target.Log())
	}
	// QEMU counts a cluster before it uses it: those that a killed daemon had counted are lost, and nothing else.
	if out, err := run(t, "qemu-img", "check", "-q", "-f", "qcow2", image); err != nil && !leaks(err) {
		t.Errorf("%v: %s", err, out)
	}
}

// leaks reports whether qemu-img check found clusters that nobody uses, and nothing worse.
func leaks(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	return ok && exit.ExitCode() == 3
}

// unmapAll is the parameter list of an UNMAP of so many blocks from 0 on.
func unmapAll(blocks uint32) []byte {
	return []byte{0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(blocks >> 24), byte(blocks >> 16), byte(blocks >> 8), byte(blocks), 0, 0, 0, 0}
}

// TestKillServer: initiators of a target that is killed and started again see no more than a pause, and all that was
// acknowledged is there.
func TestKillServer(t *testing.T) {
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			if format != "raw" {
				need.Program(t, "qemu-img", "qemu-storage-daemon")
			}
			image := newImage(t, format, writers*chunks*chunk)
			flags := []string{"--image", image, "--format", format}
			target := rig.StartTarget(t, flags...)
			l := startLoad(t.Context(), target)
			for range kills {
				l.more(t, 100)
				target.Kill()
				target = restart(t, target, flags...)
			}
			l.more(t, 100)
			l.end(t)
			if err := target.Stop(); err != nil {
				t.Errorf("%v\n%s", err, target.Log())
			}
			if format == "qcow2" {
				must(t, "qemu-img", "check", "-f", "qcow2", image)
			}
		})
	}
}

// restart starts a target again where a killed one was.
func restart(t *testing.T, killed *rig.Target, flags ...string) *rig.Target {
	t.Helper()
	again := rig.StartTarget(t, append([]string{"--listen", killed.Portal}, flags...)...)
	if again.URL != killed.URL {
		t.Fatalf("the target is %s, and was %s", again.URL, killed.URL)
	}
	return again
}

// TestKillServerUnderQEMU: QEMU's initiator logs in again by itself.
func TestKillServerUnderQEMU(t *testing.T) {
	t.Parallel() // QEMU waits a while before it tries again
	needISCSI(t)
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			const size = 48 * mib
			image, file := newImage(t, format, size), source(t, size)
			flags := []string{"--image", image, "--format", format}
			target := rig.StartTarget(t, flags...)
			done := make(chan error, 1)
			var out string
			go func() {
				var err error
				out, err = run(t, "qemu-img", "convert", "-r", "16M", "-n", "-f", "raw", "-O", "raw", file, target.URL)
				done <- err
			}()
			killed := 0
			for part := range int64(2) {
				waitForData(t, image, (part+1)*4*mib)
				if len(done) > 0 {
					break // the copy runs on its own: it may have been quicker than we are
				}
				target.Kill()
				killed++
				target = restart(t, target, flags...)
			}
			if err := <-done; err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if killed == 0 {
				t.Error("the target was not killed in the middle of the copy")
			}
			must(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", file, target.URL)
		})
	}
}

// waitForData waits until a file takes so much storage.
func waitForData(t *testing.T, path string, bytes int64) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if st.Blocks*512 >= bytes {
			return
		}
		<-time.After(2 * time.Millisecond)
	}
	t.Fatalf("%s does not come to have %d bytes", path, bytes)
}
