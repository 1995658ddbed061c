package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	owner  = "00000000000000000000000000000001" // of listed volumes, which only it sees
	others = "00000000000000000000000000000002"
	listed = 1000
	pools  = 4
)

// scale measures a server with very many volumes. There is no peer that has so many in directories.
func scale(ctx context.Context, env environment) (rows []row, err error) {
	root := filepath.Join(env.dir, "root")
	ids, err := furnish(root, env.volumes)
	if err != nil {
		return nil, err
	}
	empty := filepath.Join(env.dir, "empty")
	if _, err := furnish(empty, 0); err != nil {
		return nil, err
	}
	first, err := startServer(ctx, env, empty)
	if err != nil {
		return nil, err
	}
	defer first.stop()
	s, err := startServer(ctx, env, root)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	what := func(text string) string { return fmt.Sprintf("%d volumes: %s", env.volumes, text) }
	rows = append(rows, atMost(what("ready after a cold start"), s.ready, 6*time.Second))

	info, err := times(ctx, 20_000, func(ctx context.Context, i int) (time.Duration, error) {
		_, took, err := s.post(ctx, "/info", map[string]any{"volume_id": ids[rand.IntN(len(ids))]})
		return took, err
	})
	if err != nil {
		return rows, err
	}
	rows = append(rows, atMost(what("/info, p99"), quantile(info, 0.99), 2*time.Millisecond))

	accessible, err := whileCreating(ctx, s, func() ([]time.Duration, error) {
		return times(ctx, 500, func(ctx context.Context, i int) (time.Duration, error) {
			_, took, err := s.post(ctx, "/accessible", map[string]any{"client_uid": owner})
			return took, err
		})
	})
	if err != nil {
		return rows, err
	}
	rows = append(rows, atMost(what("/accessible of 1,000 while creates run, p99"), quantile(accessible, 0.99), 20*time.Millisecond))

	// Interleaved, so that the disk's mood is the same for both.
	var few, many []time.Duration
	for range 300 {
		for s, list := range map[*server]*[]time.Duration{first: &few, s: &many} {
			took, err := create(ctx, s)
			if err != nil {
				return rows, err
			}
			*list = append(*list, took)
		}
	}
	a, b := quantile(many, 0.5), quantile(few, 0.5)
	ratio := float64(a) / float64(b)
	rows = append(rows, row{
		what: what("create one more, median; peer: in an empty server"), ours: a.String(), peer: b.String(),
		ratio: fmt.Sprintf("%.2f", ratio), goal: "<= 2", missed: ratio > 2,
	})
	memory, err := peak(s.cmd.Process.Pid)
	if err != nil {
		return rows, err
	}
	rows = append(rows, row{
		what: what("memory, the most"), ours: fmt.Sprintf("%d MB", memory/1e6), goal: "< 400 MB", missed: memory >= 400e6,
	})
	return rows, nil
}

func atMost(what string, took, goal time.Duration) row {
	return row{what: what, ours: took.Round(time.Microsecond).String(), goal: "<= " + goal.String(), missed: took > goal}
}

func create(ctx context.Context, s *server) (time.Duration, error) {
	_, took, err := s.post(ctx, "/create", map[string]any{"creatorID": others, "name": "one-more", "size": 1, "private": true})
	return took, err
}

// times calls fn n times, one after the other.
func times(ctx context.Context, n int, fn func(context.Context, int) (time.Duration, error)) ([]time.Duration, error) {
	list := make([]time.Duration, n)
	for i := range list {
		var err error
		if list[i], err = fn(ctx, i); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// whileCreating calls fn while another client makes volumes without a pause.
func whileCreating(ctx context.Context, s *server, fn func() ([]time.Duration, error)) ([]time.Duration, error) {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := create(ctx, s); err != nil && ctx.Err() == nil {
				failed = err
				return
			}
		}
	})
	list, err := fn()
	stop()
	wg.Wait()
	if err == nil {
		err = failed
	}
	return list, err
}

// furnish makes pools under root with n volumes in all, as an operator's script would: sparse raw images and their
// meta.json. The first of them belong to owner.
func furnish(root string, n int) (ids []string, err error) {
	for p := range pools {
		dir := filepath.Join(root, fmt.Sprintf("pool%d", p))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, "settings.json"), []byte(`{"max-volumes": 1000000}`), 0o644); err != nil {
			return nil, err
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		id := fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64())
		who := others
		if i < listed {
			who = owner
		}
		meta := fmt.Sprintf(`{"creatorID":%q,"name":"volume %d","private":true,"bootable":false,"readonly":false,"shareable":false,`+
			`"clonable":true,"alg":"cp","format":"raw","bus":"virtio","cloudinit":false,"ceph":false,"size":1000000000}`, who, i)
		if err := furnishOne(filepath.Join(root, fmt.Sprintf("pool%d", i%pools), "vid."+id+".elimg"), meta); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func furnishOne(dir, meta string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "data.img"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(1_000_000_000); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "meta.json"), []byte(meta), 0o600)
}
