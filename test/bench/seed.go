package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"elstore/cloudinit"
	"elstore/iso"
)

// seeds compares building images with genisoimage, run as a process as whoever has no library does.
func seeds(ctx context.Context, env environment) ([]row, error) {
	three := cloudinit.Files{
		"user-data": []byte("#cloud-config\nhostname: web1\n"), "meta-data": []byte("instance-id: web1\n"), "network-config": []byte("version: 2\n"),
	}
	many := map[string][]byte{}
	for i := range 200 {
		data := make([]byte, 250_000) // 50 MB together
		for j := range data {
			data[j] = byte(i ^ j ^ j>>8)
		}
		many[fmt.Sprintf("file%03d", i)] = data
	}
	var rows []row
	for _, b := range []struct {
		what  string
		files map[string][]byte
		times int
		build func() error
		least float64       // ratio
		most  time.Duration // 0 is any
	}{
		{"image of a seed of 3 files", three, 50, func() error { _, err := cloudinit.Image(three); return err }, 5, 5 * time.Millisecond},
		{"image of 200 files, 50 MB", many, 5, func() error { _, err := iso.Build(iso.Config{Label: "BENCH", Files: many}); return err }, 0.8, 0},
	} {
		dir := filepath.Join(env.dir, fmt.Sprint(len(b.files)))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return rows, err
		}
		for name, data := range b.files {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				return rows, err
			}
		}
		ours, err := timed(b.times, b.build)
		if err != nil {
			return rows, err
		}
		r := row{what: b.what, ours: ours.String(), missed: b.most > 0 && ours > b.most}
		if b.most > 0 {
			r.goal = "under " + b.most.String() + ", "
		}
		r.goal += fmt.Sprintf("%.1f times genisoimage", b.least)
		if _, err := exec.LookPath("genisoimage"); err == nil {
			peer, err := timed(b.times, func() error {
				return exec.CommandContext(ctx, "genisoimage", "-quiet", "-R", "-J", "-V", "cidata", "-o", filepath.Join(env.dir, "peer.iso"), dir).Run()
			})
			if err != nil {
				return rows, fmt.Errorf("genisoimage: %w", err)
			}
			ratio := float64(peer) / float64(ours)
			r.peer, r.ratio = peer.String(), fmt.Sprintf("%.1f", ratio)
			r.missed = r.missed || ratio < b.least
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// timed is the median of how long fn takes.
func timed(times int, fn func() error) (time.Duration, error) {
	took := make([]time.Duration, times)
	for i := range took {
		began := time.Now()
		if err := fn(); err != nil {
			return 0, err
		}
		took[i] = time.Since(began)
	}
	return median(took).Round(time.Microsecond), nil
}
