package guest

import (
	"errors"
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
			key, err := keyOf("text", debs)
			if err != nil {
				t.Fatal(err)
			}
			again, err := keyOf("text", debs)
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
	if one, other := must(keyOf("a", nil)), must(keyOf("b", nil)); one == other {
		t.Error("what is made otherwise has the same key")
	}
	if _, err := keyOf("", []string{filepath.Join(dir, "missing.deb")}); err == nil {
		t.Error("a package that is not there has a key")
	}
}

// must returns what can't fail here.
func must(key string, err error) string {
	if err != nil {
		panic(err)
	}
	return key
}

// An image is made once, and one that could not be made leaves nothing.
func TestCached(t *testing.T) {
	dir := t.TempDir()
	made := 0
	broken := errors.New("broken")
	r := recipe{kind: "image", make: func(temp, to string) error {
		made++
		if err := os.WriteFile(filepath.Join(temp, "between"), nil, 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, "disk"), nil, 0o600); err != nil {
			return err
		}
		if made == 1 {
			return broken
		}
		return nil
	}}
	if _, _, err := r.cached(dir); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	for range 2 {
		place, use, err := r.cached(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer use.Close()
		if !exists(filepath.Join(place, "disk")) {
			t.Error("there is no disk")
		}
	}
	if all, err := filepath.Glob(filepath.Join(dir, "image-*")); err != nil || len(all) != 1 || made != 2 {
		t.Errorf("%q, %v; made %d times", all, err, made)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"image-used", "image-unused", "image-making-1", "cloud-other", "packages"} {
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
	for _, want := range [][]string{{"cloud-other", "image-used", "packages"}, {"cloud-other", "packages"}} {
		if err := sweep(dir, "image"); err != nil {
			t.Fatal(err)
		}
		if got := names(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if err := use.Close(); err != nil && len(want) > 2 {
			t.Fatal(err)
		}
	}
}
