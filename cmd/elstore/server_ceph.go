package main

import (
	"context"

	"elstore/pool"
	"elstore/volume/fault"
	"elstore/volume/file"
	"elstore/volume/rbd"
)

// images connects to the cluster that a pool's settings name, if they name one. Its backend parts with it.
func (s *server) images(ctx context.Context, p *pool.Pool) (file.Images, error) {
	c := p.Settings().Ceph
	if c == nil {
		return nil, nil //nolint:nilnil // most pools have none
	}
	store, err := rbd.Open(ctx, rbd.Config{
		Pool: c.Pool, Conf: c.Conf, User: c.User, Keyring: c.Keyring, ServerID: s.state.serverID, Log: s.log, Changed: s.pools.Recheck,
		Shared: p.Settings().Shared,
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.clusters[p.Name()] = store
	s.mu.Unlock()
	return store, nil
}

// part forgets a pool's cluster.
func (s *server) part(p *pool.Pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clusters, p.Name())
}

// cluster returns a pool's cluster, or nil.
func (s *server) cluster(name string) *rbd.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clusters[name]
}

// check tells why a pool's cluster can't be used now.
func (s *server) check(p *pool.Pool) error {
	if store := s.cluster(p.Name()); store != nil {
		if err := store.Health(); err != nil {
			return fault.Errorf(fault.PoolUnavailable, "its Ceph cluster can't be used: %w", err)
		}
	}
	return nil
}
