package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	manyExports = 1000
	standing    = 250 // exports that a server restores
)

// exports measures /export of raw volumes over iSCSI, beside what the disk takes to make an answer like it durable, and how
// soon exports stand again.
func exports(ctx context.Context, env environment) ([]row, error) {
	root := filepath.Join(env.dir, "root")
	ids, err := furnish(root, manyExports)
	if err != nil {
		return nil, err
	}
	s, err := startServer(ctx, env, root)
	if err != nil {
		return nil, err
	}
	defer func() { s.stop() }()
	before, err := peak(s.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	var disk, took []time.Duration
	for _, id := range ids {
		d, err := replaceThrice(env.dir)
		if err != nil {
			return nil, err
		}
		t, err := export(ctx, s, id)
		if err != nil {
			return nil, err
		}
		disk, took = append(disk, d), append(took, t)
	}
	after, err := peak(s.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	each := (after - before) / manyExports
	p99, least := quantile(took, 0.99), quantile(disk, 0.99)
	early, late := func(of []time.Duration) time.Duration { return quantile(of[:100], 0.5) }, func(of []time.Duration) time.Duration { return quantile(of[manyExports-100:], 0.5) }
	first, last := early(took), late(took)
	growth := float64(last) / float64(first) / (float64(late(disk)) / float64(early(disk))) // the disk's mood changes, too
	rows := []row{
		{
			what: "/export, raw, p99; peer: three small files replaced durably", ours: p99.Round(time.Microsecond).String(), peer: least.Round(time.Microsecond).String(),
			ratio: fmt.Sprintf("%.2f", float64(p99)/float64(least)), goal: "<= 30ms", missed: p99 > 30*time.Millisecond,
		},
		{
			what: fmt.Sprintf("/export, median of the last 100 of %d; of the first 100; beside the disk's", manyExports), ours: last.Round(time.Microsecond).String(),
			peer: first.Round(time.Microsecond).String(), ratio: fmt.Sprintf("%.2f", growth), goal: "<= 1.5", missed: growth > 1.5,
		},
		{what: "memory of an export, raw", ours: fmt.Sprintf("%.0f kB", float64(each)/1e3), goal: "< 150 kB", missed: each >= 150e3},
	}
	for _, id := range ids[standing:] {
		if _, _, err := s.post(ctx, "/unexport", map[string]any{"volume_id": id, "client_uid": owner}); err != nil {
			return rows, err
		}
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	if s, err = startServer(ctx, env, root); err != nil {
		return rows, err
	}
	answer, _, err := s.post(ctx, "/exports", map[string]any{})
	if err != nil {
		return rows, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(answer, &list); err != nil || len(list) != standing {
		return rows, fmt.Errorf("%d exports stand after the restart, %d were to: %w", len(list), standing, err)
	}
	return append(rows, atMost(fmt.Sprintf("%d exports stand again after kill -9", standing), s.ready, 5*time.Second)), nil
}

func export(ctx context.Context, s *server, id string) (time.Duration, error) {
	_, took, err := s.post(ctx, "/export", map[string]any{"volume_id": id, "client_uid": owner})
	return took, err
}

// replaceThrice replaces a small file three times as a server has to that wants to keep what it answers, and returns how long that took.
func replaceThrice(dir string) (time.Duration, error) {
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	began := time.Now()
	for range 3 {
		if err := replace(d, dir); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

func replace(d *os.File, dir string) error {
	name := filepath.Join(dir, "small")
	f, err := os.Create(name + ".new")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 1000)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	return d.Sync()
}
