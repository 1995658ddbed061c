package need

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// verdict is a test that notes how it was ended, instead of ending.
type verdict struct {
	testing.TB
	skipped, failed string
}

func (v *verdict) Helper() {}

func (v *verdict) Skipf(format string, args ...any) {
	v.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (v *verdict) Fatalf(format string, args ...any) {
	v.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// judge runs test as the testing package does, in a goroutine that it may end.
func judge(test func(testing.TB)) *verdict {
	v := &verdict{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(v)
	}()
	<-done
	return v
}

func TestWhatIsMissing(t *testing.T) {
	const absent = "elstore-no-such-program"
	tests := []struct {
		name, ci        string
		programs        []string
		skipped, failed bool
	}{
		{"there", "", []string{"sh"}, false, false},
		{"there, in CI", "true", []string{"sh"}, false, false},
		{"missing", "", []string{absent}, true, false},
		{"one of two missing", "", []string{"sh", absent}, true, false},
		{"missing, in CI", "true", []string{absent}, false, true},
		{"missing, not quite in CI", "false", []string{absent}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("CI", tt.ci)
			v := judge(func(tb testing.TB) { Program(tb, tt.programs...) })
			if (v.skipped != "") != tt.skipped || (v.failed != "") != tt.failed {
				t.Errorf("skipped %q, failed %q", v.skipped, v.failed)
			}
			if said := v.skipped + v.failed; said != "" && !strings.Contains(said, absent) {
				t.Errorf("%q does not name %s", said, absent)
			}
		})
	}
}

func TestRootIsWhatTheUserIs(t *testing.T) {
	t.Setenv("CI", "true")
	v := judge(Root)
	if isRoot := os.Geteuid() == 0; (v.failed == "") != isRoot {
		t.Errorf("root %t, and the test failed with %q", isRoot, v.failed)
	}
}

func TestAFileSystemThatNobodyKnows(t *testing.T) {
	if v := judge(func(tb testing.TB) { FS(tb, "fat") }); !strings.Contains(v.failed, "fat") {
		t.Errorf("failed with %q, want a sentence that names it", v.failed)
	}
}

func TestFS(t *testing.T) {
	tests := []struct {
		kind    string
		reflink bool
	}{
		{"xfs", true},
		{"btrfs", true},
		{"ext4", false},
	}
	for _, tt := range tests {
		var mountpoint string
		t.Run(tt.kind, func(t *testing.T) {
			mountpoint = FS(t, tt.kind)
			if kind := mounted(t, mountpoint); kind != tt.kind {
				t.Errorf("mounted %q, want %q", kind, tt.kind)
			}
			data := filepath.Join(mountpoint, "data")
			if err := os.WriteFile(data, make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			err := exec.CommandContext(t.Context(), "cp", "--reflink=always", data, data+".clone").Run()
			if (err == nil) != tt.reflink {
				t.Errorf("a reflink copy ended with %v, want success %t", err, tt.reflink)
			}
		})
		for _, dir := range []string{mountpoint, filepath.Dir(mountpoint)} {
			if mountpoint != "" && mounted(t, dir) != "" {
				t.Errorf("%s is still mounted after its test", dir)
			}
		}
	}
}

func TestDisk(t *testing.T) {
	dir := Disk(t)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("it holds %v, %v, want nothing", entries, err)
	}
	if kind := mounted(t, filepath.Dir(dir)); os.Geteuid() == 0 && kind != "ext4" {
		t.Errorf("it is on %q, want ext4", kind)
	}
}

func TestTmpfs(t *testing.T) {
	var mountpoint string
	t.Run("full", func(t *testing.T) {
		mountpoint = Tmpfs(t, 1<<20)
		if kind := mounted(t, mountpoint); kind != "tmpfs" {
			t.Errorf("%s is %q", mountpoint, kind)
		}
		if err := os.WriteFile(filepath.Join(mountpoint, "data"), make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("2 MiB in 1 MiB: %v", err)
		}
	})
	if mountpoint != "" && mounted(t, mountpoint) != "" {
		t.Errorf("%s is still mounted after its test", mountpoint)
	}
}

func TestPowerCutKeepsWhatWasSyncedAndNothingElse(t *testing.T) {
	for _, kind := range []string{"xfs", "ext4"} {
		t.Run(kind, func(t *testing.T) {
			before := FS(t, kind)
			content := strings.Repeat("content", 10_000)
			for _, name := range []string{"synced", "in memory"} {
				if err := os.WriteFile(filepath.Join(before, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"synced", "."} {
				f, err := os.Open(filepath.Join(before, name))
				if err != nil {
					t.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			after := PowerCut(t, before)
			if data, err := os.ReadFile(filepath.Join(after, "synced")); err != nil || string(data) != content {
				t.Errorf("the synced file has %d bytes of %d: %v", len(data), len(content), err)
			}
			if data, err := os.ReadFile(filepath.Join(after, "in memory")); err == nil && string(data) == content {
				t.Error("the file that was in memory alone is whole after the power cut")
			}
		})
	}
}

func TestPowerCutOfWhatCannotBeMountedTwice(t *testing.T) {
	if v := judge(func(tb testing.TB) { PowerCut(tb, "/nowhere/btrfs") }); !strings.Contains(v.failed, "btrfs") {
		t.Errorf("failed with %q, want a sentence that names it", v.failed)
	}
}

// mounted returns the kind of file system that is mounted on dir, empty if none is.
func mounted(t *testing.T, dir string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if field := strings.Fields(line); len(field) > 2 && field[1] == dir {
			return field[2]
		}
	}
	return ""
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "package_1.deb"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CI", "true")
	for _, tt := range []struct {
		pattern string
		failed  string
	}{
		{"package_1.deb", ""},
		{"package_*.deb", ""},
		{"other_*.deb", "make downloads it"},
		{"[", "syntax error"},
	} {
		t.Run(tt.pattern, func(t *testing.T) {
			v := judge(func(tb testing.TB) { File(tb, filepath.Join(dir, tt.pattern), "make downloads it") })
			if (v.failed == "") != (tt.failed == "") || !strings.Contains(v.failed, tt.failed) {
				t.Errorf("failed with %q, want %q", v.failed, tt.failed)
			}
		})
	}
}
