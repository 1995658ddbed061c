//go:build ceph

package install

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/ceph"
	"elstore/test/need"
)

// TestCephInstalled installs elstore-ceph in place of elstore where systemd runs the service, confined by its unit, and a pool lies on a
// cluster whose user has the rights that README names.
func TestCephInstalled(t *testing.T) {
	need.Program(t, append([]string{"qemu-io", "dpkg-deb", "gzip", "objdump"}, ceph.Programs...)...)
	need.File(t, "/usr/share/doc/qemu-block-extra", "the package qemu-block-extra")
	plain, file := build(t, "1.0.0"), buildCeph(t, "1.0.1")
	fields, err := exec.Command("dpkg-deb", "-f", file, "Conflicts", "Replaces", "Provides", "Depends").CombinedOutput()
	must(t, err)
	for _, want := range []string{"Conflicts: elstore\n", "Replaces: elstore\n", "Provides: elstore (= 1.0.1)\n", "libc6 (>= 2.", "librbd1 (>= ", "librados2 (>= "} {
		if !strings.Contains(string(fields), want) {
			t.Errorf("the package does not say %q:\n%s", want, fields)
		}
	}
	lab := filepath.Join(t.TempDir(), "lab")
	command(t, "go", "build", "-o", lab, "elstore/test/ceph/lab")
	s := boot(t, *directory)
	s.run("dpkg", "-i", s.put(plain))
	s.run("dpkg", "-i", s.put(file))
	if out := s.run("dpkg-query", "-W", "-f", "${Package} ${Status}\n", "elstore*"); !strings.Contains(out, "elstore-ceph install ok installed\n") || strings.Contains(out, "elstore install ok installed\n") {
		t.Errorf("installed is\n%s", out)
	}

	s.put(lab)
	s.run("chmod", "700", "/root/lab")
	s.run("/root/lab", "up", "/srv/ceph")
	t.Cleanup(func() { s.run("/root/lab", "down", "/srv/ceph") })
	const keyring = "/etc/ceph/ceph.client.elstore.keyring"
	s.run("install", "-D", "-m", "644", "/srv/ceph/ceph.conf", "/etc/ceph/ceph.conf")
	s.run("ceph", "-c", "/srv/ceph/ceph.conf", "auth", "get-or-create", "client.elstore", "mon", "profile rbd", "osd", "profile rbd pool="+ceph.Pool, "-o", keyring)
	s.run("chown", "elstore", keyring)
	s.run("chmod", "600", keyring)
	s.run("install", "-d", "-o", "elstore", "-g", "elstore", "/mnt/cluster")
	settings, err := json.Marshal(map[string]any{"ceph": map[string]string{"pool": ceph.Pool, "user": "elstore", "keyring": keyring}})
	must(t, err, os.WriteFile(s.root+"/mnt/cluster/settings.json", settings, 0o644))
	s.until("the pool is found", func() bool {
		var pools []struct {
			Valid bool
		}
		must(t, json.Unmarshal([]byte(s.run("elstore", "pool", "list", "--json")), &pools))
		return len(pools) == 1 && pools[0].Valid
	})
	s.confined()

	s.run("elstore", "volume", "create", "web", "--size", "100M", "--format", "rbd")
	uri := strings.TrimSpace(s.run("elstore", "export", "web", "--for", "uri"))
	io := func(commands ...string) {
		t.Helper()
		args := []string{"qemu-io", "-f", "raw"}
		for _, c := range commands {
			args = append(args, "-c", c)
		}
		if out := s.run(append(args, uri)...); strings.Contains(out, "fail") || strings.Contains(out, "error") {
			t.Errorf("%q: %s", commands, out)
		}
	}
	io("write -P 1 0 4M", "flush")
	s.run("systemctl", "kill", "--signal=KILL", "elstore.service")
	io("read -P 1 0 4M", "write -P 2 4M 4M", "flush", "read -P 2 4M 4M")
	s.run("elstore", "unexport", "web")
	s.run("elstore", "volume", "destroy", "web", "--purge")
	if left := strings.TrimSpace(s.run("rbd", "-c", "/srv/ceph/ceph.conf", "ls", ceph.Pool)); left != "" {
		t.Errorf("left on the cluster: %s", left)
	}
}

// buildCeph makes the .deb of a version that was built with Ceph, and returns its file.
func buildCeph(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{
		{"go", "build", "-tags", "ceph,pacific", "-ldflags", "-s -w -X main.version=v" + version, "-o", filepath.Join(dir, "elstore"), "elstore/cmd/elstore"},
		{"../../.ci/package", filepath.Join(dir, "elstore"), version, filepath.Join(dir, "package")},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "FORMATS=deb")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "package", "elstore-ceph_*.deb"))
	if err != nil || len(files) != 1 {
		t.Fatalf("made %v, %v", files, err)
	}
	return files[0]
}
