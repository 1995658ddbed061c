package rbd

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// health is what is known of the cluster's state.
type health struct {
	mu    sync.Mutex
	err   error
	poked chan struct{}
}

// poke has the cluster asked at once, unless it is known to be gone: then it is asked in its time.
func (h *health) poke() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return
	}
	select {
	case h.poked <- struct{}{}:
	default:
	}
}

// Health returns why the cluster can't be used, or nil. It asks nobody.
func (s *Store) Health() error {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return s.health.err
}

// watch asks the cluster whether it is there, until ctx ends.
func (s *Store) watch(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Ping)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.health.poked:
		}
		err := s.during(ctx, "ask the cluster", s.cfg.Limit, s.d.Ping)
		if ctx.Err() != nil {
			return
		}
		s.health.mu.Lock()
		changed := (err == nil) != (s.health.err == nil)
		s.health.err = err
		s.health.mu.Unlock()
		if !changed {
			continue
		}
		if err != nil {
			s.cfg.Log.Warn("cluster lost", slog.String("ceph_pool", s.cfg.Pool), slog.Any("error", err))
		} else {
			s.cfg.Log.Info("cluster back", slog.String("ceph_pool", s.cfg.Pool))
		}
		if s.cfg.Changed != nil {
			s.cfg.Changed()
		}
	}
}
