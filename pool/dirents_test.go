package pool

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestList(t *testing.T) {
	files := map[string]string{"file": "", ".hidden/": "", "elemento-bin/": "", "a/": "", "b c/": "", "vid.1.elimg/": ""}
	var want []string
	for i := range 3000 { // more than one call of the kernel's brings
		name := fmt.Sprintf("d%04d%s", i, strings.Repeat("x", i%200))
		files[name+"/"] = ""
		want = append(want, name)
	}
	dir := tree(t, files)
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	want = append(want, "a", "b c", "link")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	found, err := list(root, ".")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range found {
		got = append(got, c.name)
		if c.link != (c.name == "link") {
			t.Errorf("%s is a link: %t", c.name, c.link)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found %d names, want %d", len(got), len(want))
	}
	for _, name := range []string{"gone", "file"} {
		if _, err := list(root, name); !absent(err) {
			t.Errorf("list of %s: %v", name, err)
		}
	}
	for name, want := range map[string]struct{ ok, link bool }{"a": {true, false}, "link": {true, true}, "file": {false, false}, "gone": {false, false}} {
		if c, ok := look(root, ".", name, unix.DT_UNKNOWN); ok != want.ok || ok && c.link != want.link {
			t.Errorf("%s of no known type: %+v, %t", name, c, ok)
		}
	}
}

func BenchmarkDiscover(b *testing.B) {
	root := b.TempDir()
	for p := range 4 {
		put(b, root, fmt.Sprintf("p%d/%s", p, SettingsFile), "{}")
		for i := range 5000 {
			if err := os.Mkdir(filepath.Join(root, fmt.Sprintf("p%d/vid.%032x.elimg", p, i)), 0o755); err != nil {
				b.Fatal(err)
			}
		}
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		b.Fatal(err)
	}
	defer dir.Close()
	for b.Loop() {
		if s := discover(dir, &asking{silent: map[string]bool{}}); len(s.pools) != 4 {
			b.Fatal(s)
		}
	}
}
