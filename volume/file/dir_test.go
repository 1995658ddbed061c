package file

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestChangesAskFirst holds this package to its word that every change of a pool goes through a method that asks the
// hook: what changes something is called in the files that are named here only.
func TestChangesAskFirst(t *testing.T) {
	changing := map[string][]string{
		"os":      {"Create", "CreateTemp", "Mkdir", "MkdirAll", "MkdirTemp", "Remove", "RemoveAll", "Rename", "Link", "Symlink", "Truncate", "WriteFile", "Chmod", "Chtimes"},
		"root":    {"Create", "Mkdir", "MkdirAll", "Remove", "RemoveAll", "Rename", "Link", "Symlink", "WriteFile", "Chmod", "OpenFile", "Chtimes", "Chown"},
		"durable": {"WriteFile", "Rename", "Remove"},
		"unix":    {"Ftruncate", "Fallocate", "Renameat", "Renameat2", "Linkat", "Unlinkat", "Mkdirat", "Syscall", "IoctlFileClone", "CopyFileRange", "Fchmod", "Fsync", "Fdatasync"},
	}
	// Where such a call stands within dir.change, or after step.ask, or is a Device's, which is no change of the pool.
	allowed := map[string][]string{
		"dir.go":       {"root", "durable", "unix"},
		"unique.go":    {"root", "unix"},
		"zfs.go":       {"root"},
		"copy.go":      {"unix"},
		"reflink.go":   {"unix"},
		"fallocate.go": {"unix"},
		"build.go":     {"unix"},
		"overlay.go":   {"unix"},
		"device.go":    {"unix"},
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			on := ""
			switch x := call.X.(type) {
			case *ast.Ident:
				on = x.Name
			case *ast.SelectorExpr:
				on = x.Sel.Name
			}
			if slices.Contains(changing[on], call.Sel.Name) {
				seen++
				if !slices.Contains(allowed[name], on) {
					t.Errorf("%s calls %s.%s: add a method to dir that asks first", name, on, call.Sel.Name)
				}
			}
			return true
		})
	}
	if seen < 15 {
		t.Errorf("found %d calls that change something: the test looks for the wrong names", seen)
	}
}

func TestSubFollowsNoLink(t *testing.T) {
	base := t.TempDir()
	put(t, "", base, "real", "x")
	put(t, "", base, "file")
	for link, target := range map[string]string{"link": "real", "out": t.TempDir(), "dangling": "nothing"} {
		if err := os.Symlink(target, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := openDir(base, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for name, want := range map[string]error{
		"real": nil, "link": syscall.ENOTDIR, "out": syscall.ENOTDIR, "dangling": syscall.ENOTDIR, "file": syscall.ENOTDIR,
		"absent": fs.ErrNotExist, "real/x": syscall.ENOTDIR, "file/x": syscall.ENOTDIR,
	} {
		s, err := d.sub(name)
		if want == nil && err != nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if err == nil {
			if got, err := s.names(); err != nil || !slices.Equal(got, []string{"x"}) {
				t.Errorf("%s holds %q, %v", name, got, err)
			}
			s.close()
		}
	}
	if _, err := d.sub("../" + filepath.Base(base)); err == nil {
		t.Error("a name led out of the directory and back")
	}
	for _, in := range []string{"absent", "link", "file"} {
		if got, err := d.namesIn(in); err != nil || got != nil {
			t.Errorf("%s holds %q, %v", in, got, err)
		}
	}
}

func TestOpenTakesRegularFilesOnly(t *testing.T) {
	base := t.TempDir()
	put(t, "x", base, "file")
	put(t, "", base, "dir", "x")
	if err := errors.Join(
		os.Symlink("file", filepath.Join(base, "link")), syscall.Mkfifo(filepath.Join(base, "fifo"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	d, err := openDir(base, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for _, write := range []bool{false, true} {
		for name, want := range map[string]error{"file": nil, "link": errNotRegular, "fifo": errNotRegular, "dir": errNotRegular, "absent": fs.ErrNotExist} {
			f, err := d.open(name, write)
			if want == nil && err != nil || want != nil && !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
			if err == nil {
				f.Close()
			}
		}
	}
	if _, err := d.openNew("file"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file was made anew: %v", err)
	}
}

func TestExchange(t *testing.T) {
	cannot := func(op, _ string) error {
		if op == "exchange" {
			return unix.EINVAL
		}
		return nil
	}
	for _, tt := range []struct {
		name, to string
		step     step
		keeps    bool // what was there
	}{
		{"an image", "data.img", nil, true},
		{"a reference", "data.rbd", nil, true},
		{"an image where the file system can't", "data.img", cannot, false},
		{"a reference where the file system can't", "data.rbd", cannot, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := t.TempDir()
			put(t, "new", base, "from")
			put(t, "old", base, tt.to)
			d, err := openDir(base, tt.step)
			if err != nil {
				t.Fatal(err)
			}
			defer d.close()
			old, err := d.exchange("from", tt.to)
			if err != nil || (old != "") != tt.keeps {
				t.Fatalf("what was there is in %q, %v", old, err)
			}
			want := map[string]string{tt.to: "new"}
			if tt.keeps {
				want[old] = "old"
			}
			if got := tree(t, base); !maps.Equal(got, want) {
				t.Errorf("exchanged, there is %q, want %q", got, want)
			}
			if _, err := d.exchange(tt.to, "absent"); tt.step == nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("exchanged with nothing: %v", err)
			}
		})
	}
}

func TestTemporaryNames(t *testing.T) {
	base := t.TempDir()
	d, err := openDir(base, nil)
	if err != nil {
		t.Fatal(err)
	}
	temp, err := d.newTemp()
	if err != nil {
		t.Fatal(err)
	}
	put(t, "x", temp.path())
	if filepath.Dir(temp.path()) != base || !strings.HasPrefix(temp.name, ".tmp-") {
		t.Errorf("the temporary file is %s", temp.path())
	}
	put(t, "", base, ".tmp-unclaimed")
	got, err := d.names()
	if err != nil {
		t.Fatal(err)
	}
	for _, unclaimed := range []bool{false, true} {
		if err := d.sweepTemps(got, unclaimed); err != nil {
			t.Error(err)
		}
		left := names(tree(t, base))
		if want := 3; unclaimed && len(left) != want-1 || !unclaimed && len(left) != want {
			t.Errorf("swept, also unclaimed: %t, left are %q", unclaimed, left)
		}
	}
	d.close()
	temp.release() // has its own
	if left := tree(t, base); len(left) > 0 {
		t.Errorf("released, left are %q", left)
	}
}
