package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

// baseOf makes an overlay of the file source.
func baseOf(t testing.TB, b *Backend, source string) (volume.ID, volume.Meta) {
	t.Helper()
	return create(t, b, meta(volume.QCOW2, 1<<20), volume.Content{
		From: &volume.Image{Path: source, Format: "raw", Size: 512}, Overlay: true,
	})
}

func purge(t testing.TB, b *Backend, id volume.ID) {
	t.Helper()
	locked(t, b, id, func(h volume.Held) {
		if err := h.Purge(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestABaseThatAnotherServerNeeds purges what this server knows to need a base image.
func TestABaseThatAnotherServerNeeds(t *testing.T) {
	dir, source := t.TempDir(), filepath.Join(t.TempDir(), "source")
	put(t, strings.Repeat("x", 512), source)
	cfg := Config{Dir: dir, Tool: newTool(t), Shared: true}
	here, there, late := openPool(t, cfg), openPool(t, cfg), openPool(t, cfg)
	mine, m := baseOf(t, here, source)
	theirs, m2 := baseOf(t, there, source)
	if m.Base != m2.Base {
		t.Fatalf("the bases are %q and %q", m.Base, m2.Base)
	}
	base := filepath.Join(dir, baseName, m.Base)
	check := func(what string, want bool) {
		t.Helper()
		if _, err := os.Stat(base); (err == nil) != want {
			t.Errorf("%s: the base image: %v, want it there: %t", what, err, want)
		}
	}
	purge(t, here, mine)
	check("another server has a volume that needs it", true)
	if f, err := here.Load(t.Context(), theirs); err != nil || f.Problem != nil {
		t.Errorf("the other server's volume is %+v, %v", f, err)
	}
	if f, err := late.Load(t.Context(), theirs); err != nil || f.Problem != nil || late.BaseBytes() != 512 {
		t.Errorf("to a server that never saw its base the volume is %+v, %v", f, err)
	}
	// One that is being made there needs it too, though no volume says so yet.
	s, err := there.Stage(t.Context(), volume.NewID())
	if err != nil {
		t.Fatal(err)
	}
	img := &volume.Image{Path: source, Format: "raw", Size: 512}
	m3, err := s.Fill(t.Context(), meta(volume.QCOW2, 1<<20), volume.Content{From: img, Overlay: true})
	if err != nil {
		t.Fatal(err)
	}
	purge(t, here, theirs)
	scan(t, here)
	check("another server is making a volume that needs it", true)
	if err := s.Commit(t.Context(), m3); err != nil {
		t.Fatal(err)
	}
	scan(t, here)
	check("another server has made a volume that needs it", true)
	last := s.(*stage).id
	purge(t, there, last)
	check("nobody needs it", false)
}

// TestADamagedVolumeKeepsBases: nobody knows which of them it needs.
func TestADamagedVolumeKeepsBases(t *testing.T) {
	dir, source := t.TempDir(), filepath.Join(t.TempDir(), "source")
	put(t, strings.Repeat("x", 512), source)
	b := openPool(t, Config{Dir: dir, Tool: newTool(t)})
	id, m := baseOf(t, b, source)
	damaged := volume.NewID()
	put(t, "{", dir, volumeName(damaged), metaName)
	scan(t, b)
	purge(t, b, id)
	base := filepath.Join(dir, baseName, m.Base)
	for range 2 {
		if _, err := os.Stat(base); err != nil {
			t.Fatal(err)
		}
		scan(t, b)
	}
	purge(t, b, damaged)
	scan(t, b)
	if _, err := os.Stat(base); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the base image that nobody needs: %v", err)
	}
	if b.BaseBytes() != 0 {
		t.Errorf("the bases have %d bytes", b.BaseBytes())
	}
}

// waiting returns when n descriptors of this process are open on the file name: so many have it, or wait for it.
func waiting(t testing.TB, name string, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		open := 0
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && target == name {
				open++
			}
		}
		if open >= n {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("nobody waits")
		}
	}
}

// TestTheLockIsOfThePlace: whoever waited gets the lock of the volume that is there then, not of the one that was.
func TestTheLockIsOfThePlace(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, b *Backend, h volume.Held, m volume.Meta)
		want func(f volume.Found) bool
	}{
		{"moved into the bin", func(t *testing.T, _ *Backend, h volume.Held, _ volume.Meta) {
			if err := h.Trash(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}, func(f volume.Found) bool { return !f.Trashed.IsZero() }},
		{"replaced by another of the same id", func(t *testing.T, b *Backend, h volume.Held, m volume.Meta) {
			id := h.(*held).id
			if err := h.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			s, err := b.Stage(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Discard()
			m.Name = "another"
			if m, err = s.Fill(t.Context(), m, volume.Content{}); err == nil {
				err = s.Commit(t.Context(), m)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, func(f volume.Found) bool { return f.Meta.Name == "another" && f.Trashed.IsZero() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			here, there := openPool(t, Config{Dir: dir}), openPool(t, Config{Dir: dir})
			id, m := create(t, here, meta(volume.Raw, 4096), volume.Content{})
			h, err := here.Lock(t.Context(), id, volume.Operation{})
			if err != nil {
				t.Fatal(err)
			}
			type result struct {
				h   volume.Held
				err error
			}
			got := make(chan result)
			go func() {
				h, err := there.Lock(t.Context(), id, volume.Operation{})
				got <- result{h, err}
			}()
			waiting(t, filepath.Join(dir, volumeName(id), lockName), 2)
			tt.do(t, here, h, m)
			h.Unlock()
			r := <-got
			if r.err != nil {
				t.Fatal(r.err)
			}
			defer r.h.Unlock()
			if f, err := r.h.Load(t.Context()); err != nil || !tt.want(f) {
				t.Errorf("who waited found %+v, %v", f, err)
			}
			over, cancel := context.WithCancel(t.Context())
			cancel()
			if h, err := here.Lock(over, id, volume.Operation{}); err == nil {
				h.Unlock()
				t.Error("who waited has the lock of what was there before")
			}
		})
	}
}

// TestWhoHoldsAVolume is what the error of a lock says where the .ignore file is another system's, or missing.
func TestWhoHoldsAVolume(t *testing.T) {
	tests := []struct{ name, mark, content, want string }{
		{"nothing", "", "", "another process"},
		{"another system", "elemento.backup.0123.ignore", "", "(backup)"},
		{"garbage", "elemento.backup.0123.ignore", "{", "(backup)"},
		{"us", "elemento.backup.0123.ignore", `{"host":"kasimir","pid":77,"purpose":"backup"}`, `process 77 on host "kasimir" (backup)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			b := openPool(t, Config{Dir: dir})
			id, _ := create(t, b, meta(volume.Raw, 4096), volume.Content{})
			lock, err := os.Open(filepath.Join(dir, volumeName(id), lockName))
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
			if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
			if tt.mark != "" {
				put(t, tt.content, dir, volumeName(id), tt.mark)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = b.Lock(ctx, id, volume.Operation{})
			if !fault.Is(err, fault.VolumeAlreadyLocked) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
		})
	}
}

// TestALinkInTheLocksPlace would have us lock, and our children inherit, any file.
func TestALinkInTheLocksPlace(t *testing.T) {
	dir := t.TempDir()
	b := openPool(t, Config{Dir: dir})
	id, _ := create(t, b, meta(volume.Raw, 4096), volume.Content{})
	at := filepath.Join(dir, volumeName(id), lockName)
	for _, target := range []string{"meta.json", "/etc/passwd", "absent"} {
		if err := os.Remove(at); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, at); err != nil {
			t.Fatal(err)
		}
		if h, err := b.Lock(t.Context(), id, volume.Operation{}); err == nil {
			h.Unlock()
			t.Errorf("a link to %s was locked", target)
		}
	}
}

// TestRecoveryThatFails leaves a volume that can be looked at and removed, and nothing else.
func TestRecoveryThatFails(t *testing.T) {
	dir := t.TempDir()
	b := openPool(t, Config{Dir: dir})
	id, m := create(t, b, meta(volume.Raw, 4096), volume.Content{})
	at := filepath.Join(dir, volumeName(id))
	// A directory can't be removed as the file that it should be.
	put(t, "", at, "elemento.convert.0123456789abcdef0123456789abcdef.ignore", "x")
	if f := scan(t, b)[id]; !fault.Is(f.Problem, fault.VolumeDamaged) {
		t.Errorf("Scan found %+v", f)
	}
	locked(t, b, id, func(h volume.Held) {
		if f, err := h.Load(t.Context()); err != nil || !fault.Is(f.Problem, fault.VolumeDamaged) {
			t.Errorf("Load found %+v, %v", f, err)
		}
		_, rerr := h.Resize(t.Context(), m, 8192, false, "")
		_, cerr := h.Convert(t.Context(), m, volume.QCOW2, nil)
		_, perr := h.Replace(t.Context(), m, volume.Content{})
		_, oerr := h.Open(t.Context(), m, false)
		_, ierr := h.Incoming()
		for what, err := range map[string]error{
			"SetMeta": h.SetMeta(t.Context(), m), "Resize": rerr, "Convert": cerr, "Replace": perr, "Open": oerr, "Incoming": ierr,
		} {
			if !fault.Is(err, fault.VolumeDamaged) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := h.Trash(t.Context(), time.Now()); err != nil {
			t.Error(err)
		}
		if err := h.Purge(t.Context()); err != nil {
			t.Error(err)
		}
		for what, err := range map[string]error{"Trash": h.Trash(t.Context(), time.Now()), "Restore": h.Restore(t.Context()), "SetMeta": h.SetMeta(t.Context(), m)} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s of a purged volume: %v", what, err)
			}
		}
		if err := h.DropIncoming(); err != nil {
			t.Error(err)
		}
	})
	if left := tree(t, dir); len(left) != 1 {
		t.Errorf("left are %q", names(left))
	}
}

func TestTheBinIsAFile(t *testing.T) {
	dir := t.TempDir()
	put(t, "", dir, binName)
	put(t, "", dir, baseName)
	b := openPool(t, Config{Dir: dir, Tool: newTool(t)})
	id, _ := create(t, b, meta(volume.Raw, 4096), volume.Content{})
	locked(t, b, id, func(h volume.Held) {
		if err := h.Trash(t.Context(), time.Now()); !fault.Is(err, fault.PoolUnavailable) {
			t.Errorf("Trash: %v", err)
		}
	})
	source := filepath.Join(t.TempDir(), "source")
	put(t, strings.Repeat("x", 512), source)
	s, err := b.Stage(t.Context(), volume.NewID())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Discard()
	img := &volume.Image{Path: source, Format: "raw", Size: 512}
	if _, err := s.Fill(t.Context(), meta(volume.QCOW2, 1<<20), volume.Content{From: img, Overlay: true}); !fault.Is(err, fault.PoolUnavailable) {
		t.Errorf("overlay: %v", err)
	}
	if f := scan(t, b)[id]; f.Problem != nil || !f.Trashed.IsZero() {
		t.Errorf("the volume is %+v", f)
	}
}

// TestBothPlaces has the same volume in the pool and in its bin, as hands may leave it.
func TestBothPlaces(t *testing.T) {
	dir := t.TempDir()
	b := openPool(t, Config{Dir: dir})
	id, m := create(t, b, meta(volume.Raw, 4096), volume.Content{})
	for name, content := range tree(t, filepath.Join(dir, volumeName(id))) {
		put(t, content, dir, binName, volumeName(id), name)
	}
	if _, err := b.Stage(t.Context(), id); !fault.Is(err, fault.VolumeExists) {
		t.Errorf("Stage: %v", err)
	}
	locked(t, b, id, func(h volume.Held) {
		if f, err := h.Load(t.Context()); err != nil || !f.Trashed.IsZero() {
			t.Errorf("locked was %+v, %v", f, err)
		}
		if err := h.Trash(t.Context(), time.Now()); !fault.Is(err, fault.VolumeExists) {
			t.Errorf("Trash: %v", err)
		}
		if f, err := h.Load(t.Context()); err != nil || f.Problem != nil || f.Meta.Size != m.Size {
			t.Errorf("left was %+v, %v", f, err)
		}
	})
	purge(t, b, id)
	purge(t, b, id) // the other
	if left := tree(t, dir); len(left) != 1 {
		t.Errorf("left are %q", names(left))
	}
}

// TestPeek reads an image that another server has locked, where that can't be wrong.
func TestPeek(t *testing.T) {
	dir := t.TempDir()
	tests := map[string]struct {
		shared bool
		format volume.Format
		want   fault.Code
	}{
		"raw, of several servers": {true, volume.Raw, ""},
		"raw, of one server":      {false, volume.Raw, fault.BadRequest},
		"qcow2":                   {true, volume.QCOW2, fault.BadRequest},
		"iso":                     {true, volume.ISO, fault.BadRequest},
	}
	b := openPool(t, Config{Dir: dir, Tool: newTool(t), Shared: true})
	id, m := create(t, b, meta(volume.Raw, 1<<20), volume.Content{})
	if _, err := b.Peek(t.Context(), volume.NewID(), m); err == nil {
		t.Error("there is a volume that was never made")
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b.cfg.Shared = tt.shared
			m := m
			m.Format = tt.format
			d, err := b.Peek(t.Context(), id, m)
			if tt.want != "" {
				if !fault.Is(err, tt.want) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.ReadAt(make([]byte, 512), 0); err != nil || d.Size() != 1<<20 {
				t.Errorf("%v, %d bytes", err, d.Size())
			}
			if _, err := d.WriteAt(make([]byte, 512), 0); !fault.Is(err, fault.VolumeReadOnly) {
				t.Errorf("a write: %v", err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
