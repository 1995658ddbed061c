package durable

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEachEntry(t *testing.T) {
	dir := t.TempDir()
	want := map[string]byte{".": unix.DT_DIR, "..": unix.DT_DIR, "file": unix.DT_REG}
	for i := range 3000 { // more than one call of the kernel's brings
		name := fmt.Sprintf("d%0*d", 1+i%200, i)
		want[name] = unix.DT_DIR
	}
	for name, kind := range want {
		if kind == unix.DT_DIR {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got := map[string]byte{}
	err = EachEntry(d, func(name []byte, kind byte) { got[string(name)] = kind })
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d entries, want %d: %v", len(got), len(want), err)
	}
	file, err := os.Open(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := EachEntry(file, func([]byte, byte) {}); err == nil {
		t.Error("a file was read as a directory")
	}
}

func FuzzDirents(f *testing.F) {
	d, err := os.Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	defer d.Close()
	buf := make([]byte, 4096)
	n, err := unix.ReadDirent(int(d.Fd()), buf)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(buf[:n])
	f.Add(make([]byte, 24))
	f.Fuzz(func(t *testing.T, data []byte) {
		total := 0
		eachDirent(data, func(name []byte, _ byte) { total += len(name) + 20 })
		if total > len(data) {
			t.Errorf("of %d bytes %d were names", len(data), total)
		}
	})
}
