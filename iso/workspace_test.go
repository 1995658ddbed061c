package iso

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A workspace goes when it is closed, and when the process that held it has died; one that is in use and what is somebody
// else's stay.
func TestWorkspaces(t *testing.T) {
	dir := t.TempDir()
	for _, left := range []string{workspaces + "left/dir", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, left), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(dir, workspaces+"link")); err != nil {
		t.Fatal(err)
	}
	first, err := newWorkspaceIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := newWorkspaceIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := func() []string {
		all, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	want := []string{first.path, second.path, in(workspaces + "link"), in("other")}
	slices.Sort(want)
	if got := names(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if w, err := hold(first.path); w != nil || err != nil {
		t.Errorf("it is held twice: %v", err)
	}
	first.close()
	second.close()
	if w, err := hold(first.path); w != nil || err != nil {
		t.Errorf("one that is gone is held: %v", err)
	}
	if got := names(); len(got) != 2 || !exists(elsewhere) {
		t.Errorf("%q are left", got)
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// The content of files is never in the workspace.
func TestWorkspaceHasNoContent(t *testing.T) {
	w, err := newWorkspaceIn(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if err := errors.Join(w.put("a/b", 3, true), w.put("empty", 0, false)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(w.path, "a", "b"))
	if err != nil || string(data) != "\x00\x00\x00" {
		t.Errorf("%q, %v", data, err)
	}
	if err := w.put("empty", 0, false); !errors.Is(err, os.ErrExist) {
		t.Errorf("the same file again: %v", err)
	}
}
