//go:build ceph

package rbd_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"

	"elstore/test/ceph"
	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/rbd"
)

// TestRequestsOnCeph has many requests of a real image under way, in every kind of memory, while the garbage collector is at work.
func TestRequestsOnCeph(t *testing.T) {
	cluster := ceph.Start(t)
	s, err := rbd.Open(t.Context(), rbd.Config{Pool: ceph.Pool, Conf: cluster.Conf(), Keyring: cluster.Keyring(), ServerID: "server"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, s.Close()) }()
	const workers, area = 32, 1 << 20
	name, _ := s.New(volume.NewID())
	must(t, s.Create(name, workers*area))
	d := open(t, s, name)
	var all sync.WaitGroup
	for w := range workers {
		random := rand.New(rand.NewPCG(uint64(w), 1))
		all.Go(func() {
			if err := exercise(d, random, int64(w)*area, area); err != nil {
				t.Error(err)
			}
		})
	}
	collected := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(collected)
		for {
			select {
			case <-ended:
				return
			default:
				runtime.GC()
			}
		}
	}()
	all.Wait()
	close(ended)
	<-collected

	// What is under way when the image is closed ends well, or is not begun.
	for range workers {
		all.Go(func() {
			p := make([]byte, 64<<10)
			for {
				if _, err := d.WriteAt(p, 0); err != nil {
					return
				}
			}
		})
	}
	must(t, d.Close())
	all.Wait()
	clone, _ := s.New(volume.NewID())
	must(t, s.Clone(name, "", clone))
	var told int64
	must(t, s.Flatten(t.Context(), clone, func(done, total int64) {
		if done > total || done < told {
			t.Errorf("of %d objects %d are flattened, after %d were", total, done, told)
		}
		told = done
	}))
	if told == 0 {
		t.Error("nobody was told of flattening")
	}
	must(t, s.Remove(clone))
	must(t, s.Remove(name))
}

// exercise does all that can be done to a part of a Device, and holds it against memory.
func exercise(d volume.Device, random *rand.Rand, start, size int64) error {
	want := make([]byte, size)
	for range 40 {
		off := random.Int64N(size/512) * 512
		length := min((1+random.Int64N(256))*512, size-off)
		p := want[off : off+length]
		var err error
		switch random.IntN(5) {
		case 0:
			clear(p)
			err = d.Discard(start+off, length)
		case 1:
			clear(p)
			err = d.WriteZeroes(start+off, length, random.IntN(2) == 0)
		case 2:
			fill(p, random)
			_, err = d.WriteAt(bytes.Clone(p), start+off)
		default:
			fill(p, random)
			_, err = d.(volume.VectorWriter).WriteVectorAt(cut(bytes.Clone(p), random), start+off)
		}
		if err != nil {
			return err
		}
		off = random.Int64N(size)
		is := make([]byte, random.Int64N(size-off+1))
		if _, err := d.ReadAt(is, start+off); err != nil {
			return err
		}
		if !bytes.Equal(is, want[off:off+int64(len(is))]) {
			return fmt.Errorf("%d bytes at %d are not what was written", len(is), start+off)
		}
	}
	return nil
}

func fill(p []byte, random *rand.Rand) {
	for i := range p {
		p[i] = byte(random.Uint32())
	}
}

// cut cuts p in many pieces, some of which are empty.
func cut(p []byte, random *rand.Rand) (pieces [][]byte) {
	for len(p) > 0 {
		n := min(random.IntN(1024), len(p))
		pieces = append(pieces, p[:n])
		p = p[n:]
	}
	return pieces
}

// TestRefusedByCeph has a cluster refuse connections again and again, as a pool with a wrong key makes it: nothing is left of them, with no
// garbage collector to help.
func TestRefusedByCeph(t *testing.T) {
	cluster := ceph.Start(t)
	keyring := filepath.Join(t.TempDir(), "keyring")
	must(t, os.WriteFile(keyring, []byte("[client.admin]\n\tkey = AQBkkhRnAAAAABAAfPGP7nd9GyFbbBYxHxVbTw==\n"), 0o600))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	refused := func() {
		_, err := rbd.Open(t.Context(), rbd.Config{Pool: ceph.Pool, Conf: cluster.Conf(), Keyring: keyring, ServerID: "server"})
		if fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("opened with a wrong key: %v", err)
		}
	}
	refused()
	before := threads(t)
	const times = 10
	for range times {
		refused()
	}
	if after := threads(t); after >= before+times {
		t.Errorf("%d threads run after %d connections were refused, and %d did before", after, times, before)
	}
}

// threads returns how many threads this process has.
func threads(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/task")
	must(t, err)
	return len(list)
}

// TestCephCacheStaysOff has a cluster whose settings ask every client for a cache that holds back what is written. Another client sees it at once
// all the same.
func TestCephCacheStaysOff(t *testing.T) {
	cluster := ceph.Start(t)
	s, err := rbd.Open(t.Context(), rbd.Config{Pool: ceph.Pool, Conf: cluster.Conf(), Keyring: cluster.Keyring(), ServerID: "server"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, s.Close()) }()
	for _, level := range []string{"image", "pool"} {
		t.Run(level, func(t *testing.T) {
			const size = 1 << 20
			name, _ := s.New(volume.NewID())
			must(t, s.Create(name, size))
			of := ceph.Pool
			if level == "image" {
				of += "/" + name
			}
			for key, value := range map[string]string{"rbd_cache": "true", "rbd_cache_policy": "writeback", "rbd_cache_writethrough_until_flush": "false"} {
				_, err := cluster.RBD(t.Context(), "config", level, "set", of, key, value)
				must(t, err)
			}
			d := open(t, s, name)
			data := bytes.Repeat([]byte("data"), size/4)
			_, err := d.WriteAt(data, 0)
			must(t, err)
			file := filepath.Join(t.TempDir(), "image")
			_, err = cluster.RBD(t.Context(), "export", "--no-progress", ceph.Pool+"/"+name, file)
			must(t, err)
			if is, err := os.ReadFile(file); err != nil || !bytes.Equal(is, data) {
				t.Errorf("another client does not see what was written, %v", err)
			}
			must(t, d.Close())
		})
	}
}
