//go:build ceph

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
)

// TestCephPackage makes the package of a build with Ceph: it says what it needs, and that it takes the plain one's place.
func TestCephPackage(t *testing.T) {
	need.Program(t, "dpkg-deb", "dpkg-query", "objdump", "gzip")
	dir := t.TempDir()
	cmd := exec.Command("../../.ci/package", rig.Binary(t), "1.0.0", dir)
	cmd.Env = append(os.Environ(), "FORMATS=deb")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "elstore-ceph_1.0.0_*.deb"))
	if err != nil || len(files) != 1 {
		t.Fatalf("made %v, %v", files, err)
	}
	fields := output(t, "dpkg-deb", "-f", files[0], "Package", "Depends", "Conflicts", "Replaces", "Provides")
	for _, want := range []string{
		"Package: elstore-ceph\n", "Conflicts: elstore\n", "Replaces: elstore\n", "Provides: elstore (= 1.0.0)\n",
		"libc6 (>= 2.", "librbd1 (>= ", "librados2 (>= ",
	} {
		if !strings.Contains(fields, want) {
			t.Errorf("the package does not say %q:\n%s", want, fields)
		}
	}
	tree := filepath.Join(dir, "tree")
	output(t, "dpkg-deb", "-x", files[0], tree)
	output(t, filepath.Join(tree, "usr/bin/elstore"), "version", "--help")
	for _, name := range []string{"usr/lib/systemd/system/elstore.service", "etc/elstore/elstore.yaml"} {
		if _, err := os.Stat(filepath.Join(tree, name)); err != nil {
			t.Error(err)
		}
	}
}
