package rig

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"elstore/iso"
	"elstore/pool"
	"elstore/test/rbdmodel"
	"elstore/volume"
	"elstore/volume/file"
	"elstore/volume/qemu"
	"elstore/volume/rbd"
)

// Parts is the inside of a server in the test's own process, put together as `elstore serve` does.
type Parts struct {
	Volumes *volume.Service
	Pools   *pool.Set
	Events  *volume.Events
	Jobs    *volume.Jobs
	Keys    *volume.Keys
	State   *os.Root
	Cluster *rbdmodel.Cluster // a model, where the images of pools on Ceph lie

	Exported func(id volume.ID, dir *os.Root) string // of whoever exports the volumes; nil: nobody
}

// Assemble makes the parts of a server on root and reads its pools. change may alter the Service's configuration, nil
// leaves it. Everything is closed with the test.
func Assemble(t testing.TB, root string, change func(*volume.Config)) *Parts {
	t.Helper()
	p := &Parts{Events: volume.NewEvents(1000), Cluster: rbdmodel.New()}
	log := slog.New(slog.DiscardHandler)
	state, err := os.OpenRoot(t.TempDir())
	must(t, err)
	p.State = state
	t.Cleanup(func() { state.Close() })
	tool, err := qemu.New(qemu.Config{})
	must(t, err)
	opener, err := qemu.NewOpener(qemu.OpenerConfig{})
	must(t, err)
	p.Pools, err = pool.New(pool.Config{
		Root: root, ServerID: volume.NewID().String(), Log: log,
		Attach: func(ctx context.Context, at *pool.Pool) (volume.Caps, error) {
			s := at.Settings()
			var images file.Images
			if s.Ceph != nil {
				images = rbd.NewStore(rbd.Config{Pool: s.Ceph.Pool, ServerID: "server"}, p.Cluster.Client(nil))
			}
			b, err := file.Open(ctx, file.Config{Dir: at.Path(), Unique: s.Unique, Shared: s.Shared, Tool: tool, Opener: opener, Log: log, Images: images})
			if err != nil {
				return volume.Caps{}, err
			}
			t.Cleanup(func() { b.Close() })
			return b.Caps(), p.Volumes.AddPool(ctx, at, b)
		},
		Detach: func(at *pool.Pool) { p.Volumes.RemovePool(at.Name()) },
	})
	must(t, err)
	cfg := volume.Config{Pools: p.Pools, Events: p.Events, Log: log, State: state, Inspect: qemu.Inspector{Tool: tool}, ISO: iso.Inspector{}}
	cfg.Exported = func(id volume.ID, dir *os.Root) string {
		if p.Exported == nil {
			return ""
		}
		return p.Exported(id, dir)
	}
	if change != nil {
		change(&cfg)
	}
	p.Volumes, err = volume.New(cfg)
	must(t, err)
	p.Jobs, err = volume.NewJobs(volume.JobsConfig{Events: p.Events, Log: log, State: state})
	must(t, err)
	p.Keys, err = volume.NewKeys(state)
	must(t, err)
	must(t, p.Pools.Rescan(t.Context()))
	t.Cleanup(func() {
		p.Jobs.Stop(context.Background())
		must(t, p.Volumes.Close())
		must(t, p.Pools.Close())
	})
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
