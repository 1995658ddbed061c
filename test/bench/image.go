package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	uploaded  = 4 << 30   // bytes of the image that is uploaded
	published = 512 << 20 // bytes of the cloud image
)

// images measures images on their way in: an upload beside cp, and volumes made of a cloud image.
func images(ctx context.Context, env environment) (rows []row, err error) {
	root := filepath.Join(env.dir, "root")
	if _, err := furnish(root, 0); err != nil {
		return nil, err
	}
	s, err := startServer(ctx, env, root, "--fetch-private")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	rows, err = upload(ctx, env, s)
	if err != nil {
		return rows, err
	}
	second, err := secondMachine(ctx, env, s)
	return append(rows, second), err
}

// upload compares the upload of an image, which is answered when it is on stable storage, with cp and sync.
func upload(ctx context.Context, env environment, s *server) ([]row, error) {
	source, copied := filepath.Join(env.dir, "source"), filepath.Join(env.dir, "copied")
	if err := noise(source, uploaded); err != nil {
		return nil, err
	}
	defer os.Remove(source)
	var ours, peer []time.Duration
	var grown int64
	for range 3 {
		began := time.Now()
		for _, command := range [][]string{{"cp", "--reflink=never", source, copied}, {"sync", copied}} {
			if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("%s: %w: %s", command[0], err, out)
			}
		}
		peer = append(peer, time.Since(began))
		if err := os.Remove(copied); err != nil {
			return nil, err
		}
		took, more, err := s.upload(ctx, source)
		if err != nil {
			return nil, err
		}
		ours, grown = append(ours, took), max(grown, more)
	}
	speed := func(took time.Duration) string { return fmt.Sprintf("%.0f MB/s", uploaded/1e6/took.Seconds()) }
	ratio := float64(median(peer)) / float64(median(ours))
	const most = 32 << 20
	return []row{
		{what: "upload of 4 GiB; cp and sync", ours: speed(median(ours)), peer: speed(median(peer)), ratio: fmt.Sprintf("%.2f", ratio), goal: "0.8 times cp", missed: ratio < 0.8},
		{what: "upload of 4 GiB: memory", ours: fmt.Sprintf("%.1f MiB more", float64(grown)/(1<<20)), goal: "32 MiB", missed: grown > most},
	}, nil
}

// upload makes a volume of a file's content, and destroys it. grown is how much memory the server had at most more than before.
func (s *server) upload(ctx context.Context, source string) (took time.Duration, grown int64, err error) {
	answer, _, err := s.post(ctx, "/create", map[string]any{"creatorID": owner, "name": "upload", "size": float64(uploaded) / 1e9})
	if err != nil {
		return 0, 0, err
	}
	var made struct{ VID string }
	if err := json.Unmarshal(answer, &made); err != nil {
		return 0, 0, err
	}
	f, err := os.Open(source)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	// 5 has the kernel forget the peak: proc(5), clear_refs.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0); err != nil {
		return 0, 0, err
	}
	before, err := peak(s.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.url+"/volumes/"+made.VID+"/data", f)
	if err != nil {
		return 0, 0, err
	}
	req.ContentLength = uploaded
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	took = time.Since(began)
	if err != nil || resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("upload: %s: %s, %w", resp.Status, said, err)
	}
	after, err := peak(s.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	_, _, err = s.post(ctx, "/destroy", map[string]any{"volume_id": made.VID, "purge": true})
	return took, after - before, err
}

// secondMachine measures the second volume of a cloud image, whose list of checksums stands beside it.
func secondMachine(ctx context.Context, env environment, s *server) (row, error) {
	dir := filepath.Join(env.dir, "published")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return row{}, err
	}
	image := filepath.Join(dir, "image.raw")
	if err := noise(image, published); err != nil {
		return row{}, err
	}
	f, err := os.Open(image)
	if err != nil {
		return row{}, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return row{}, err
	}
	list := hex.EncodeToString(sum.Sum(nil)) + "  image.raw\n"
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(list), 0o644); err != nil {
		return row{}, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return row{}, err
	}
	publisher := &http.Server{Handler: http.FileServer(http.Dir(dir))}
	go func() { _ = publisher.Serve(listener) }()
	defer publisher.Close()
	var times []time.Duration
	for i := range 11 {
		_, took, err := s.post(ctx, "/cloudinit/create", map[string]any{
			"creatorID": owner, "name": fmt.Sprint("web", i), "overlay": true, "size": 10, "url": "http://" + listener.Addr().String() + "/image.raw",
		})
		if err != nil {
			return row{}, err
		}
		times = append(times, took)
	}
	const most = 100 * time.Millisecond
	again := median(times[1:])
	return row{
		what: "second volume of a cloud image of 512 MiB; the first", ours: again.Round(100 * time.Microsecond).String(), peer: times[0].Round(time.Millisecond).String(),
		ratio: fmt.Sprintf("%.0f", float64(times[0])/float64(again)), goal: "under " + most.String(), missed: again > most,
	}, nil
}

// noise makes a file of bytes without any order or holes.
func noise(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{1}), size); err != nil {
		return err
	}
	return f.Sync()
}
