package volume

import (
	"context"
	"testing"
)

// prompt is a Device that is asked for nothing but what needs no waiting.
type prompt struct{ Device }

func (prompt) ReadNow(p []byte, _ int64) bool { clear(p); return true }
func (prompt) WritesNow(length int64) bool    { return length <= 4096 }
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
}
