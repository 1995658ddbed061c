package file

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"elstore/volume"
)

// fillPool puts n raw volumes into dir, as hands would: without locks and fsync.
func fillPool(t testing.TB, dir string, n int) {
	t.Helper()
	data := meta(volume.Raw, 1<<30).Encode()
	for range n {
		name := filepath.Join(dir, volumeName(volume.NewID()))
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(name, metaName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		image := filepath.Join(name, dataName(volume.Raw))
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, 1<<30); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	for _, n := range []int{1000, 25_000, 100_000} {
		b.Run(fmt.Sprintf("volumes=%d", n), func(b *testing.B) {
			dir := b.TempDir()
			fillPool(b, dir, n)
			pool, err := Open(b.Context(), Config{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			defer pool.Close()
			for b.Loop() {
				found := 0
				err := pool.Scan(b.Context(), func(f volume.Found) error {
					if f.Problem != nil {
						return f.Problem
					}
					found++
					return nil
				})
				if err != nil || found != n {
					b.Fatalf("found %d of %d volumes, %v", found, n, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/volume")
		})
	}
}

func BenchmarkList(b *testing.B) {
	dir := b.TempDir()
	const n = 10_000
	fillPool(b, dir, n)
	pool, err := Open(b.Context(), Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	for b.Loop() {
		if ids, err := pool.List(b.Context()); err != nil || len(ids) != n {
			b.Fatalf("listed %d of %d volumes, %v", len(ids), n, err)
		}
	}
}

func BenchmarkStat(b *testing.B) {
	dir := b.TempDir()
	pool, err := Open(b.Context(), Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	id, m := create(b, pool, meta(volume.Raw, 1<<20), volume.Content{})
	for b.Loop() {
		if _, err := pool.Stat(id, m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateRaw(b *testing.B) {
	for _, before := range []int{0, 25_000} {
		b.Run(fmt.Sprintf("beside=%d", before), func(b *testing.B) {
			dir := b.TempDir()
			fillPool(b, dir, before)
			pool, err := Open(b.Context(), Config{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			defer pool.Close()
			for b.Loop() {
				create(b, pool, meta(volume.Raw, 1<<30), volume.Content{})
			}
		})
	}
}
