package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// open returns a root in a directory of the test's own, and that directory.
func open(t *testing.T) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, dir
}

func mustWrite(t *testing.T, root *os.Root, name, data string) {
	t.Helper()
	if err := WriteFile(root, name, []byte(data), 0o640); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, root *os.Root, name, want string) {
	t.Helper()
	got, err := root.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s holds %.40q, want %.40q", name, got, want)
	}
}

// wantNoTemp fails if a temporary file is left anywhere below root.
func wantNoTemp(t *testing.T, root *os.Root) {
	t.Helper()
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if strings.HasPrefix(d.Name(), TempPrefix) {
			t.Errorf("%s is left behind", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriteFile(t *testing.T) {
	root, _ := open(t)
	if err := root.MkdirAll("pool/vid", 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, file, data string
		perm             fs.FileMode
	}{
		{"new", "meta.json", "one", 0o640},
		{"replaced by something shorter", "meta.json", "1", 0o640},
		{"replaced by nothing", "meta.json", "", 0o640},
		{"new mode", "meta.json", "two", 0o600},
		{"in a directory", "pool/vid/meta.json", "deep", 0o640},
		{"unclean name", "pool//vid/../vid/./meta.json", "unclean", 0o640},
		{"large", "large", strings.Repeat("x", 3<<20), 0o640},
		{"not even for the owner to write", "record", "kept", 0o400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := WriteFile(root, tt.file, []byte(tt.data), tt.perm); err != nil {
				t.Fatal(err)
			}
			wantContent(t, root, tt.file, tt.data)
			info, err := root.Stat(tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != tt.perm {
				t.Errorf("mode %v, want %v", info.Mode().Perm(), tt.perm)
			}
		})
	}
	wantNoTemp(t, root)
}

func TestWriteFileReplacesASymlinkItself(t *testing.T) {
	root, _ := open(t)
	mustWrite(t, root, "target", "untouched")
	if err := root.Symlink("target", "name"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, root, "name", "new")
	wantContent(t, root, "target", "untouched")
	info, err := root.Lstat("name")
	if err != nil {
		t.Fatal(err)
	}
	if !info.Mode().IsRegular() {
		t.Errorf("name is %v, want a regular file", info.Mode())
	}
}

func TestAFailingRenameLeavesNothing(t *testing.T) {
	root, _ := open(t)
	if err := root.MkdirAll("name/child", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(root, "name", []byte("new"), 0o640); err == nil {
		t.Error("a file took the place of a directory")
	}
	if _, err := root.Stat("name/child"); err != nil {
		t.Errorf("the directory suffered: %v", err)
	}
	wantNoTemp(t, root)
}

func TestConcurrentWritersOneWinsWhole(t *testing.T) {
	root, _ := open(t)
	const writers, rounds = 8, 20
	mustWrite(t, root, "name", string(content(0)))
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range rounds {
				if err := WriteFile(root, "name", content(i), 0o640); err != nil {
					t.Error(err)
				}
				got, err := root.ReadFile("name")
				if err != nil {
					t.Error(err)
				} else if !whole(got) {
					t.Errorf("a mix of contents: %d bytes, %.20q", len(got), got)
				}
			}
		})
	}
	wg.Wait()
	wantNoTemp(t, root)
}

// content returns what writer i writes: a length and bytes that no other writer has.
func content(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 1000*(i+1)) }

// whole reports whether data is some writer's content, and all of it.
func whole(data []byte) bool {
	return len(data) > 0 && bytes.Equal(data, content(int(data[0]-'a')))
}

func TestNamesThatLeadOutOfTheRoot(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	operations := []struct {
		name string
		run  func(*os.Root, string) error
	}{
		{"WriteFile", func(r *os.Root, name string) error { return WriteFile(r, name, []byte("evil"), 0o600) }},
		{"Rename to", func(r *os.Root, name string) error { return Rename(r, "inside", name) }},
		{"Rename from", func(r *os.Root, name string) error { return Rename(r, name, "stolen") }},
		{"Remove", Remove},
		{"SyncDir", func(r *os.Root, name string) error { return SyncDir(r, filepath.Dir(name)) }},
	}
	names := []struct{ name, path string }{
		{"parent", "../victim"},
		{"parent after a directory", "dir/../../victim"},
		{"absolute", victim},
		{"through a symlinked directory", "link/victim"},
	}
	for _, op := range operations {
		for _, tt := range names {
			t.Run(op.name+" "+tt.name, func(t *testing.T) {
				root, dir := open(t)
				mustWrite(t, root, "inside", "inside")
				if err := root.Mkdir("dir", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
					t.Fatal(err)
				}
				if err := op.run(root, tt.path); err == nil {
					t.Errorf("%s was let out of the root", tt.path)
				}
				wantContent(t, root, "inside", "inside")
				if got, err := os.ReadFile(victim); err != nil || string(got) != "untouched" {
					t.Errorf("the file outside holds %q, %v", got, err)
				}
				if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
					t.Errorf("outside holds %v, %v: want the victim alone", entries, err)
				}
			})
		}
	}
}

func TestRename(t *testing.T) {
	tests := []struct {
		name, from, to string
		ok             bool
	}{
		{"file, same directory", "file", "name", true},
		{"file, other directory", "file", "dir/name", true},
		{"file over a file", "file", "other", true},
		{"directory", "dir", "moved", true},
		{"file over a directory", "file", "dir", false},
		{"directory over an empty directory", "dir", "empty", false},
		{"what is not there", "absent", "name", false},
		{"into what is not there", "file", "absent/name", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root, _ := open(t)
			mustWrite(t, root, "file", "moved")
			mustWrite(t, root, "other", "replaced")
			for _, dir := range []string{"dir", "empty"} {
				if err := root.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			err := Rename(root, tt.from, tt.to)
			if (err == nil) != tt.ok {
				t.Fatalf("error %v, want success %t", err, tt.ok)
			}
			if !tt.ok {
				wantContent(t, root, "file", "moved")
				return
			}
			if _, err := root.Lstat(tt.from); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is still there: %v", tt.from, err)
			}
			if tt.from == "file" {
				wantContent(t, root, tt.to, "moved")
			} else if _, err := root.Stat(tt.to); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	root, _ := open(t)
	mustWrite(t, root, "file", "x")
	for _, attempt := range []string{"there", "gone already"} {
		if err := Remove(root, "file"); err != nil {
			t.Errorf("%s: %v", attempt, err)
		}
	}
	if _, err := root.Stat("file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	if err := root.MkdirAll("full/child", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Remove(root, "full"); err == nil {
		t.Error("a directory that is not empty was removed")
	}
}

func TestSyncDir(t *testing.T) {
	root, _ := open(t)
	if err := SyncDir(root, "."); err != nil {
		t.Error(err)
	}
	if err := SyncDir(root, "absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: error %v, want %v", err, fs.ErrNotExist)
	}
}
