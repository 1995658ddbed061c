package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"elstore/test/need"
	"elstore/test/rig"
)

// patience is how long is waited for what should take seconds.
const patience = time.Minute

// system is a Debian that systemd has booted, in namespaces of its own. What changes in it is gone with the test.
type system struct {
	t    *testing.T
	root string
	init int // its process 1, as this machine counts
}

// boot boots a copy of this machine's own system, without its services, or of the one in the directory.
func boot(t *testing.T, directory string) *system {
	t.Helper()
	need.Root(t)
	need.Program(t, "systemd-nspawn", "nsenter", "mount", "umount")
	need.File(t, "/lib/systemd/systemd", "the package systemd")
	own := directory == ""
	if own {
		directory = "/"
	}
	base := t.TempDir()
	s := &system{t: t, root: filepath.Join(base, "root")}
	layers := filepath.Join(base, "layers")
	must(t, os.MkdirAll(s.root, 0o755), os.MkdirAll(layers, 0o755))
	command(t, "mount", "-t", "tmpfs", "tmpfs", layers)
	t.Cleanup(func() { command(t, "umount", layers) })
	must(t, os.Mkdir(layers+"/upper", 0o755), os.Mkdir(layers+"/work", 0o755))
	command(t, "mount", "-t", "overlay", "overlay", "-o", "lowerdir="+directory+",upperdir="+layers+"/upper,workdir="+layers+"/work", s.root)
	t.Cleanup(func() { command(t, "umount", s.root) })
	if own {
		s.calm()
	}
	var said bytes.Buffer
	cmd := exec.Command("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--link-journal=no", "--private-network",
		"--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self", // which its own list is too old for
		"-D", s.root, "--boot", "systemd.unit=basic.target", "systemd.show_status=no")
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		if s.init > 0 {
			_, _ = s.try("systemctl", "--force", "poweroff")
		}
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the system does not end")
			_ = cmd.Process.Kill()
			<-ended
		}
		removeGroups(t)
		if t.Failed() {
			t.Logf("systemd-nspawn said %s", said.String())
		}
	})
	s.until("the system is up", func() bool {
		select {
		case <-ended:
			t.Fatalf("the system ended: %s", said.String())
		default:
		}
		below := rig.Below(t, cmd.Process.Pid, "systemd")
		if len(below) == 0 {
			return false
		}
		s.init = below[0]
		_, err := s.try("systemctl", "is-active", "basic.target")
		return err == nil
	})
	return s
}

// calm takes this machine's own services and pools out of the copy.
func (s *system) calm() {
	s.t.Helper()
	for _, dir := range []string{"etc/systemd/system", "lib/systemd/system/multi-user.target.wants", "lib/systemd/system/timers.target.wants", "mnt", "etc/elstore"} {
		entries, err := os.ReadDir(filepath.Join(s.root, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.t.Fatal(err)
		}
		for _, e := range entries {
			must(s.t, os.RemoveAll(filepath.Join(s.root, dir, e.Name())))
		}
	}
}

// removeGroups removes the control groups that systemd-nspawn leaves empty. A group that is in use can't be removed.
func removeGroups(t *testing.T) {
	roots, err := filepath.Glob("/sys/fs/cgroup/*/payload")
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range append(roots, "/sys/fs/cgroup/payload") {
		var groups []string
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
		for _, group := range slices.Backward(groups) {
			_ = os.Remove(group)
		}
	}
}

// enter makes a command that runs in the system.
func (s *system) enter(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", strconv.Itoa(s.init), "-m", "-u", "-i", "-n", "-p", "-C", "--"}, args...)...)
}

// try runs a command in the system.
func (s *system) try(args ...string) (string, error) {
	cmd := s.enter(args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// run runs a command in the system that must succeed.
func (s *system) run(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		log, _ := s.try("journalctl", "--no-pager", "-n", "60")
		s.t.Fatalf("%v\n%s", err, log)
	}
	return out
}

// until waits for something that the system does by itself.
func (s *system) until(what string, done func() bool) {
	s.t.Helper()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-deadline:
			log, _ := s.try("journalctl", "--no-pager", "-n", "60")
			s.t.Fatalf("never: %s\n%s", what, log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// command runs a command on this machine.
func command(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
