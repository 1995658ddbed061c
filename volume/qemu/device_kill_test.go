package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// pid returns the process id of the daemon of now, which may die meanwhile.
func (d *Device) pid() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.link.daemon.pid
}

// signal sends a signal to the daemon of now, which may be gone already.
func (d *Device) signal(s syscall.Signal) {
	d.mu.Lock()
	p := d.link.daemon.cmd.Process
	d.mu.Unlock()
	_ = p.Signal(s)
}

// impatient lets daemons die as often and as quickly as a test likes.
func impatient(o *Opener) *Opener {
	o.times.steady, o.times.pause = time.Nanosecond, time.Millisecond
	return o
}

// stripe is the part of a disk that one worker has for itself: every fourth piece of 16 KiB, so that each of QEMU's
// clusters belongs to all of them.
type stripe struct {
	t      testing.TB
	d      *Device
	number int
	want   []byte // of the whole disk; only this worker's part of it is right
	r      *rand.Rand
	data   *rand.ChaCha8
}

const (
	stripes = 4
	piece   = 16 << 10
)

// place returns a random stretch within one piece.
func (s *stripe) place() (off, length int64) {
	n := len(s.want) / piece / stripes
	off = int64(s.r.IntN(n)*stripes+s.number) * piece
	if s.r.IntN(4) == 0 {
		return off, piece
	}
	from := s.r.Int64N(piece)
	length = 1 + s.r.Int64N(piece-from)
	if s.r.IntN(2) == 0 { // as file systems do
		from, length = from&^511, (length+511)&^511
		length = min(length, piece-from)
	}
	return off + from, length
}

// step does something, and checks something.
func (s *stripe) step() error {
	off, length := s.place()
	mine := s.want[off : off+length]
	switch s.r.IntN(10) {
	case 0, 1, 2, 3:
		_, _ = s.data.Read(mine)
		_, err := s.d.WriteAt(mine, off)
		return err
	case 4:
		_, _ = s.data.Read(mine)
		half := s.r.IntN(len(mine) + 1)
		_, err := s.d.WriteVectorAt([][]byte{mine[:half], mine[half:]}, off)
		return err
	case 5:
		clear(mine)
		return s.d.WriteZeroes(off, length, s.r.IntN(2) == 0)
	case 6:
		if err := s.d.Discard(off, length); err != nil {
			return err
		}
		// From now on each byte is what it was or zero, and stays so.
		got := make([]byte, length)
		if _, err := s.d.ReadAt(got, off); err != nil {
			return err
		}
		for i := range got {
			if got[i] != 0 && got[i] != mine[i] {
				return fmt.Errorf("the byte at %d is %d after a discard, and was %d", off+int64(i), got[i], mine[i])
			}
		}
		copy(mine, got)
		return nil
	case 7:
		if s.r.IntN(10) == 0 {
			return s.d.Flush(s.t.Context())
		}
	}
	return s.check(off, length)
}

func (s *stripe) check(off, length int64) error {
	got := make([]byte, length)
	if _, err := s.d.ReadAt(got, off); err != nil {
		return err
	}
	if mine := s.want[off : off+length]; !bytes.Equal(got, mine) {
		for i := range got {
			if got[i] != mine[i] {
				return fmt.Errorf("the byte at %d of the %d at %d is %d, and %d was acknowledged", i, length, off, got[i], mine[i])
			}
		}
	}
	return nil
}

// Daemons are killed under writes, discards, zeroings and flushes, a hundred times. Whatever was acknowledged is there.
func TestDeviceSurvivesKills(t *testing.T) {
	const size = 8 << 20
	for name, tc := range map[string]struct {
		kills  int
		signal syscall.Signal
		replay int64 // the limit: with the least it flushes by itself all the time
		direct bool
	}{
		"100 kills":      {100, unix.SIGKILL, 0, false},
		"small log":      {20, unix.SIGKILL, 1 << 20, false},
		"past the cache": {20, unix.SIGKILL, 0, true},
		"told to end":    {20, unix.SIGTERM, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := image(t, QCOW2, size)
			o := impatient(realOpener(t, OpenerConfig{ReplayLimit: tc.replay}))
			d := openDevice(t, o, OpenOptions{Image: Image{Path: path, Format: QCOW2}, Direct: tc.direct})
			all := make([]byte, size)
			steps, stop, broken := make(chan struct{}, 1), make(chan struct{}), make(chan struct{}, stripes)
			var workers sync.WaitGroup
			parts := make([]*stripe, stripes)
			for i := range parts {
				s := &stripe{t, d, i, make([]byte, size), rand.New(rand.NewPCG(1, uint64(i))), rand.NewChaCha8([32]byte{byte(i)})}
				parts[i] = s
				workers.Go(func() {
					for {
						if err := s.step(); err != nil {
							t.Errorf("worker %d: %v", i, err)
							broken <- struct{}{}
							return
						}
						select {
						case <-stop:
							return
						case steps <- struct{}{}:
						}
					}
				})
			}
			r := rand.New(rand.NewPCG(3, 4))
		kills:
			for range tc.kills {
				for range r.IntN(300) {
					select {
					case <-steps:
					case <-broken:
						break kills
					}
				}
				d.signal(tc.signal)
			}
			close(stop)
			workers.Wait()
			if t.Failed() {
				return
			}
			for i, s := range parts {
				for off := i * piece; off < size; off += stripes * piece {
					copy(all[off:off+piece], s.want[off:])
				}
			}
			wantRead(t, d, 0, all)
			closeDevice(t, d)
			wantImage(t, path, all)
		})
	}
}

// What was acknowledged and not flushed is lost with the daemon, but for what the Device remembers: 4 MiB to a fresh
// image, as DESIGN.md has it.
func TestDeviceReplays(t *testing.T) {
	d, path := newDevice(t, 64<<20)
	data := pattern(4 << 20)
	mustWrite(t, d, 1<<20, data)
	must(t, d.WriteZeroes(2<<20, 4096, true))
	clear(data[1<<20 : 1<<20+4096])
	before := d.pid()
	d.signal(unix.SIGKILL)
	must(t, d.Flush(t.Context())) // it waits, and must not succeed over a hole
	if after := d.pid(); after == before {
		t.Fatal("the same daemon")
	}
	gonePid(t, before)
	want := make([]byte, 64<<20)
	copy(want[1<<20:], data)
	wantRead(t, d, 0, want)
	// A second daemon's death after the flush: nothing is remembered, nothing is lost.
	d.signal(unix.SIGKILL)
	wantRead(t, d, 0, want)
	if !d.replay.empty() || d.replay.used != 0 {
		t.Errorf("%d bytes are remembered after a flush", d.replay.used)
	}
	closeDevice(t, d)
	wantImage(t, path, want)
}

// The log never has more than its limit, and flushes by itself: a guest that never does loses nothing either.
func TestDeviceFlushesByItself(t *testing.T) {
	const limit = 1 << 20
	path := image(t, QCOW2, 64<<20)
	d := openDevice(t, impatient(realOpener(t, OpenerConfig{ReplayLimit: limit})), OpenOptions{Image: Image{Path: path, Format: QCOW2}})
	want := pattern(64 << 20)
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			for off := i << 16; off < len(want); off += 4 << 16 {
				mustWrite(t, d, int64(off), want[off:off+1<<16])
				d.mu.Lock()
				used := d.replay.used
				d.mu.Unlock()
				if used > limit {
					t.Errorf("%d bytes are remembered", used)
				}
			}
		})
	}
	writers.Wait()
	d.signal(unix.SIGKILL)
	wantRead(t, d, 0, want)
	closeDevice(t, d)
	wantImage(t, path, want)
}

// A daemon that dies when nothing is under way is noticed and replaced, without anybody asking for something.
func TestDeviceRevivesWhenIdle(t *testing.T) {
	d, _ := newDevice(t, 1<<20)
	old := d.link
	d.signal(unix.SIGKILL)
	d.mu.Lock()
	for d.link == old {
		d.turn.Wait()
	}
	d.mu.Unlock()
	if d.pid() == old.daemon.pid {
		t.Fatal("the same daemon")
	}
	if running, revived := d.opener.Daemons(); running != 1 || revived != 1 {
		t.Errorf("%d run, and %d were started again", running, revived)
	}
	must(t, d.Close())
	if running, _ := d.opener.Daemons(); running != 0 {
		t.Errorf("%d run after the end", running)
	}
}

// A connection that ends, by whatever fault, counts as a death; the daemon that is left is ended first.
func TestDeviceReconnects(t *testing.T) {
	for name, cut := range map[string]func(l *link){
		"NBD":   func(l *link) { _ = l.conn.conn.Close() },
		"queue": func(l *link) { _ = l.queue.socket.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			d, path := newDevice(t, 1<<20)
			data := pattern(1 << 20)
			mustWrite(t, d, 0, data)
			old := d.link
			cut(old)
			must(t, d.Flush(t.Context()))
			wantRead(t, d, 0, data)
			waitUntil(t, func() bool { return d.pid() != old.daemon.pid })
			gonePid(t, old.daemon.pid)
			closeDevice(t, d)
			wantImage(t, path, data)
		})
	}
}

// Where no daemon can be started any more, the Device fails: every request gets EIO, those that wait too, and Close says
// so.
func TestDeviceFails(t *testing.T) {
	path := image(t, QCOW2, 1<<20)
	o := impatient(realOpener(t, OpenerConfig{}))
	o.times.attempts = 3
	d, err := o.Open(t.Context(), OpenOptions{Name: "test", Image: Image{Path: path, Format: QCOW2}})
	must(t, err)
	mustWrite(t, d, 0, pattern(1<<20))
	must(t, os.Rename(path, path+".gone"))
	d.signal(unix.SIGSTOP) // so that they are under way
	var requests sync.WaitGroup
	for name, call := range map[string]func() error{
		"read":    func() error { return second(d.ReadAt(make([]byte, 512), 0)) },
		"write":   func() error { return second(d.WriteAt(make([]byte, 512), 0)) },
		"zero":    func() error { return d.WriteZeroes(4096, 512, false) },
		"flush":   func() error { return d.Flush(t.Context()) },
		"extents": func() error { return second(d.Extents(t.Context(), 0, 512)) },
		"resize":  func() error { return d.Resize(t.Context(), 2<<20) },
	} {
		requests.Go(func() {
			for range 2 { // the second comes when it has failed
				if err := call(); !errors.Is(err, syscall.EIO) || !fault.Is(err, fault.PoolUnavailable) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	d.signal(unix.SIGKILL)
	requests.Wait()
	if err := d.Grow(1 << 20); !errors.Is(err, syscall.EIO) {
		t.Errorf("grow: %v", err)
	}
	if err := d.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("close: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

// A request that every daemon dies of fails in the end, and the others go on.
func TestDevicePoison(t *testing.T) {
	d := openDevice(t, impatient(realOpener(t, OpenerConfig{})), OpenOptions{Image: Image{Path: image(t, QCOW2, 1<<20), Format: QCOW2}})
	mustWrite(t, d, 0, []byte("old"))
	r := request{ctx: t.Context(), kind: doWrite, p: []byte("new"), change: newWrite(0, 3, []byte("new"))}
	must(t, d.begin(&r))
	var err error
	deaths := 0
	for ; err == nil && deaths < 100; deaths++ {
		d.signal(unix.SIGKILL)
		<-r.link.daemon.done
		<-r.link.conn.gone
		err = d.again(&r)
	}
	if !errors.Is(err, syscall.EIO) || deaths != mostLives+1 {
		t.Fatalf("after %d deaths: %v", deaths, err)
	}
	wantRead(t, d, 0, []byte("old"))
	mustWrite(t, d, 0, []byte("new"))
	must(t, d.Flush(t.Context()))
}

// A flush whose context ends while the daemon is brought back does not wait for that.
func TestDeviceFlushEndsWithContext(t *testing.T) {
	d, _ := newDevice(t, 1<<20)
	mustWrite(t, d, 0, []byte("data"))
	d.signal(unix.SIGSTOP)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Flush(ctx) }()
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("error is %v", err)
	}
	d.signal(unix.SIGCONT)
	wantRead(t, d, 0, []byte("data"))
}
