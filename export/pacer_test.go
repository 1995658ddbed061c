package export

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestPacer(t *testing.T) {
	var p Pacer
	rate := func(n float64) *float64 { return &n }
	now := time.Unix(1000, 0)
	if d := p.charge(now, Writing, 1<<40); d != 0 {
		t.Errorf("without a rate: %v", d)
	}
	p.Set(Rates{WriteMB: rate(1), ReadIOPS: rate(2)})
	for i, want := range []time.Duration{0, 0, time.Second, 2 * time.Second} {
		if d := p.charge(now, Writing, 1e6); d != want {
			t.Errorf("write %d: %v, want %v", i, d, want)
		}
	}
	for i, want := range []time.Duration{0, 0, 0, 500 * time.Millisecond} {
		if d := p.charge(now, Reading, 1e9); d != want {
			t.Errorf("read %d: %v, want %v", i, d, want)
		}
	}
	p.Set(Rates{WriteMB: rate(1), ReadIOPS: rate(2)}) // the same: what was let through still counts
	if d := p.charge(now.Add(time.Second), Writing, 1e6); d != 2*time.Second {
		t.Errorf("a second later: %v", d)
	}
	p.Set(Rates{})
	if d := p.charge(now, Writing, 1e6); d != 0 {
		t.Errorf("freed: %v", d)
	}
}

func TestPacerWaitsNoLongerThanItsCaller(t *testing.T) {
	var p Pacer
	slow := 1.0
	p.Set(Rates{WriteIOPS: &slow})
	for range 100 {
		p.charge(time.Now(), Writing, 0)
	}
	why := errors.New("it has ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := p.Wait(ctx, Writing, 0); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	if err := p.Wait(ctx, Reading, 1); err != nil {
		t.Errorf("what has no rate: %v", err)
	}
}
