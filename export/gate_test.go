package export

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGate(t *testing.T) {
	var g Gate
	ctx := t.Context()
	if !g.Try() || !g.Enter(ctx) {
		t.Fatal("a new gate is not open")
	}
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		if !g.Try() {
			t.Fatal("it is not open")
		}
		shut := make(chan error, 1)
		go func() { shut <- g.Shut(context.Background(), nil) }()
		synctest.Wait()
		select {
		case err := <-shut:
			t.Fatalf("it is shut with a command inside: %v", err)
		default:
		}
		if g.Try() || g.Enter(context.Background()) {
			t.Error("it lets in while it waits")
		}
		g.Leave()
		if err := <-shut; err != nil {
			t.Error(err)
		}
		if g.Try() {
			t.Error("it lets in when it is shut")
		}
		if err := g.Shut(context.Background(), nil); err != nil {
			t.Errorf("shut again: %v", err)
		}
		g.Open()
		g.Open()
		if !g.Enter(context.Background()) {
			t.Error("it was opened")
		}
		brief, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := g.Shut(brief, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it was shut with a command inside: %v", err)
		}
		g.Leave()
	})
}

func TestGateAsks(t *testing.T) {
	var g Gate
	asked := 0
	if err := g.Shut(t.Context(), func(context.Context) bool {
		if asked++; asked == 1 {
			return false
		}
		g.Open()
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for n, want := range []bool{false, true, true} {
		if got := g.Enter(t.Context()); got != want {
			t.Errorf("command %d passes: %t", n, got)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

// Who may write gets in though the gate is shut again before it has looked; and a gate that was opened meanwhile asks nobody.
func TestGateShutAgain(t *testing.T) {
	var g Gate
	asked := 0
	var ask func(context.Context) bool
	ask = func(ctx context.Context) bool {
		g.Open()
		if asked++; asked < 3 {
			if err := g.Shut(ctx, ask); err != nil {
				t.Error(err)
			}
		}
		return true
	}
	if err := g.Shut(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	if !g.Enter(t.Context()) || asked != 3 {
		t.Errorf("asked %d times", asked)
	}
}

// Never is anything inside after Shut returned, and everything that was let in leaves.
func TestGateUnderLoad(t *testing.T) {
	var g Gate
	var inside atomic.Int64
	stop := make(chan struct{})
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if g.Enter(t.Context()) {
					inside.Add(1)
					inside.Add(-1)
					g.Leave()
				}
			}
		})
	}
	for range 2000 {
		if err := g.Shut(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if n := inside.Load(); n != 0 {
			t.Fatalf("%d are inside", n)
		}
		g.Open()
	}
	close(stop)
	work.Wait()
}
