package volume

import (
	"context"
	"errors"
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
