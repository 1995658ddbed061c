package export

import (
	"context"
	"sync"
	"sync/atomic"
)

// Gate says whether an attachment may change the medium at this moment: it is the pen of live migration. An open gate
// costs two atomic operations a command. Its methods may be called at the same time.
type Gate struct {
	state atomic.Int64 // commands that are inside; plus shut

	mu     sync.Mutex
	ask    func(ctx context.Context) bool // who decides while it is shut; nil refuses
	empty  chan struct{}                  // closed when the last command inside left; nil where nobody waits
	closed bool
}

// shut is added to the state of a gate that is not open.
const shut = 1 << 62

// Try lets a command in if the gate is open.
func (g *Gate) Try() bool {
	if g.state.Add(1) < shut {
		return true
	}
	g.Leave()
	return false
}

// Enter lets a command in, or refuses it. Where the gate is shut it asks whoever Shut named until that says no, or opened it and it is
// open still.
func (g *Gate) Enter(ctx context.Context) bool {
	if g.Try() {
		return true
	}
	for {
		g.mu.Lock()
		closed, ask := g.closed, g.ask
		g.mu.Unlock()
		if closed && (ask == nil || !ask(ctx)) {
			return false
		}
		if g.Try() {
			return true
		}
		// It was shut again at once. Who may write must not be refused for that: its machine would see an error.
	}
}

// Leave ends what Try or Enter let in.
func (g *Gate) Leave() {
	if g.state.Add(-1) != shut {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty != nil && g.state.Load() == shut {
		close(g.empty)
		g.empty = nil
	}
}

// Open lets everything pass. A new Gate is open.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		g.closed = false
		g.state.Add(-shut)
	}
	g.ask = nil
}

// Shut lets no further command in before ask, if it is not nil, said that it may, and opened the gate. It returns when
// those inside have left, or with the context's error: then it is shut, and they are still to leave.
func (g *Gate) Shut(ctx context.Context, ask func(ctx context.Context) bool) error {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		g.state.Add(shut)
	}
	g.ask = ask
	if g.state.Load() == shut {
		g.mu.Unlock()
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
