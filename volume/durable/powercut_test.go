package durable

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"elstore/test/need"
)

// A power cut takes all that is in memory alone. Each change is cut off right after the call returned, on
// file systems that are known for the empty files that a missing fsync leaves.
func TestWhatReturnedSurvivesAPowerCut(t *testing.T) {
	old, replaced := strings.Repeat("old", 3000), strings.Repeat("new", 5000)
	tests := []struct {
		name   string
		change func(*os.Root) error
		want   map[string]string // the files that matter, and their content; empty for none
	}{
		{"new file", func(r *os.Root) error {
			return WriteFile(r, "dir/new", []byte(replaced), 0o600)
		}, map[string]string{"dir/new": replaced, "dir/old": old}},
		{"replaced file", func(r *os.Root) error {
			return WriteFile(r, "dir/old", []byte(replaced), 0o600)
		}, map[string]string{"dir/old": replaced}},
		{"renamed file", func(r *os.Root) error {
			return Rename(r, "dir/old", "dir/new")
		}, map[string]string{"dir/new": old, "dir/old": ""}},
		{"moved file", func(r *os.Root) error {
			return Rename(r, "dir/old", "other/moved")
		}, map[string]string{"other/moved": old, "dir/old": ""}},
		{"moved directory", func(r *os.Root) error {
			return Rename(r, "dir", "other/dir")
		}, map[string]string{"other/dir/old": old, "dir/old": ""}},
		{"removed file", func(r *os.Root) error {
			return Remove(r, "dir/old")
		}, map[string]string{"dir/old": ""}},
	}
	for _, kind := range []string{"xfs", "ext4"} {
		for _, tt := range tests {
			t.Run(kind+" "+tt.name, func(t *testing.T) {
				mountpoint := need.FS(t, kind)
				before := prepare(t, mountpoint, old)
				if err := tt.change(before); err != nil {
					t.Fatal(err)
				}
				after, err := os.OpenRoot(need.PowerCut(t, mountpoint))
				if err != nil {
					t.Fatal(err)
				}
				defer after.Close()
				for name, want := range tt.want {
					data, err := after.ReadFile(name)
					switch {
					case want == "" && !errors.Is(err, fs.ErrNotExist):
						t.Errorf("%s is back, with %d bytes: %v", name, len(data), err)
					case want != "" && string(data) != want:
						t.Errorf("%s has %d bytes of %d: %v", name, len(data), len(want), err)
					}
				}
				wantNoTemp(t, after)
			})
		}
	}
}

// prepare makes two directories and a file in the file system, and sees to it that they are on the device.
func prepare(t *testing.T, mountpoint, old string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(mountpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	for _, dir := range []string{"dir", "other"} {
		if err := root.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteFile(root, "dir/old", []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := SyncDir(root, "."); err != nil {
		t.Fatal(err)
	}
	return root
}
