package cloudinit_test

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"elstore/cloudinit"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

var owner = volume.Client(volume.NewID())

// server is the inside of a server on a root that outlives it.
type server struct {
	*rig.Parts
	*cloudinit.Service
	pool string
}

// start starts a server on root. It recovers, as elstore serve does.
func start(t *testing.T, root string) *server {
	t.Helper()
	pool := rig.Pool(t, root, "pool", `{}`)
	p := rig.Assemble(t, root, nil)
	s := &server{p, cloudinit.NewService(cloudinit.Config{Volumes: p.Volumes, Log: slog.New(slog.DiscardHandler)}), pool}
	if err := s.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs fn against a server, which ends with it.
func run(t *testing.T, root, name string, fn func(t *testing.T, s *server)) {
	t.Helper()
	if !t.Run(name, func(t *testing.T) { fn(t, start(t, root)) }) {
		t.FailNow()
	}
}

func (s *server) dir(id volume.ID) string {
	return filepath.Join(s.pool, "vid."+id.String()+".elimg", "cloud-init-metadata")
}

// files is what a machine finds in the seed.
func (s *server) files(t *testing.T, id volume.ID) map[string]string {
	t.Helper()
	o, err := s.Volumes.Open(t.Context(), id, volume.Claim{Export: "test", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	data, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return read(t, data)
}

func wish() cloudinit.New {
	return cloudinit.New{Creator: owner, Name: "seed", Clonable: true, Alg: volume.Copy}
}

var (
	user = []byte("#cloud-config\nhostname: a\n")
	meta = []byte("instance-id: mine\n")
)

func ok(t *testing.T, st cloudinit.State, err error) cloudinit.State {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// A seed whose files come one by one, with a restart before each.
func TestTwoPhaseUpload(t *testing.T) {
	root := t.TempDir()
	var id volume.ID
	run(t, root, "first", func(t *testing.T, s *server) {
		st, err := s.Begin(t.Context(), wish(), 3, "user-data", user)
		st = ok(t, st, err)
		id = st.Volume.ID
		if st.Complete || st.Expected != 3 || len(st.Files) != 1 || !st.Volume.Meta.CloudInit || !st.Volume.Meta.ReadOnly {
			t.Errorf("%+v", st)
		}
		if names, _ := filepath.Glob(s.dir(id) + "/*"); len(names) != 2 || filepath.Base(names[0]) != "elemento.3.expected" {
			t.Errorf("on disk %q", names)
		}
		if _, err := s.Volumes.Open(t.Context(), id, volume.Claim{ReadOnly: true}); !fault.Is(err, fault.VolumeNotExportable) {
			t.Errorf("claimed before it is complete: %v", err)
		}
		if _, err := s.Put(t.Context(), id, nil, "user-data", user); !fault.Is(err, fault.VolumeNotExportable) {
			t.Errorf("changed before it is complete: %v", err)
		}
	})
	run(t, root, "again and second", func(t *testing.T, s *server) {
		st, err := s.Add(t.Context(), id, nil, "user-data", []byte("#cloud-config\nhostname: b\n"))
		if st = ok(t, st, err); st.Complete || len(st.Files) != 1 {
			t.Errorf("%+v", st)
		}
		st, err = s.Add(t.Context(), id, nil, "meta-data", meta)
		if st = ok(t, st, err); st.Complete || len(st.Files) != 2 {
			t.Errorf("%+v", st)
		}
		other := volume.Client(volume.NewID())
		if _, err := s.Add(t.Context(), id, &other, "x", nil); !fault.Is(err, fault.NotAllowed) {
			t.Errorf("somebody else's file: %v", err)
		}
		if _, err := s.Add(t.Context(), id, nil, "network-data", []byte("nonsense")); !fault.Is(err, fault.CloudInitMetadataUploadFailed) {
			t.Errorf("a bad file: %v", err)
		}
	})
	run(t, root, "last", func(t *testing.T, s *server) {
		st, err := s.Add(t.Context(), id, nil, "network-data", []byte("version: 2\n"))
		st = ok(t, st, err)
		if !st.Complete || st.Instance != "mine" || st.Volume.Meta.Size == 0 || st.Volume.Meta.Size%2048 != 0 {
			t.Errorf("%+v", st)
		}
		want := map[string]string{"user-data": "#cloud-config\nhostname: b\n", "meta-data": string(meta), "network-data": "version: 2\n", "network-config": "version: 2\n"}
		if got := s.files(t, id); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q", got)
		}
		for _, name := range []string{"user-data", "another"} {
			if _, err := s.Add(t.Context(), id, nil, name, user); !fault.Is(err, fault.CloudInitMetafilesNumberExceeded) {
				t.Errorf("%s after the last: %v", name, err)
			}
		}
		if use := s.Pools.Infos()[0].Used; use.Bytes != st.Volume.Meta.Size || use.Volumes != 1 {
			t.Errorf("the pool counts %+v for %d bytes", use, st.Volume.Meta.Size)
		}
	})
	run(t, root, "afterwards", func(t *testing.T, s *server) {
		st, err := s.Show(t.Context(), id, &owner)
		if st = ok(t, st, err); !st.Complete || st.Expected != 3 || len(st.Files) != 3 || st.Instance != "mine" {
			t.Errorf("%+v", st)
		}
	})
}

// What a crash leaves after the last file and before the image, and in the middle of a change, is finished.
func TestCrashes(t *testing.T) {
	root := t.TempDir()
	var id, changed volume.ID
	var dir, changedDir string
	run(t, root, "before", func(t *testing.T, s *server) {
		st, err := s.Begin(t.Context(), wish(), 2, "user-data", user)
		id = ok(t, st, err).Volume.ID
		st, err = s.Make(t.Context(), wish(), cloudinit.Files{"user-data": user, "meta-data": meta})
		changed = ok(t, st, err).Volume.ID
		dir, changedDir = s.dir(id), s.dir(changed)
	})
	write := func(dir, name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(dir, "meta-data", string(meta))
	write(dir, ".tmp-ABC", "half")
	write(changedDir, "elemento.edit", "user-data")
	write(changedDir, "user-data", "#cloud-config\nhostname: new\n")
	run(t, root, "after", func(t *testing.T, s *server) {
		st, err := s.Show(t.Context(), id, nil)
		if st = ok(t, st, err); !st.Complete || len(st.Files) != 2 {
			t.Errorf("%+v", st)
		}
		st, err = s.Show(t.Context(), changed, nil)
		st = ok(t, st, err)
		got := s.files(t, changed)
		if got["user-data"] != "#cloud-config\nhostname: new\n" || st.Instance == "mine" || cloudinit.InstanceID([]byte(got["meta-data"])) != st.Instance {
			t.Errorf("%q %+v", got, st)
		}
		if _, err := os.Stat(filepath.Join(changedDir, "elemento.edit")); !os.IsNotExist(err) {
			t.Errorf("the mark stays: %v", err)
		}
	})
}

func TestChange(t *testing.T) {
	s := start(t, t.TempDir())
	st, err := s.Make(t.Context(), wish(), cloudinit.Files{"user-data": user, "meta-data": meta, "script": []byte("#!/bin/sh\n")})
	st = ok(t, st, err)
	id := st.Volume.ID
	if !st.Complete || st.Instance != "mine" {
		t.Fatalf("%+v", st)
	}
	o, err := s.Volumes.Open(t.Context(), id, volume.Claim{Export: "machine", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), id, nil, "user-data", user); !fault.Is(err, fault.VolumeInUse) {
		t.Errorf("changed while exported: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	ids := []string{st.Instance}
	put := func(name, content string) map[string]string {
		t.Helper()
		st, err := s.Put(t.Context(), id, &owner, name, []byte(content))
		ids = append(ids, ok(t, st, err).Instance)
		return s.files(t, id)
	}
	if got := put("user-data", "#cloud-config\nhostname: b\n"); got["user-data"] != "#cloud-config\nhostname: b\n" || len(got) != 3 {
		t.Errorf("%q", got)
	}
	put("user-data", "#cloud-config\nhostname: c\n")
	put("user-data", "#cloud-config\nhostname: b\n") // as before: the same instance
	if !strings.HasPrefix(ids[1], "mine-edit-") || ids[1] == ids[2] || ids[3] != ids[1] {
		t.Errorf("instance ids %q", ids)
	}
	put("meta-data", "instance-id: another\n")
	if ids[4] != "another" {
		t.Errorf("instance ids %q", ids)
	}
	st, err = s.Delete(t.Context(), id, nil, "script")
	if st = ok(t, st, err); len(st.Files) != 2 || s.files(t, id)["script"] != "" || !strings.HasPrefix(st.Instance, "another-edit-") {
		t.Errorf("%+v", st)
	}
	st, err = s.Delete(t.Context(), id, nil, "meta-data")
	if st = ok(t, st, err); !strings.HasPrefix(st.Instance, "iid-") {
		t.Errorf("%+v", st)
	}
	for name, content := range map[string]string{"user-data": "nonsense", "../evil": "", "elemento.2.expected": "", "elemento.edit": ""} {
		if _, err := s.Put(t.Context(), id, nil, name, []byte(content)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	clone, err := s.Volumes.Clone(t.Context(), id, volume.CloneRequest{Creator: owner, Name: "clone"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := s.Show(t.Context(), clone.ID, nil); err != nil || !st.Complete || len(st.Files) != 1 {
		t.Errorf("the clone: %+v %v", st, err)
	}
}

func TestConcurrentUploads(t *testing.T) {
	s := start(t, t.TempDir())
	st, err := s.Begin(t.Context(), wish(), 12, "user-data", user)
	id := ok(t, st, err).Volume.ID
	var wg sync.WaitGroup
	var mu sync.Mutex
	complete, exceeded := 0, 0
	for i := range 15 {
		wg.Go(func() {
			st, err := s.Add(t.Context(), id, nil, fmt.Sprintf("file%d", i), []byte{byte(i)})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case fault.Is(err, fault.CloudInitMetafilesNumberExceeded):
				exceeded++
			case err != nil:
				t.Error(err)
			case st.Complete:
				complete++
			}
		})
	}
	wg.Wait()
	if complete != 1 || exceeded != 4 {
		t.Errorf("%d were the last, %d too many", complete, exceeded)
	}
	if got := s.files(t, id); len(got) != 13 { // and meta-data
		t.Errorf("%d files", len(got))
	}
}

func TestNoSeed(t *testing.T) {
	s := start(t, t.TempDir())
	v, err := s.Volumes.Create(t.Context(), volume.NewVolume{Meta: volume.Meta{Creator: owner, Name: "x", Size: 1 << 20, Format: volume.Raw, Alg: volume.Copy, Bus: volume.Virtio}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(t.Context(), v.ID, nil, "user-data", user); !fault.Is(err, fault.CloudInitExpectedFilesTrackerNotFound) {
		t.Errorf("a volume: %v", err)
	}
	if _, err := s.Add(t.Context(), volume.NewID(), nil, "user-data", user); !fault.Is(err, fault.VolumeNotFound) {
		t.Errorf("nothing: %v", err)
	}
	for _, n := range []int{0, 1, -5, 1_000_000} {
		if _, err := s.Begin(t.Context(), wish(), n, "user-data", user); !fault.Is(err, fault.BadRequest) {
			t.Errorf("expecting %d: %v", n, err)
		}
	}
	big := slices.Repeat([]byte{'x'}, 9<<20)
	st, err := s.Begin(t.Context(), wish(), 3, "a", big)
	if _, err := s.Add(t.Context(), ok(t, st, err).Volume.ID, nil, "b", big); !fault.Is(err, fault.BodyTooLarge) {
		t.Errorf("18 MiB: %v", err)
	}
}
