//go:build ceph

package file_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"elstore/test/ceph"
	"elstore/volume"
	"elstore/volume/file"
	"elstore/volume/rbd"
	"elstore/volume/volumetest"
)

// recorded is a Store that tells which names it gave.
type recorded struct {
	*rbd.Store
	names *names
}

type names struct {
	mu  sync.Mutex
	all []string
}

func (r recorded) New(id volume.ID) (string, []byte) {
	name, ref := r.Store.New(id)
	r.names.mu.Lock()
	defer r.names.mu.Unlock()
	r.names.all = append(r.names.all, name)
	return name, ref
}

// TestContractOnCeph is the proof that a real cluster does as the model does.
func TestContractOnCeph(t *testing.T) {
	cluster := ceph.Start(t)
	volumetest.Run(t, func(t testing.TB) volumetest.Storage { return onCeph(t, cluster) })
}

// TestFaultsOnCeph lets the changes of the pool's directory fail, with the cluster doing its part.
func TestFaultsOnCeph(t *testing.T) {
	cluster := ceph.Start(t)
	make := func(t testing.TB) volumetest.Storage { return onCeph(t, cluster) }
	volumetest.Faults(t, make, "restore rbd")
}

func onCeph(t testing.TB, cluster *ceph.Running) volumetest.Storage {
	t.Helper()
	pool := t.TempDir()
	var given names
	open := func(step func(string) error) (volume.Backend, error) {
		store, err := rbd.Open(t.Context(), rbd.Config{Pool: ceph.Pool, Conf: cluster.Conf(), Keyring: cluster.Keyring(), ServerID: "server"})
		if err != nil {
			return nil, err
		}
		cfg := file.Config{Dir: pool, Images: recorded{store, &given}}
		return file.Open(t.Context(), cfg.Stepped(func(op, name string) error { return step(op + " " + name) }))
	}
	return volumetest.Storage{
		Open: open,
		Kill: func(b volume.Backend) { b.(*file.Backend).Kill() },
		Leftovers: func(t testing.TB) []string {
			left := leftovers(t, pool, false)
			known := references(t, pool)
			all, err := cluster.RBD(context.Background(), "ls", ceph.Pool)
			trash, terr := cluster.RBD(context.Background(), "trash", "ls", ceph.Pool)
			if err != nil || terr != nil {
				t.Fatal(err, terr)
			}
			there := strings.Fields(string(all) + " " + string(trash))
			given.mu.Lock()
			defer given.mu.Unlock()
			for _, name := range given.all {
				if slices.Contains(there, name) != slices.Contains(known, name) {
					left = append(left, name)
				}
			}
			return left
		},
	}
}
