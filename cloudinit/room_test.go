package cloudinit_test

import (
	"bytes"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"elstore/cloudinit"
	"elstore/test/rig"
	"elstore/volume/fault"
)

// A pool that has no room for the image, as is found only when the files are written, leaves a seed as it was.
func TestNoRoomForTheImage(t *testing.T) {
	root := t.TempDir()
	pool := rig.Pool(t, root, "pool", `{"max-total-size": 200000}`)
	p := rig.Assemble(t, root, nil)
	s := &server{p, cloudinit.NewService(cloudinit.Config{Volumes: p.Volumes, Log: slog.New(slog.DiscardHandler)}), pool}
	st, err := s.Begin(t.Context(), wish(), 2, "user-data", user)
	if err != nil {
		t.Fatal(err)
	}
	id := st.Volume.ID
	large := bytes.Repeat([]byte("#"), 300_000)
	there := func() map[string]string {
		t.Helper()
		names, err := filepath.Glob(s.dir(id) + "/*")
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(name)] = string(data)
		}
		return all
	}
	unchanged := func(name string, change func() (cloudinit.State, error)) {
		t.Helper()
		before := there()
		if _, err := change(); !fault.Is(err, fault.PoolFull) && fault.KindOf(err) != fault.NoSpace {
			t.Errorf("%s: %v", name, err)
		}
		if after := there(); !maps.Equal(after, before) {
			t.Errorf("%s leaves %d files where there were %d: %.200q", name, len(after), len(before), after)
		}
	}
	unchanged("the last file", func() (cloudinit.State, error) { return s.Add(t.Context(), id, nil, "blob", large) })
	st, err = s.Show(t.Context(), id, nil)
	if err != nil || st.Complete || len(st.Files) != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	st, err = s.Add(t.Context(), id, nil, "meta-data", meta)
	ok(t, st, err)
	content := s.files(t, id)
	unchanged("a file more", func() (cloudinit.State, error) { return s.Put(t.Context(), id, nil, "blob", large) })
	unchanged("another file", func() (cloudinit.State, error) {
		return s.Put(t.Context(), id, nil, "user-data", append([]byte("#!/bin/sh\n"), large...))
	})
	if st, err := s.Show(t.Context(), id, nil); err != nil || st.Instance != "mine" || !maps.Equal(s.files(t, id), content) {
		t.Errorf("%+v, %v", st, err)
	}
	st, err = s.Put(t.Context(), id, nil, "blob", []byte("small"))
	ok(t, st, err)
}
