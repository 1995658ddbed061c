// Package need lets a test say what it needs of the machine: a program, a file, root, a file system of a kind.
//
// What is missing skips the test by name. With CI=true in the environment it fails the test instead, so that
// no run of record passes by leaving something out. This is the one place that skips; test/arch sees to it.
package need

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Program needs every named program in PATH.
func Program(t testing.TB, names ...string) {
	t.Helper()
	var missing []string
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		lacking(t, strings.Join(missing, ", ")+" in PATH")
	}
}

// Root needs the rights to mount, to make loop devices and to change owners.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "to run as root")
	}
}

// lacking ends the test: skipped, or failed where nothing may be skipped.
func lacking(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s, and with CI=true nothing is skipped", what)
	}
	t.Skipf("needs %s", what)
}

// File needs a file that fits the pattern, of path/filepath's Match. The hint says how to get it.
func File(t testing.TB, pattern, hint string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatalf("%s: %v", pattern, err)
	}
	if files == nil {
		lacking(t, pattern+" ("+hint+")")
	}
}
