package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"elstore/api"
	v1 "elstore/api/v1"
	"elstore/cloudinit"
	"elstore/export"
	"elstore/export/iscsi"
	"elstore/export/network"
	"elstore/iso"
	"elstore/livemigration"
	"elstore/pool"
	"elstore/volume"
	"elstore/volume/fetch"
	"elstore/volume/file"
	"elstore/volume/qemu"
	"elstore/volume/rbd"
)

// sweepInterval is how often bins and idempotency keys are looked through for what is too old.
const sweepInterval = time.Minute

// server is the parts of a running elstore, put together.
type server struct {
	log       *slog.Logger
	state     *state
	guards    *guards
	listeners []net.Listener
	debug     net.Listener // nil unless asked for
	watch     observation
	tool      *qemu.Tool
	opener    *qemu.Opener
	fetch     *fetch.Client
	events    *volume.Events
	jobs      *volume.Jobs
	keys      *volume.Keys
	volumes   *volume.Service
	seeds     *cloudinit.Service
	pools     *pool.Set
	portals   []net.Listener // of iSCSI
	target    *iscsi.Server
	nbds      []net.Listener // of NBD with TLS
	network   *network.Kind
	smb       net.Addr // of exports over SMB; nil where there are none
	exports   *export.Service

	smbListener net.Listener // that keeps smb for an smbd of our own

	migrations *livemigration.Service

	mu       sync.Mutex
	backends map[string]*file.Backend // by the name of the pool
	clusters map[string]*rbd.Store    // likewise, of pools on Ceph
}

// newServer takes the state directory and the addresses, and makes the parts. Nothing is read or changed in a pool yet.
func newServer(ctx context.Context, o options, log *slog.Logger) (_ *server, err error) {
	s := &server{log: log, backends: map[string]*file.Backend{}, clusters: map[string]*rbd.Store{}}
	defer func() { //nolint:contextcheck // as above all when ctx has ended
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	networks, err := o.networks()
	if err != nil {
		return nil, err
	}
	if s.state, err = openState(ctx, o.state); err != nil {
		return nil, err
	}
	if s.guards, err = newGuards(s.state, o, log); err != nil {
		return nil, err
	}
	given, err := inherit()
	if err != nil {
		return nil, err
	}
	// The addresses are taken before the pools are recovered, so that who connects meanwhile waits and is not refused.
	if s.listeners, err = given.listenAPI(ctx, o.insecure || o.accessControl, o.listen); err != nil {
		return nil, err
	}
	if err = o.secure(s.listeners, s.guards.clients, log); err != nil {
		return nil, err
	}
	if s.debug, err = listenDebug(ctx, o.debugListen); err != nil {
		return nil, err
	}
	if s.portals, err = listenISCSI(ctx, o, given[iscsiSocket]); err != nil {
		return nil, err
	}
	if s.nbds, err = listenNBD(ctx, o); err != nil {
		return nil, err
	}
	if s.smb, s.smbListener, err = listenSamba(ctx, o); err != nil {
		return nil, err
	}
	if s.tool, err = qemu.New(qemu.Config{}); err != nil {
		return nil, err
	}
	if s.opener, err = qemu.NewOpener(qemu.OpenerConfig{Log: log}); err != nil {
		return nil, err
	}
	s.fetch = fetch.New(fetch.Config{AllowPrivate: o.fetchPrivate, AllowedNetworks: networks, UserAgent: "elstore/" + version})
	s.events = volume.NewEvents(s.state.revision)
	if s.jobs, err = volume.NewJobs(volume.JobsConfig{Events: s.events, Log: log, State: s.state.root, Observe: s.observeJob}); err != nil {
		return nil, err
	}
	if s.keys, err = volume.NewKeys(s.state.root); err != nil {
		return nil, err
	}
	s.pools, err = pool.New(pool.Config{
		Root: o.root, Log: log, ServerID: s.state.serverID, Rescan: o.rescan,
		Attach: s.attach, Detach: s.detach, Changed: s.changed, Check: s.check,
		Notify: func(name string) { s.events.Publish(volume.Event{Type: volume.EventPool, Pool: name}) },
	})
	if err != nil {
		return nil, err
	}
	s.volumes, err = volume.New(volume.Config{
		Pools: s.pools, Events: s.events, Log: log, Fetch: fetcher{s.fetch}, Inspect: qemu.Inspector{Tool: s.tool}, ISO: iso.Inspector{},
		State: s.state.root, ImportDirs: o.importDirs, LockWait: o.lockWait, Held: s.held,
		Exported: s.exported,
	})
	if err != nil {
		return nil, err
	}
	s.seeds = cloudinit.NewService(cloudinit.Config{Volumes: s.volumes, Log: log, Fetch: fetcher{s.fetch}, Schema: cloudinit.FindSchema()})
	if err := s.newExports(o); err != nil { //nolint:contextcheck // what it puts in order has deadlines of its own
		return nil, err
	}
	s.migrations, err = livemigration.New(livemigration.Config{Exports: s.exports, Events: s.events, Log: log, State: s.state.root})
	return s, err
}

// run recovers the pools, opens the API, and serves until ctx ends; then it lets work that runs end for a while.
func (s *server) run(ctx context.Context, o options) error {
	addresses, portals := addressesOf(s.listeners), addressesOf(s.portals)
	ready := map[string]any{"api": addresses, "iscsi": portals, "pid": os.Getpid()}
	if len(s.nbds) > 0 {
		ready["nbd"] = addressesOf(s.nbds)
	}
	if s.smb != nil {
		ready["samba"] = s.smb.String()
	}
	s.log.Info("elstore starts", slog.Any("api", addresses), slog.Any("iscsi", portals), slog.String("version", version), slog.String("root", o.root),
		slog.Int("pid", os.Getpid()))
	if err := s.tool.Available(); err != nil {
		s.log.Warn("no qcow2 volumes, conversions and imports", slog.Any("error", err))
	}
	if err := s.opener.Available(); err != nil {
		s.log.Warn("qcow2 volumes can't be used by machines", slog.Any("error", err))
	}
	began := time.Now()
	if err := s.pools.Rescan(ctx); err != nil {
		return err
	}
	s.exports.Restore(ctx)
	s.migrations.Restore(ctx)
	if err := s.seeds.Recover(ctx); err != nil {
		return err
	}
	if err := s.observe(ctx, ctx.Done()); err != nil {
		return err
	}
	handler := api.New(api.Config{
		Log: s.log, Access: s.guards.control, Audit: s.guards.audit,
		Top: s.watch.metrics.Routes(), Observers: s.watch.requests(),
		Routes: v1.New(v1.Config{
			Volumes: s.volumes, Pools: s.pools, Jobs: s.jobs, Events: s.events, Keys: s.keys, Exports: s.exports, Version: version,
			ISO: iso.NewService(s.volumes), Seeds: s.seeds, Migrations: s.migrations,
			Tokens: s.guards.tokens, Audit: s.guards.audit,
		}).Routes(),
	})
	web := api.NewServer(handler, s.log) //nolint:contextcheck // requests end with Shutdown, not with ctx
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { s.pools.Run(work) })
	wg.Go(func() { s.volumes.Run(work, sweepInterval) })
	wg.Go(func() { s.sweepKeys(work) })
	wg.Go(func() { s.exports.Run(work) })
	wg.Go(func() { s.migrations.Run(work) })
	failed := make(chan error, len(s.listeners)+len(s.portals)+len(s.nbds))
	for _, l := range s.portals {
		wg.Go(func() { failed <- s.target.Serve(l) }) //nolint:contextcheck // sessions end with Shutdown, not with ctx
	}
	for _, l := range s.nbds {
		wg.Go(func() { failed <- s.network.Listen(l) })
	}
	for _, l := range s.listeners {
		wg.Go(func() { failed <- web.Serve(l) })
	}
	if s.debug != nil {
		ready["debug"] = s.debug.Addr().String()
		inside := newDebugServer(s.log) //nolint:contextcheck // as above
		defer inside.Close()            //nolint:errcheck // nobody waits for its answers
		wg.Go(func() { _ = inside.Serve(s.debug) })
	}
	if err := writeReady(o.readyFile, ready); err != nil {
		return errors.Join(fmt.Errorf("--ready-file: %w", err), web.Close())
	}
	s.log.Info("ready", slog.Any("api", addresses), slog.Any("iscsi", portals), slog.Any("nbd", ready["nbd"]), slog.Any("samba", ready["samba"]), slog.Int64("took_ms", time.Since(began).Milliseconds()))
	supervision, end := context.WithCancel(ctx)
	defer end()
	wg.Go(func() { s.supervised(supervision, "serving "+o.root) })
	var err error
	select {
	case <-ctx.Done():
		s.log.Info("stopping", slog.Duration("grace", o.grace))
	case err = <-failed:
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
	}
	// First the work, whose callers wait for their answers, then the connections.
	grace, cancel := context.WithTimeout(work, o.grace)
	defer cancel()
	s.jobs.Stop(grace)
	s.events.End()
	if serr := web.Shutdown(grace); serr != nil {
		err = errors.Join(err, web.Close())
	}
	// Then the machines: they are asked to log out, and find their volumes again when a server is back.
	err = errors.Join(err, s.exports.Close(grace))
	s.watch.traces.close(grace)
	return err
}

// held refuses to change volumes that migrate. Nothing is changed before there are migrations.
func (s *server) held(id volume.ID) error { return s.migrations.Held(id) }

// exported refuses to change volumes whose exports are recorded and don't stand. Nothing is changed before there are exports.
func (s *server) exported(id volume.ID, dir *os.Root) string { return s.exports.Recorded(id, dir) }

func addressesOf(listeners []net.Listener) []string {
	addresses := make([]string, len(listeners))
	for i, l := range listeners {
		addresses[i] = l.Addr().String()
	}
	return addresses
}

func (s *server) sweepKeys(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if _, err := s.keys.Sweep(ctx); err != nil {
				s.log.Warn("idempotency keys not swept", slog.Any("error", err))
			}
		}
	}
}

// attach opens a pool's backend and takes up its volumes.
func (s *server) attach(ctx context.Context, p *pool.Pool) (volume.Caps, error) {
	settings := p.Settings()
	images, err := s.images(ctx, p)
	if err != nil {
		return volume.Caps{}, err
	}
	b, err := file.Open(ctx, file.Config{
		Dir: p.Path(), Unique: settings.Unique, Shared: settings.Shared, Tool: s.tool, Opener: s.opener, ServerID: s.state.serverID, Log: s.log,
		Images: images,
	})
	if err != nil {
		s.part(p)
		if images != nil {
			err = errors.Join(err, images.Close())
		}
		return volume.Caps{}, err
	}
	if err := s.volumes.AddPool(ctx, p, b); err != nil {
		s.part(p)
		return volume.Caps{}, errors.Join(err, b.Close())
	}
	s.mu.Lock()
	s.backends[p.Name()] = b
	s.mu.Unlock()
	return b.Caps(), nil
}

// detach makes a pool's volumes unavailable.
func (s *server) detach(p *pool.Pool) {
	s.volumes.RemovePool(p.Name())
	s.mu.Lock()
	b := s.backends[p.Name()]
	delete(s.backends, p.Name())
	s.mu.Unlock()
	s.part(p)
	if b != nil {
		if err := b.Close(); err != nil {
			s.log.Warn("pool not closed in order", slog.String("pool", p.Name()), slog.Any("error", err))
		}
	}
}

// changed looks at a pool whose directory changed without us.
func (s *server) changed(ctx context.Context, p *pool.Pool) {
	came, went, err := s.volumes.Refresh(ctx, p.Name())
	switch {
	case err != nil:
		s.log.Warn("pool not read again", slog.String("pool", p.Name()), slog.Any("error", err))
	case came+went > 0:
		s.log.Info("volumes came or went", slog.String("pool", p.Name()), slog.Int("came", came), slog.Int("went", went))
	}
}

// close ends what newServer began, in the opposite order.
func (s *server) close() error {
	var errs []error
	if s.jobs != nil {
		s.jobs.Stop(context.Background())
	}
	if s.target != nil {
		errs = append(errs, s.target.Close())
	}
	if s.exports != nil {
		errs = append(errs, s.exports.Close(context.Background()))
	}
	if s.volumes != nil {
		errs = append(errs, s.volumes.Close())
	}
	if s.pools != nil {
		errs = append(errs, s.pools.Close())
	}
	s.mu.Lock()
	for _, b := range s.backends {
		errs = append(errs, b.Close())
	}
	s.mu.Unlock()
	if s.fetch != nil {
		s.fetch.Close()
	}
	for _, l := range []net.Listener{s.smbListener, s.debug} {
		if l != nil {
			s.listeners = append(s.listeners, l)
		}
	}
	for _, l := range slices.Concat(s.listeners, s.portals, s.nbds) {
		if err := l.Close(); err != nil && !strings.Contains(err.Error(), net.ErrClosed.Error()) {
			errs = append(errs, err)
		}
	}
	if s.guards != nil {
		errs = append(errs, s.guards.close())
	}
	if s.state != nil {
		s.state.close()
	}
	return errors.Join(errs...)
}
