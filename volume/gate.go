package volume

import (
	"context"
	"sync"
	"time"

	"elstore/volume/fault"
)

// gate is a Device whose requests can be held back for a moment, without an error to anybody.
type gate struct {
	mu  sync.RWMutex // read-locked by every request, locked while they are held back
	dev Device
}

var (
	_ Device       = (*gate)(nil)
	_ VectorWriter = (*gate)(nil)
	_ ExtentReader = (*gate)(nil)
	_ NowReader    = (*gate)(nil)
	_ NowWriter    = (*gate)(nil)
	_ Splicer      = (*gate)(nil)
)

func newGate(dev Device) *gate { return &gate{dev: dev} }

// holdLimit is how long the requests that run are waited for: on a cluster that doesn't answer they last until it does.
const holdLimit = 30 * time.Second

var errNotHeld = fault.Errorf(fault.PoolUnavailable, "the volume is in use, and what runs on it did not end within %s", holdLimit)

// hold waits for the requests that run, holds back those that come, and flushes. release lets them go on.
func (g *gate) hold(ctx context.Context) (release func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, holdLimit, errNotHeld)
	defer cancel()
	if err := g.lock(ctx); err != nil {
		return nil, err
	}
	if err := g.dev.Flush(ctx); err != nil {
		g.mu.Unlock()
		return nil, err
	}
	return g.mu.Unlock, nil
}

// lock takes mu, or gives up when ctx ends: then it is given back as soon as it is had.
func (g *gate) lock(ctx context.Context) error {
	if g.mu.TryLock() {
		return nil
	}
	had := make(chan struct{})
	go func() {
		g.mu.Lock()
		close(had)
	}()
	select {
	case <-had:
		return nil
	case <-ctx.Done():
	}
	go func() {
		<-had
		g.mu.Unlock()
	}()
	return context.Cause(ctx)
}

func (g *gate) ReadAt(p []byte, off int64) (int, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.dev.ReadAt(p, off)
}

func (g *gate) WriteAt(p []byte, off int64) (int, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.dev.WriteAt(p, off)
}

// WriteVectorAt writes one piece after the other where the Device can't do better.
func (g *gate) WriteVectorAt(pieces [][]byte, off int64) (n int, err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if v, ok := g.dev.(VectorWriter); ok {
		return v.WriteVectorAt(pieces, off)
	}
	for _, p := range pieces {
		done, err := g.dev.WriteAt(p, off+int64(n))
		n += done
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// NextExtent says of a Device that doesn't know that all of it has storage.
func (g *gate) NextExtent(ctx context.Context, off int64) (length int64, mapped bool, err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if r, ok := g.dev.(ExtentReader); ok {
		return r.NextExtent(ctx, off)
	}
	return g.dev.Size() - off, true, nil
}

// Requests is 1 of a Device that says nothing.
func (g *gate) Requests() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if p, ok := g.dev.(Parallel); ok {
		return p.Requests()
	}
	return 1
}

// ReadNow returns false while requests are held back.
func (g *gate) ReadNow(p []byte, off int64) bool {
	if !g.mu.TryRLock() {
		return false
	}
	defer g.mu.RUnlock()
	r, ok := g.dev.(NowReader)
	return ok && r.ReadNow(p, off)
}

// WritesNow is false while requests are held back.
func (g *gate) WritesNow(length int64) bool {
	if !g.mu.TryRLock() {
		return false
	}
	defer g.mu.RUnlock()
	w, ok := g.dev.(NowWriter)
	return ok && w.WritesNow(length)
}

// Splice can't be done of a Device that has no way for it.
func (g *gate) Splice(fd int, off, length int64) int64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if s, ok := g.dev.(Splicer); ok {
		return s.Splice(fd, off, length)
	}
	return 0
}

func (g *gate) Flush(ctx context.Context) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.dev.Flush(ctx)
}

func (g *gate) Discard(off, length int64) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.dev.Discard(off, length)
}

func (g *gate) WriteZeroes(off, length int64, unmap bool) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.dev.WriteZeroes(off, length, unmap)
}

func (g *gate) Size() int64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.dev.Size()
}

// Grow is called by whoever holds requests back.
func (g *gate) Grow(size int64) error { return g.dev.Grow(size) }

// replace waits for the requests that run, and has those that come served by what open returns. The Device before, which was for reading,
// is closed then. With an error everything is as it was.
func (g *gate) replace(ctx context.Context, open func() (Device, error)) error {
	release, err := g.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	dev, err := open()
	if err != nil {
		return err
	}
	_ = g.dev.Close() // nothing was written through it
	g.dev = dev
	return nil
}

func (g *gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dev.Close()
}
