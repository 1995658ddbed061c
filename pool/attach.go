package pool

import (
	"context"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

// begin starts to attach a pool. The caller holds mu.
func (s *Set) begin(ctx context.Context, p *Pool) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	p.phase, p.cancel, p.done = attaching, cancel, done
	s.work.Go(func() {
		defer close(done)
		defer cancel()
		caps, err := p.attach(ctx)
		s.mu.Lock()
		p.done = nil
		abandoned := p.phase != attaching || s.closed // it went while its volumes were read
		switch {
		case abandoned:
			p.phase = leaving
		case err != nil:
			p.phase, p.reason = found, err
			time.AfterFunc(retryAfter(p.refused), s.hurry)
			p.refused++
		default:
			p.phase, p.reason, p.caps, p.refused = attached, nil, caps, 0
			s.start(ctx, p)
		}
		s.mu.Unlock()
		if !abandoned {
			s.report()
			if err == nil {
				s.hurry() // its settings may have changed meanwhile
			}
			return
		}
		if err == nil {
			s.detach(p)
			p.giveBack(ctx)
		}
		s.finish(p)
	})
}

// How long after it failed to attach a pool is tried again, with nothing seen to have changed: who held it may be gone, or its cluster be
// back. At first that is soon, since machines may wait for it; a key that is wrong stays so, and each try costs the cluster something.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// retryAfter returns how long to wait after a failure that others went before.
func retryAfter(before int) time.Duration {
	return min(retryFirst<<min(before, 16), retryMost)
}

// start begins to keep a pool that is attached now, until quit. The caller holds mu.
func (s *Set) start(ctx context.Context, p *Pool) {
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.work.Go(func() {
		defer close(p.stopped)
		p.keep(ctx)
	})
}

// quit ends keep.
func (p *Pool) quit() {
	p.cancel()
	<-p.stopped
}

// attach takes the pool's lock and has its volumes read.
func (p *Pool) attach(ctx context.Context) (caps volume.Caps, err error) {
	if err := p.acquire(ctx); err != nil {
		return caps, err
	}
	if caps, err = p.set.cfg.Attach(ctx, p); err == nil && p.shared != nil {
		err = p.shared.settle(ctx, func() tally {
			p.set.mu.Lock()
			defer p.set.mu.Unlock()
			p.counted = true
			return p.seen()
		})
		if err != nil {
			p.set.detach(p)
		}
	}
	if err != nil {
		p.giveBack(ctx)
	}
	return caps, err
}

// acquire opens the pool's directory and takes its lock.
func (p *Pool) acquire(ctx context.Context) (err error) {
	base, err := os.OpenRoot(p.set.root)
	if err != nil {
		return fault.Errorf(fault.PoolUnavailable, "its directory can't be opened: %s", cause(err))
	}
	defer base.Close()
	root, err := base.OpenRoot(p.rel)
	if err != nil {
		return fault.Errorf(fault.PoolUnavailable, "its directory can't be opened: %s", cause(err))
	}
	storage, err := openStorage(root)
	if err != nil {
		_ = root.Close()
		return err
	}
	p.set.mu.Lock()
	// The numbers of an earlier try don't count.
	p.use, p.base, p.made, p.told, p.counted, p.heldBy = volume.Usage{}, 0, tally{}, tally{}, false, Holder{}
	p.root, p.storage, p.life, p.shared = root, storage, nil, nil
	p.set.mu.Unlock()
	if err := p.lock(ctx); err != nil {
		p.giveBack(ctx)
		return err
	}
	if dir, err := root.Stat("."); err == nil { // as it is before its volumes are read, with the lock's file
		p.set.mu.Lock()
		p.modified = dir.ModTime()
		p.set.mu.Unlock()
	}
	return nil
}

// lock takes the pool for this server, alone or beside others.
func (p *Pool) lock(ctx context.Context) error {
	if dir, err := p.root.Stat("."); err != nil || !os.SameFile(dir, p.dir) {
		return fault.Errorf(fault.PoolUnavailable, "its directory was replaced just now")
	}
	r, err := p.storage.ask()
	if err == nil && r.readOnly {
		err = fault.Errorf(fault.PoolUnavailable, "its file system is read-only")
	}
	if err != nil {
		return err
	}
	if err := unix.Access(p.path, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return fault.Errorf(fault.PoolUnavailable, "this server may not write it: %s", err)
	}
	if !p.Settings().Shared {
		life, by, err := lockForLife(ctx, p.root, p.set.cfg.ServerID)
		p.set.mu.Lock()
		p.life, p.heldBy = life, by
		p.set.mu.Unlock()
		return err
	}
	if err := testLocks(ctx, p.root); err != nil {
		return err
	}
	shared := newShared(p.root, p.set.cfg.ServerID)
	if err := shared.join(ctx); err != nil {
		return err
	}
	p.set.mu.Lock()
	p.shared = shared
	p.set.mu.Unlock()
	return nil
}

// giveBack ends the use of a pool's directory, whether or not ctx has ended.
func (p *Pool) giveBack(ctx context.Context) {
	p.set.mu.Lock()
	p.counted = false
	p.set.mu.Unlock()
	if p.shared != nil {
		if err := p.shared.leave(context.WithoutCancel(ctx)); err != nil { // it gives up by itself
			p.set.log.Warn("pool left without telling the servers that share it", slog.String("pool", p.name), slog.Any("error", err))
		}
	}
	if p.life != nil {
		p.life.release()
	}
	p.storage.close()
	_ = p.root.Close()
}

// part begins to take a pool out of use. The caller holds mu.
func (s *Set) part(ctx context.Context, p *Pool) {
	switch p.phase {
	case found:
		p.phase = gone
		s.vanished = append(s.vanished, p)
	case attaching:
		p.phase = leaving
		p.cancel()
	case attached:
		p.phase = leaving
		s.work.Go(func() {
			p.quit()
			s.detach(p)
			p.giveBack(ctx)
			s.finish(p)
		})
	case leaving, gone:
	}
}

func (s *Set) detach(p *Pool) {
	if s.cfg.Detach != nil {
		s.cfg.Detach(p)
	}
}

// finish forgets a pool that is out of use.
func (s *Set) finish(p *Pool) {
	s.mu.Lock()
	p.phase = gone
	s.arrange()
	s.vanished = append(s.vanished, p)
	s.mu.Unlock()
	s.report()
	s.hurry() // what lies at its place now can be attached
}

// keep does what an attached pool needs from time to time, until ctx ends.
func (p *Pool) keep(ctx context.Context) {
	tick := time.NewTicker(p.set.cfg.Rescan)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.poked:
			p.tellChanged(ctx)
		case <-tick.C:
			if p.shared == nil {
				continue
			}
			if err := p.tend(ctx); err != nil && ctx.Err() == nil {
				p.Unwell(err)
			}
		}
	}
}
