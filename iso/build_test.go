package iso_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"elstore/iso"
	"elstore/test/need"
	"elstore/volume/fault"
)

func build(t testing.TB, c iso.Config) []byte {
	t.Helper()
	data, err := iso.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// seed is a file set like that of a cloud-init seed, with names that collide in plain ISO 9660.
var seed = map[string][]byte{
	"user-data": []byte("#cloud-config\nhostname: a\n"), "meta-data": []byte("instance-id: i\n"),
	"network-data": []byte("version: 2\n"), "network-config": []byte("version: 2\n"), "vendor-data": {}, "script_a.sh": []byte("#!/bin/sh\n"),
}

func open(t testing.TB, data []byte) *iso.Image {
	t.Helper()
	im, err := iso.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// content reads all files of an image.
func content(t testing.TB, im *iso.Image) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := im.Walk(t.Context(), func(f iso.File) error {
		if f.Dir || f.Link != "" {
			return nil
		}
		r, err := im.Open(f)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(r)
		if err == nil && int64(len(data)) != f.Size {
			err = fmt.Errorf("%s: %d bytes, want %d", f.Path, len(data), f.Size)
		}
		all[f.Path] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

func TestBuildAndRead(t *testing.T) {
	data := build(t, iso.Config{Label: "cidata", Application: "elstore", Files: seed})
	im := open(t, data)
	if im.Label != "cidata" || im.Application != "elstore" || !im.RockRidge || !im.Joliet || im.UDF || im.Boot != nil {
		t.Errorf("%+v", im)
	}
	if int64(len(data)) != im.Size || len(data)%iso.Sector != 0 {
		t.Errorf("%d bytes, and the volume has %d", len(data), im.Size)
	}
	if got := content(t, im); !same(got, seed) {
		t.Errorf("read %q", got)
	}
}

// The clock, the temporary directory and the order of maps leave no trace.
func TestSameFilesSameBytes(t *testing.T) {
	files := maps.Clone(seed)
	for i := range 60 { // short names that collide in two groups, whose numbered names collide too
		files[fmt.Sprintf("averylongname%02d.txt", i)] = nil
		files[fmt.Sprintf("averylonhname%02d.txt", i)] = nil
		files[fmt.Sprintf("dir%d/x", i)] = []byte{1}
	}
	first := build(t, iso.Config{Label: "cidata", Files: files})
	for range 5 {
		if !bytes.Equal(first, build(t, iso.Config{Label: "cidata", Files: files})) {
			t.Fatal("another image of the same files")
		}
	}
	files["user-data"] = append(files["user-data"], '\n')
	if bytes.Equal(first, build(t, iso.Config{Label: "cidata", Files: files})) {
		t.Fatal("the same image of other files")
	}
}

func TestBuildRefuses(t *testing.T) {
	one := func(name string) iso.Config { return iso.Config{Label: "cidata", Files: map[string][]byte{name: nil}} }
	tests := map[string]iso.Config{
		"no label": {Files: seed}, "long label": {Label: strings.Repeat("x", 17)}, "odd label": {Label: "a b"},
		"dots": one("../evil"), "absolute": one("/etc"), "control": one("a\nb"), "long": one(strings.Repeat("x", 300)),
		"empty": one(""), "dot": one("."), "dot dot": one(".."), "backslash": one(`a\b`), "not UTF-8": one("\xff"), "trailing slash": one("a/"),
		"file and directory": {Label: "x", Files: map[string][]byte{"a": nil, "a/b": nil}},
		"no boot image":      {Label: "x", UEFIBoot: "efi.img"},
		"long application":   {Label: "x", Application: strings.Repeat("x", 129)},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := iso.Build(c); !fault.Is(err, fault.BadRequest) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := iso.Build(iso.Config{Label: "x", Files: map[string][]byte{"a": make([]byte, iso.MaxBuild+1)}}); !fault.Is(err, fault.BodyTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// run runs a program and returns what it says.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func saved(t *testing.T, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.iso")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestOthersReadIt(t *testing.T) {
	need.Program(t, "isoinfo", "xorriso", "blkid")
	name := saved(t, build(t, iso.Config{Label: "cidata", Application: "elstore", Files: seed, Executable: map[string]bool{"script_a.sh": true}}))
	said := run(t, "isoinfo", "-d", "-i", name)
	for _, want := range []string{"Volume id: cidata\n", "Application id: ELSTORE", "Joliet with UCS level 3 found", "Rock Ridge signatures version 1", "Volume size is: "} {
		if !strings.Contains(strings.ToLower(said), strings.ToLower(want)) {
			t.Errorf("isoinfo does not say %q:\n%s", want, said)
		}
	}
	if got := strings.TrimSpace(run(t, "blkid", "-p", "-o", "value", "-s", "LABEL", name)); got != "cidata" {
		t.Errorf("blkid: label %q", got)
	}
	for _, tree := range []string{"-R", "-J"} {
		listed := strings.Fields(run(t, "isoinfo", tree, "-f", "-i", name))
		slices.Sort(listed)
		var want []string
		for file := range seed {
			want = append(want, "/"+file)
		}
		slices.Sort(want)
		if !slices.Equal(listed, want) {
			t.Errorf("isoinfo %s lists %q, want %q", tree, listed, want)
		}
	}
	if long := run(t, "isoinfo", "-R", "-l", "-i", name); !strings.Contains(long, "-rwxr-xr-x   1    0    0") || !strings.Contains(long, "Jan  1 2000") {
		t.Errorf("rights, owner or date:\n%s", long)
	}
}

// An independent reader finds in 200 random file sets what was put there, in both trees.
func TestRandomSetsRoundTrip(t *testing.T) {
	need.Program(t, "isoinfo", "xorriso")
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		files := randomFiles(rng)
		data := build(t, iso.Config{Label: "cidata", Files: files})
		if got := content(t, open(t, data)); !same(got, files) {
			t.Fatalf("set %d: our own reader finds %d files, want %d", i, len(got), len(files))
		}
		jolietToo(t, data, files)
		out := filepath.Join(t.TempDir(), "out")
		run(t, "xorriso", "-osirrox", "on", "-indev", saved(t, data), "-extract", "/", out)
		if got := onDisk(t, out); !same(got, files) {
			t.Fatalf("set %d: xorriso finds %d files, want %d", i, len(got), len(files))
		}
	}
}

// jolietToo reads the Joliet tree: that of an image without Rock Ridge.
func jolietToo(t *testing.T, data []byte, files map[string][]byte) {
	t.Helper()
	blind := bytes.ReplaceAll(data, []byte("SP\x07\x01\xbe\xef"), []byte("XX\x07\x01\xbe\xef"))
	im := open(t, blind)
	if im.RockRidge {
		t.Fatal("Rock Ridge is still there")
	}
	if got := content(t, im); !same(got, files) {
		t.Fatalf("the Joliet tree has %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(files)))
	}
}

func randomFiles(rng *rand.Rand) map[string][]byte {
	files := map[string][]byte{}
	letters := []rune("abcdefghijkABCDEF0123456789-_.äß€ ")
	name := func() string {
		n := 1 + rng.IntN(30)
		var b strings.Builder
		b.WriteByte('f')
		for range n {
			b.WriteRune(letters[rng.IntN(len(letters))])
		}
		return strings.TrimRight(b.String(), ". ") + "x"
	}
	dirs := []string{""}
	for range rng.IntN(4) {
		dirs = append(dirs, path.Join(dirs[rng.IntN(len(dirs))], "d"+name()))
	}
	for range rng.IntN(40) {
		size := []int{0, 1, 2047, 2048, 2049, 4096, rng.IntN(20000)}[rng.IntN(7)]
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.UintN(256))
		}
		files[path.Join(dirs[rng.IntN(len(dirs))], name())] = data
	}
	return files
}

func onDisk(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		all[rel], err = os.ReadFile(p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func BenchmarkBuildSeed(b *testing.B) {
	for b.Loop() {
		build(b, iso.Config{Label: "cidata", Files: seed})
	}
}
