package guest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestKey(t *testing.T) {
	dir := t.TempDir()
	one, other := filepath.Join(dir, "one.deb"), filepath.Join(dir, "other.deb")
	keys := map[string]string{}
	for _, content := range []string{"1", "2"} {
		if err := os.WriteFile(one, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(other, []byte("1"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, debs := range [][]string{{}, {one}, {one, other}} {
			key, err := keyOf(debs)
			if err != nil {
				t.Fatal(err)
			}
			again, err := keyOf(debs)
			if err != nil || again != key {
				t.Errorf("%q and %q, %v", key, again, err)
			}
			name := content + " in the first of " + strings.Join(debs, ", ")
			if was := keys[key]; was != "" && len(debs) > 0 {
				t.Errorf("%s and %s have the same key", name, was)
			}
			keys[key] = name
		}
	}
	if _, err := keyOf([]string{filepath.Join(dir, "missing.deb")}); err == nil {
		t.Error("a package that is not there has a key")
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"image-used", "image-unused", "making-1", "packages"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "content"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	names := func() []string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	use, err := lockFile(filepath.Join(dir, "image-used"), os.O_RDONLY, unix.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{{"image-used", "packages"}, {"packages"}} {
		if err := sweep(dir); err != nil {
			t.Fatal(err)
		}
		if got := names(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if err := use.Close(); err != nil && len(want) > 1 {
			t.Fatal(err)
		}
	}
}
