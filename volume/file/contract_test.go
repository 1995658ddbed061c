package file_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/need"
	"elstore/volume"
	"elstore/volume/file"
	"elstore/volume/qemu"
	"elstore/volume/volumetest"
)

// storage makes empty pools below dir, for the suite.
func storage(t testing.TB, dir string, cfg file.Config) volumetest.Storage {
	t.Helper()
	pool, err := os.MkdirTemp(dir, "pool-") //nolint:usetesting // on the file system of dir
	if err != nil {
		t.Fatal(err)
	}
	return volumetest.Storage{
		Open: func(step func(string) error) (volume.Backend, error) {
			cfg := cfg
			cfg.Dir = pool
			return file.Open(t.Context(), cfg.Stepped(func(op, name string) error { return step(op + " " + name) }))
		},
		Kill:      func(b volume.Backend) { b.(*file.Backend).Kill() },
		Leftovers: func(t testing.TB) []string { return leftovers(t, pool) },
	}
}

// leftovers lists what lies in a pool and belongs to no volume, or is no part of one.
func leftovers(t testing.TB, pool string) (left []string) {
	t.Helper()
	err := filepath.WalkDir(pool, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(pool, name)
		parts := strings.Split(rel, "/")
		switch base := parts[len(parts)-1]; {
		case rel == ".", rel == "elemento-bin", rel == "elemento-base":
		case parts[0] == "elemento-base" && len(base) > 64:
		case strings.HasPrefix(base, "vid.") && d.IsDir():
			images, _ := filepath.Glob(filepath.Join(name, "data.*"))
			if len(images) != 1 {
				left = append(left, rel)
			}
		case base == "meta.json", base == ".lock", base == "upload.part", strings.HasPrefix(base, "data."):
		case base == ".deleted" && parts[0] == "elemento-bin":
		default:
			left = append(left, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// tool returns a Tool whose qemu-img is there.
func tool(t testing.TB) *qemu.Tool {
	t.Helper()
	need.Program(t, "qemu-img")
	tool, err := qemu.New(qemu.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

func TestContract(t *testing.T) {
	cfg := file.Config{Tool: tool(t)}
	volumetest.Run(t, func(t testing.TB) volumetest.Storage { return storage(t, t.TempDir(), cfg) })
}

func TestFaults(t *testing.T) {
	cfg := file.Config{Tool: tool(t)}
	volumetest.Faults(t, func(t testing.TB) volumetest.Storage { return storage(t, t.TempDir(), cfg) })
}
