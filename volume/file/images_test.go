package file_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"elstore/test/need"
	"elstore/test/rbdmodel"
	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/file"
	"elstore/volume/rbd"
	"elstore/volume/volumetest"
)

// clustered makes empty pools below dir, each with a cluster of its own, for the suite.
func clustered(t testing.TB, dir string, cfg file.Config) volumetest.Storage {
	t.Helper()
	pool := poolIn(t, dir)
	cluster := rbdmodel.New()
	var mu sync.Mutex
	clients := map[volume.Backend]*rbdmodel.Client{}
	return volumetest.Storage{
		Open: func(step func(string) error) (volume.Backend, error) {
			client := cluster.Client(step)
			cfg := cfg
			cfg.Dir = pool
			cfg.Images = rbd.NewStore(rbd.Config{Pool: "volumes", ServerID: "server"}, client)
			b, err := file.Open(t.Context(), cfg.Stepped(func(op, name string) error { return step(op + " " + name) }))
			if err != nil {
				return nil, err
			}
			mu.Lock()
			clients[b] = client
			mu.Unlock()
			return b, nil
		},
		Kill: func(b volume.Backend) {
			b.(*file.Backend).Kill()
			mu.Lock()
			defer mu.Unlock()
			clients[b].Kill()
		},
		Leftovers: func(t testing.TB) []string {
			return append(leftovers(t, pool, false), stray(t, pool, cluster)...)
		},
	}
}

// stray lists the images of a cluster that no data.rbd names, and those that are named and not there.
func stray(t testing.TB, pool string, cluster *rbdmodel.Cluster) (left []string) {
	t.Helper()
	named, there := references(t, pool), cluster.Images()
	for _, image := range named {
		if !slices.Contains(there, image) {
			left = append(left, "no "+image)
		}
	}
	for _, image := range there {
		if needed := strings.HasPrefix(image, "elstore-parked.") && cluster.Needed(image); !needed && !slices.Contains(named, image) {
			left = append(left, image)
		}
	}
	return left
}

// references lists the images that the data.rbd files of a pool name.
func references(t testing.TB, pool string) (images []string) {
	t.Helper()
	for _, pattern := range []string{"vid.*/data.rbd", "elemento-bin/vid.*/data.rbd"} {
		files, err := filepath.Glob(filepath.Join(pool, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := rbd.ParseRef(data)
			if err != nil {
				t.Fatal(err)
			}
			images = append(images, ref.Image)
		}
	}
	return images
}

func TestContractOnACluster(t *testing.T) {
	t.Parallel()
	disk := need.Disk(t)
	volumetest.Run(t, func(t testing.TB) volumetest.Storage { return clustered(t, disk, file.Config{}) })
}

func TestFaultsOnACluster(t *testing.T) {
	t.Parallel()
	disk := need.Disk(t)
	volumetest.Faults(t, func(t testing.TB) volumetest.Storage { return clustered(t, disk, file.Config{}) }, clusterChanges...)
}

// TestFaultsOnAClusterWithoutExchange is TestFaultsOnACluster for what swaps files, on a file system that can't, such as NFS.
func TestFaultsOnAClusterWithoutExchange(t *testing.T) {
	t.Parallel()
	disk := need.Disk(t)
	volumetest.Faults(t, func(t testing.TB) volumetest.Storage {
		s := clustered(t, disk, file.Config{})
		open := s.Open
		s.Open = func(step func(string) error) (volume.Backend, error) {
			return open(func(op string) error {
				if err := step(op); err != nil {
					return err
				}
				if strings.HasPrefix(op, "exchange ") {
					return syscall.EINVAL
				}
				return nil
			})
		}
		return s
	}, "replace rbd", "replace rbd that has a clone")
}

// clusterChanges are those of volumetest.Faults that a cluster has a part in.
var clusterChanges = []string{
	"create rbd", "create rbd with zeros", "import into rbd", "clone rbd", "grow rbd", "grow rbd with zeros", "shrink rbd", "convert raw to rbd",
	"convert rbd to raw", "replace rbd", "replace rbd that has a clone", "trash rbd", "restore rbd", "purge rbd", "purge rbd that has a clone",
	"purge rbd from the bin",
}

func TestContractOnAClusterWithQCOW2(t *testing.T) {
	t.Parallel()
	disk := need.Disk(t)
	cfg := file.Config{Tool: tool(t), Opener: opener(t)}
	volumetest.Run(t, func(t testing.TB) volumetest.Storage { return clustered(t, disk, cfg) })
}

func TestAnImageOnAClusterHasNoPath(t *testing.T) {
	s := clustered(t, t.TempDir(), file.Config{})
	backend, err := s.Open(func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	b := backend.(*file.Backend)
	defer b.Close()
	if err := b.Scan(t.Context(), func(volume.Found) error { return nil }); err != nil {
		t.Fatal(err)
	}
	m := raw(1 << 20)
	m.Format = volume.RBD
	id, m, err := newVolume(t, b, m, volume.Content{})
	if err != nil {
		t.Fatal(err)
	}
	err = under(t, b, id, func(h volume.Held) error {
		if err := h.Idle(t.Context(), m); !fault.Is(err, fault.BadRequest) {
			t.Errorf("Idle: %v", err)
		}
		if _, err := h.Lend(t.Context(), m); !fault.Is(err, fault.BadRequest) {
			t.Errorf("Lend: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
