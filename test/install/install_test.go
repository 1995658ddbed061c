package install

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"elstore/test/need"
)

var directory = flag.String("system", "", "directory of the Debian to install on, as mmdebstrap makes it; default this machine's own")

// build makes the .deb of one version and returns its file.
func build(t *testing.T, version string) string {
	t.Helper()
	return packages(t, version, "deb")[0]
}

// packages makes the packages of one version, and returns their files.
func packages(t *testing.T, version string, formats ...string) []string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{
		{"go", "build", "-ldflags", "-s -w -X main.version=v" + version, "-o", filepath.Join(dir, "elstore"), "elstore/cmd/elstore"},
		{"../../.ci/package", filepath.Join(dir, "elstore"), version, filepath.Join(dir, "package")},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "FORMATS="+strings.Join(formats, " "))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	var files []string
	for _, format := range formats {
		made, err := filepath.Glob(filepath.Join(dir, "package", "*."+format))
		if err != nil || len(made) != 1 {
			t.Fatalf("made %v, %v", made, err)
		}
		files = append(files, made[0])
	}
	return files
}

// put copies a file into the system.
func (s *system) put(file string) string {
	s.t.Helper()
	data, err := os.ReadFile(file)
	must(s.t, err)
	name := "/root/" + filepath.Base(file)
	must(s.t, os.MkdirAll(s.root+"/root", 0o700), os.WriteFile(s.root+name, data, 0o600))
	return name
}

// TestInstallAndUpgrade: a package is installed, its service started by systemd and confined by its unit; machines attach a raw and a
// qcow2 volume, and write on and on while the package is upgraded.
func TestInstallAndUpgrade(t *testing.T) {
	need.Program(t, "qemu-io", "qemu-storage-daemon", "dpkg-deb", "gzip", "stdbuf")
	need.File(t, "/usr/share/doc/qemu-block-extra", "the package qemu-block-extra")
	first, second := build(t, "1.0.0"), build(t, "1.0.1")
	s := boot(t, *directory)
	s.run("dpkg", "-i", s.put(first))
	s.run("systemctl", "is-enabled", "elstore.service", "elstore-api.socket", "elstore-iscsi.socket")
	s.run("systemctl", "is-active", "elstore.service")
	s.run("install", "-d", "-o", "elstore", "-g", "elstore", "/mnt/fast")
	s.run("sh", "-c", `echo '{"max-volumes": 10, "max-total-size": "1G"}' >/mnt/fast/settings.json`)
	var pools []struct {
		Name  string
		Valid bool
	}
	s.until("the pool is found", func() bool {
		must(t, json.Unmarshal([]byte(s.run("elstore", "pool", "list", "--json")), &pools))
		return len(pools) == 1 && pools[0].Valid
	})
	s.confined()

	uris := map[string]string{}
	var writers []*writer
	for _, format := range []string{"raw", "qcow2"} {
		s.run("elstore", "volume", "create", format, "--size", "100M", "--format", format)
		uris[format] = s.run("elstore", "export", format, "--for", "uri")
		writers = append(writers, s.write(format, strings.TrimSpace(uris[format])))
	}
	for _, w := range writers {
		w.more(blocks)
	}
	s.run("dpkg", "-i", s.put(second))
	if out := s.run("elstore", "version"); strings.Count(out, "v1.0.1") != 2 {
		t.Errorf("after the upgrade the versions are\n%s", out)
	}
	for _, w := range writers {
		w.more(blocks)
		w.end()
	}
	for format, uri := range uris {
		if again := s.run("elstore", "export", format, "--for", "uri"); again != uri {
			t.Errorf("%s is exported as %s, was as %s", format, again, uri)
		}
	}
	if out := s.run("systemctl", "show", "-p", "NRestarts,Result,StatusText", "elstore.service"); !strings.Contains(out, "NRestarts=0") || !strings.Contains(out, "Result=success") || !strings.Contains(out, "StatusText=serving /mnt") {
		t.Errorf("systemd says\n%s", out)
	}
	s.removed()
}

// confined looks at what the service may do.
func (s *system) confined() {
	s.t.Helper()
	pid := strings.TrimSpace(s.run("systemctl", "show", "-p", "MainPID", "--value", "elstore.service"))
	status := s.run("cat", "/proc/"+pid+"/status")
	for _, want := range []string{`NoNewPrivs:\s+1`, `Seccomp:\s+2`, `CapEff:\s+0+\n`, `CapBnd:\s+0+\n`, `Uid:\s+[1-9]`} {
		if !regexp.MustCompile(want).MatchString(status) {
			s.t.Errorf("the service's status lacks %s:\n%s", want, status)
		}
	}
	if out, err := s.try("nsenter", "-t", pid, "-m", "--", "sh", "-c", "touch /usr/x || touch /etc/x || touch /home/x"); err == nil {
		s.t.Errorf("the service may write to the system: %s", out)
	}
}

// removed takes the package off, with what it leaves.
func (s *system) removed() {
	s.t.Helper()
	s.run("dpkg", "--purge", "elstore")
	if out, err := s.try("systemctl", "is-active", "elstore.service", "elstore-api.socket"); err == nil || strings.Contains(out, "\nactive") {
		s.t.Errorf("after its end the service is %s", out)
	}
	if out := s.run("sh", "-c", "ls /mnt/fast; ls -d /var/lib/elstore; ls /etc/elstore 2>/dev/null || true"); strings.Count(out, ".elimg") != 2 || !strings.Contains(out, "/var/lib/elstore") || strings.Contains(out, "elstore.yaml") {
		s.t.Errorf("left is\n%s", out)
	}
	if out, err := s.try("pgrep", "-u", "elstore"); err == nil {
		s.t.Errorf("processes are left: %s", out)
	}
}
