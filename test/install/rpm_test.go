package install

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"elstore/test/need"
)

// said runs a program and returns the lines that it printed.
func said(t *testing.T, program string, args ...string) []string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// TestRPM: the .rpm is whole, runs the .deb's scripts at the same occasions, and has the same files, but for the shells' directories.
func TestRPM(t *testing.T) {
	need.Program(t, "rpm", "dpkg-deb", "gzip")
	made := packages(t, "1.0.0", "deb", "rpm")
	deb, rpm := made[0], made[1]
	said(t, "rpm", "-K", "--nosignature", rpm)
	if got := said(t, "rpm", "-qp", "--qf", "%{NAME} %{VERSION} %{LICENSE}", rpm); got[0] != "elstore 1.0.0 Apache-2.0" {
		t.Errorf("it is %q", got)
	}
	if got := said(t, "rpm", "-qp", "--configfiles", rpm); !slices.Equal(got, []string{"/etc/elstore/elstore.yaml"}) {
		t.Errorf("its configuration is %q", got)
	}
	scripts := strings.Join(said(t, "rpm", "-qp", "--scripts", rpm), "\n")
	for _, want := range []string{"postinstall scriptlet (using /bin/sh)", "preuninstall scriptlet (using /bin/sh)", "useradd --system", "systemctl try-restart elstore.service"} {
		if !strings.Contains(scripts, want) {
			t.Errorf("%q is not in its scripts:\n%s", want, scripts)
		}
	}
	var theirs []string
	for _, line := range said(t, "dpkg-deb", "-c", deb) {
		name := strings.TrimPrefix(line[strings.LastIndexByte(line, ' ')+1:], ".")
		if !strings.HasSuffix(name, "/") {
			theirs = append(theirs, strings.Replace(name, "/zsh/vendor-completions/", "/zsh/site-functions/", 1))
		}
	}
	files := said(t, "rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILENAMES}\n]", rpm)
	var ours []string
	for _, line := range files {
		if mode, name, _ := strings.Cut(line, " "); !strings.HasPrefix(mode, "d") {
			ours = append(ours, name)
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	if !slices.Equal(ours, theirs) || len(ours) < 20 {
		t.Errorf("it has\n%s\nand the .deb\n%s", strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
	}
}
