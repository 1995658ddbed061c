package file_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"elstore/test/need"
	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/file"
	"elstore/volume/qemu"
	"elstore/volume/volumetest"
)

// storage makes empty pools below dir, for the suite.
func storage(t testing.TB, dir string, cfg file.Config) volumetest.Storage {
	t.Helper()
	pool := poolIn(t, dir)
	return volumetest.Storage{
		Open: func(step func(string) error) (volume.Backend, error) {
			cfg := cfg
			cfg.Dir = pool
			return file.Open(t.Context(), cfg.Stepped(func(op, name string) error { return step(op + " " + name) }))
		},
		Kill:      func(b volume.Backend) { b.(*file.Backend).Kill() },
		Leftovers: func(t testing.TB) []string { return leftovers(t, pool, cfg.IsInPlace()) },
	}
}

// poolIn makes a directory below dir that is removed when the test ends, so that the many pools of a suite find room.
func poolIn(t testing.TB, dir string) string {
	t.Helper()
	pool, err := os.MkdirTemp(dir, "pool-") //nolint:usetesting // on the file system of dir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(pool); err != nil {
			t.Error(err)
		}
	})
	return pool
}

// leftovers lists what lies in a pool and belongs to no volume, or is no part of one.
func leftovers(t testing.TB, pool string, inPlace bool) (left []string) {
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
		case base == "cloud-init-metadata" && d.IsDir(), len(parts) > 2 && parts[len(parts)-2] == "cloud-init-metadata" && !strings.HasPrefix(base, "."):
		case base == "meta.json", base == ".lock", base == "isoinfo.json", base == "upload.part", strings.HasPrefix(base, "data."):
		case base == ".deleted" && (parts[0] == "elemento-bin" || inPlace):
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

// opener returns an Opener whose qemu-storage-daemon is there.
func opener(t testing.TB) *qemu.Opener {
	t.Helper()
	need.Program(t, "qemu-storage-daemon")
	opener, err := qemu.NewOpener(qemu.OpenerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return opener
}

func TestContract(t *testing.T) {
	t.Parallel()
	disk := need.Disk(t)
	cfg := file.Config{Tool: tool(t), Opener: opener(t)}
	volumetest.Run(t, func(t testing.TB) volumetest.Storage { return storage(t, disk, cfg) })
}

// TestContractOfShared has every Backend look for volumes that another may have made.
func TestContractOfShared(t *testing.T) {
	t.Parallel()
	disk := need.Disk(t)
	cfg := file.Config{Tool: tool(t), Opener: opener(t), Shared: true}
	volumetest.Run(t, func(t testing.TB) volumetest.Storage { return storage(t, disk, cfg) })
}

// TestContractOfFailing proves that the wrapper whose calls fail is the Backend as long as none does.
func TestContractOfFailing(t *testing.T) {
	t.Parallel()
	disk := need.Disk(t)
	cfg := file.Config{Tool: tool(t), Opener: opener(t)}
	volumetest.Run(t, func(t testing.TB) volumetest.Storage {
		s := storage(t, disk, cfg)
		plain := s.Open
		s.Open = func(step func(string) error) (volume.Backend, error) {
			b, err := plain(step)
			if err != nil {
				return nil, err
			}
			return volumetest.Failing(b, func(string) error { return nil }), nil
		}
		return s
	})
}

// TestEveryCallOfFailingFails calls everything, once for each call that there is to fail.
func TestEveryCallOfFailingFails(t *testing.T) {
	ctx := t.Context()
	dir := need.Disk(t)
	var failed []string
	for n := 0; ; n++ {
		steps := volumetest.FailAt(n, os.ErrDeadlineExceeded)
		b := volumetest.Failing(at(t, dir, file.Config{}), steps.Step)
		err := callAll(ctx, b, volume.NewID())
		op, hit := steps.Hit()
		if !hit {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("call %d (%s) failed, and the error is %v", n, op, err)
		}
		failed = append(failed, op)
	}
	slices.Sort(failed)
	if want := 30; len(slices.Compact(failed)) != want {
		t.Errorf("%d calls failed, want %d: %q", len(failed), want, failed)
	}
}

// callAll calls every method that can fail, and returns all of their errors that are not to be expected.
func callAll(ctx context.Context, b volume.Backend, id volume.ID) error {
	var errs []error
	note := func(err error) bool {
		if err != nil && !errors.Is(err, volume.ErrNoReflink) && !fault.Is(err, fault.ImageToolMissing) {
			errs = append(errs, err)
		}
		return err == nil
	}
	note(b.Scan(ctx, func(volume.Found) error { return nil }))
	_, err := b.List(ctx)
	note(err)
	m := raw(4096)
	if s, err := b.Stage(ctx, id); note(err) {
		if f, err := s.Incoming(); note(err) {
			f.Close()
		}
		if m, err = s.Fill(ctx, m, volume.Content{}); note(err) {
			note(s.Commit(ctx, m))
		}
		s.Discard()
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	_, err = b.Load(ctx, id)
	note(err)
	_, err = b.Stat(id, m)
	note(err)
	h, err := b.Lock(ctx, id, volume.Operation{Purpose: "call"})
	if !note(err) {
		return errors.Join(errs...)
	}
	defer h.Unlock()
	_, err = h.Load(ctx)
	note(err)
	note(h.SetMeta(ctx, m))
	if grown, err := h.Resize(ctx, m, 8192, false, ""); note(err) {
		m = grown
	}
	_, err = h.Convert(ctx, m, volume.QCOW2, nil)
	note(err)
	_, err = h.Compact(ctx, m, nil)
	note(err)
	_, err = h.Replace(ctx, m, volume.Content{})
	note(err)
	if f, err := h.Incoming(); note(err) {
		f.Close()
	}
	_, err = h.Received()
	note(err)
	note(h.DropIncoming())
	_, release, err := h.Snapshot(ctx, m)
	if note(err) {
		release()
	}
	if _, release, err := h.Export(ctx, m, volume.Raw, nil); note(err) {
		release()
	}
	if d, err := h.Open(ctx, m, false); note(err) {
		p := make([]byte, 512)
		_, rerr := d.ReadAt(p, 0)
		_, werr := d.WriteAt(p, 0)
		for _, err := range []error{rerr, werr, d.Flush(ctx), d.Discard(0, 512), d.WriteZeroes(0, 512, true), d.Grow(m.Size), d.Close()} {
			note(err)
		}
	}
	note(h.Trash(ctx, time.Now()))
	note(h.Restore(ctx))
	note(h.Purge(ctx))
	return errors.Join(errs...)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	disk := need.Disk(t)
	cfg := file.Config{Tool: tool(t), Opener: opener(t)}
	volumetest.Faults(t, func(t testing.TB) volumetest.Storage { return storage(t, disk, cfg) })
}

// TestInPlace has volumes that can't be renamed.
func TestInPlace(t *testing.T) {
	t.Parallel()
	disk := need.Disk(t)
	cfg := file.Config{Tool: tool(t), Opener: opener(t)}.InPlace()
	make := func(t testing.TB) volumetest.Storage { return storage(t, disk, cfg) }
	volumetest.Run(t, make)
	volumetest.Faults(t, make, "create", "import as overlay", "clone", "trash", "restore", "purge", "purge from the bin", "purge an overlay")
}
