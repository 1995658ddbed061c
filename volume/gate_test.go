package volume

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"elstore/volume/fault"
)

// prompt is a Device that is asked for nothing but what needs no waiting.
type prompt struct{ Device }

func (prompt) ReadNow(p []byte, _ int64) bool { clear(p); return true }
func (prompt) WritesNow(length int64) bool    { return length <= 4096 }
func (prompt) Splice(_ int, _, n int64) int64 { return n }
func (prompt) Flush(context.Context) error    { return nil }

func TestGateAndWhatNeedsNoWaiting(t *testing.T) {
	p := make([]byte, 512)
	g := newGate(prompt{})
	if !g.ReadNow(p, 0) || !g.WritesNow(4096) || g.WritesNow(8192) {
		t.Error("what the Device says does not come through")
	}
	release, err := g.hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if g.ReadNow(p, 0) || g.WritesNow(4096) {
		t.Error("requests go on while they are held back")
	}
	release()
	if !g.ReadNow(p, 0) || !g.WritesNow(4096) {
		t.Error("requests do not go on")
	}
	slow := newGate(struct{ Device }{})
	if slow.ReadNow(p, 0) || slow.WritesNow(4096) {
		t.Error("a Device that may wait is said not to")
	}
	if g.Splice(0, 0, 512) != 512 || slow.Splice(0, 0, 512) != 0 {
		t.Error("what is spliced is not what the Device says")
	}
}

// stuck is a Device whose writes end when they are told to, and whose flushes end with their context.
type stuck struct {
	prompt
	end chan struct{}
}

func (d stuck) WriteAt(p []byte, _ int64) (int, error) {
	<-d.end
	return len(p), nil
}

func (d stuck) Flush(ctx context.Context) error {
	select {
	case <-d.end:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// What does not end keeps nobody waiting for ever who wants to hold requests back, and what comes later goes on.
func TestHoldGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(stuck{end: make(chan struct{})})
		if _, err := g.hold(t.Context()); !fault.Is(err, fault.PoolUnavailable) {
			t.Errorf("where a flush does not end: %v", err)
		}
		if !g.ReadNow(make([]byte, 1), 0) {
			t.Error("requests are held back")
		}
	})
}

func TestHoldGivesUpOnRequests(t *testing.T) {
	d := stuck{end: make(chan struct{})}
	g := newGate(d)
	g.mu.RLock() // as a write does that does not end
	over, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := g.hold(over); !errors.Is(err, gone) {
		t.Errorf("where the caller is gone: %v", err)
	}
	close(d.end)
	g.mu.RUnlock()
	if _, err := g.WriteAt(make([]byte, 512), 0); err != nil {
		t.Error(err)
	}
	release, err := g.hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// watched is a Device that knows whether it is to be left alone, and keeps what it was last asked for.
type watched struct {
	quiet, disturbed atomic.Bool
	asked            atomic.Value
}

var errWatched = errors.New("watched")

func (d *watched) note(what string, args ...any) error {
	d.disturbed.CompareAndSwap(false, d.quiet.Load())
	d.asked.Store(fmt.Sprintln(append([]any{what}, args...)...))
	runtime.Gosched() // so that one that runs is met by one who holds back
	d.disturbed.CompareAndSwap(false, d.quiet.Load())
	return errWatched
}

func (d *watched) ReadAt(p []byte, off int64) (int, error) { return 1, d.note("read", len(p), off) }

func (d *watched) WriteAt(p []byte, off int64) (int, error) { return 2, d.note("write", len(p), off) }

func (d *watched) Discard(off, length int64) error { return d.note("discard", off, length) }

func (d *watched) WriteZeroes(off, length int64, unmap bool) error {
	return d.note("zero", off, length, unmap)
}

func (d *watched) Flush(ctx context.Context) error {
	if ctx.Value(watchedKey{}) == nil { // of who holds back
		return nil
	}
	return d.note("flush")
}

func (d *watched) Size() int64 { _ = d.note("size"); return 3 }

func (d *watched) Requests() int { _ = d.note("requests"); return 4 }

func (d *watched) Grow(int64) error { return nil }

func (d *watched) Close() error { return nil }

type watchedKey struct{}

// Every request reaches the Device as it was made, and none while they are held back.
func TestGateHoldsEveryRequestBack(t *testing.T) {
	ctx := context.WithValue(t.Context(), watchedKey{}, true)
	p := make([]byte, 512)
	tests := []struct {
		name string
		do   func(g *gate) any
		want any
		asks string
	}{
		{"read", func(g *gate) any { n, err := g.ReadAt(p, 7); return errors.Join(err, wantInt(n, 1)) }, nil, "read 512 7\n"},
		{"write", func(g *gate) any { n, err := g.WriteAt(p, 7); return errors.Join(err, wantInt(n, 2)) }, nil, "write 512 7\n"},
		{"write pieces", func(g *gate) any {
			n, err := g.WriteVectorAt([][]byte{p[:9], p}, 7)
			return errors.Join(err, wantInt(n, 2)) // the first failed
		}, nil, "write 9 7\n"},
		{"discard", func(g *gate) any { return g.Discard(1, 2) }, nil, "discard 1 2\n"},
		{"zero", func(g *gate) any { return g.WriteZeroes(1, 2, true) }, nil, "zero 1 2 true\n"},
		{"flush", func(g *gate) any { return g.Flush(ctx) }, nil, "flush\n"},
		{"size", func(g *gate) any { return g.Size() }, int64(3), "size\n"},
		{"requests", func(g *gate) any { return g.Requests() }, 4, "requests\n"},
		{"extents of one that knows none", func(g *gate) any {
			n, mapped, err := g.NextExtent(ctx, 1)
			return err == nil && mapped && n == 2
		}, true, "size\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &watched{}
			g := newGate(d)
			check := func() {
				got := tt.do(g)
				if err, ok := got.(error); tt.want == nil && (!ok || err.Error() != errWatched.Error()) || tt.want != nil && got != tt.want {
					t.Errorf("it returned %v, want %v", got, tt.want)
				}
			}
			check()
			if asked := d.asked.Load(); asked != tt.asks {
				t.Errorf("the Device was asked %q, want %q", asked, tt.asks)
			}
			var stop atomic.Bool
			var work sync.WaitGroup
			for range 2 {
				work.Go(func() {
					for !stop.Load() {
						check()
					}
				})
			}
			for range 100 {
				release, err := g.hold(t.Context())
				if err != nil {
					t.Error(err)
					break
				}
				d.quiet.Store(true)
				runtime.Gosched()
				d.quiet.Store(false)
				release()
			}
			stop.Store(true)
			work.Wait()
			if d.disturbed.Load() {
				t.Error("a request ran while they were held back")
			}
		})
	}
	if n := newGate(struct{ Device }{}).Requests(); n != 1 {
		t.Errorf("of a Device that says nothing: %d requests", n)
	}
}

func wantInt(got, want int) error {
	if got != want {
		return fmt.Errorf("%d, want %d", got, want)
	}
	return nil
}
