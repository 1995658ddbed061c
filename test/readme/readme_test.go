package readme

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"elstore/test/need"
)

// patience is how long a command may take.
const patience = 3 * time.Minute

// abroad are the commands of the tour that ask for something of the internet, or for an id that only the reader has. Of those it is
// only seen that their flags are there.
var abroad = []string{"https://example.com/", "migration conclude", "debian-12.9.0-amd64-netinst.iso", "iso cat debian"}

// place is a clone of the repository in a network of its own, where the README's addresses are free.
type place struct {
	t   *testing.T
	dir string
	pid int // of what holds the network
}

func newPlace(t *testing.T) *place {
	t.Helper()
	need.Root(t)
	need.Program(t, "unshare", "nsenter", "ip", "make", "git", "curl", "qemu-img", "qemu-storage-daemon")
	need.File(t, "/usr/share/doc/qemu-block-extra", "the package qemu-block-extra")
	p := &place{t: t, dir: filepath.Join(t.TempDir(), "elstore")}
	files := exec.Command("bash", "-c", `git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C "$0"`, p.dir)
	files.Dir = "../.."
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := files.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	network := exec.Command("unshare", "--net", "cat")
	in, err := network.StdinPipe() // its end is the network's
	if err != nil {
		t.Fatal(err)
	}
	if err := network.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = network.Wait()
	})
	p.pid = network.Process.Pid
	p.until("a network of its own", func() bool {
		ours, err := os.Readlink("/proc/self/ns/net")
		theirs, terr := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.pid))
		return err == nil && terr == nil && ours != theirs
	})
	p.run("ip link set lo up")
	return p
}

func (p *place) until(what string, done func() bool) {
	p.t.Helper()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-deadline:
			p.t.Fatalf("never: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// shell makes a command of a shell there.
func (p *place) shell(command string) *exec.Cmd {
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(p.pid), "-n", "--", "bash", "-c", command)
	cmd.Dir = p.dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ELSTORE_") })
	cmd.Env = append(cmd.Env, "PATH="+p.dir+"/bin:"+os.Getenv("PATH"), "EDITOR=true")
	return cmd
}

// run runs a command that must succeed, and returns what it printed.
func (p *place) run(command string) string {
	p.t.Helper()
	cmd := p.shell(command)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		p.t.Errorf("$ %s\n%v\n%s%s", command, err, out.String(), stderr.String())
	}
	return out.String()
}

// serve does `make run`, and returns the commands that it says to try.
func (p *place) serve() (tries []string) {
	p.t.Helper()
	log := filepath.Join(p.t.TempDir(), "log")
	file, err := os.Create(log)
	if err != nil {
		p.t.Fatal(err)
	}
	defer file.Close()
	cmd := p.shell("exec make run")
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for all that make started
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		_ = cmd.Wait()
	})
	var said []byte
	p.until("the server is ready", func() bool {
		said, _ = os.ReadFile(log)
		return bytes.Contains(said, []byte(`"msg":"ready"`))
	})
	for line := range strings.Lines(string(said)) {
		if command := strings.TrimSpace(line); strings.HasPrefix(command, "curl ") {
			tries = append(tries, command)
		}
	}
	return tries
}

// TestWhatTheREADMESays: its two commands, and every command of its tour.
func TestWhatTheREADMESays(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"    make run\n", "    make test\n"} {
		if !strings.Contains(string(text), command) {
			t.Errorf("the README has no %q", command)
		}
	}
	p := newPlace(t)
	p.run("make -n test demo bench soak package")
	tries := p.serve()
	if len(tries) != 3 {
		t.Errorf("make run says %q", tries)
	}
	for _, command := range tries {
		p.run(strings.Replace(command, "curl -s", "curl -sf", 1))
	}
	p.run("elstore volume destroy first --purge --client 00000000000000000000000000000001")
	// What the tour takes for granted: an image.
	p.run("truncate -s 64M disk.img")
	steps := tour(string(text), "Five minutes")
	if len(steps) < 20 {
		t.Fatalf("the tour has %d steps", len(steps))
	}
	for _, s := range steps {
		if slices.ContainsFunc(abroad, func(part string) bool { return strings.Contains(s.command, part) }) {
			command, _, _ := strings.Cut(s.command, " #")
			command, _, _ = strings.Cut(command, " >")
			p.run(command + " --help")
			continue
		}
		printed := p.run(s.command)
		if strings.Contains(s.command, "migration prepare") {
			p.run(`elstore migration revert "$(elstore migration list --json | sed 's/.*"migration_id":"\([0-9a-f]*\)".*/\1/')"; elstore unexport db`)
		}
		if s.prints != "" && shape(strings.ReplaceAll(printed, p.dir, "/home/me/elstore")) != shape(s.prints) {
			t.Errorf("$ %s\nprints\n%s\nand the README says\n%s", s.command, shape(printed), shape(s.prints))
		}
	}
}

func TestTour(t *testing.T) {
	text := "# x\n\n    $ before\n\n## Tour\n\nText `$ no`:\n\n    $ one --flag\n    says\n      more\n    $ two\n\nText\n\n    $ three\n    3\n\n## After\n\n    $ after\n"
	want := []step{{"one --flag", "says\n  more\n"}, {"two", ""}, {"three", "3\n"}}
	if got := tour(text, "Tour"); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := tour(text, "Nothing"); got != nil {
		t.Errorf("of a section that isn't there: %q", got)
	}
}

func TestShape(t *testing.T) {
	one := "ID        NAME  ON DISK\n2e237e32  web  12 GB  0 B   raw  2026-11-21 12:26\n{\"vid\":\"2e237e32addb1fd48ac169d559a3de63\"} iscsi://0855b17f8532ef6c6ed7c7857b640972%A1IB-At@h"
	two := "ID  NAME  ON DISK\nffffffff  web  12 GB  197 kB  raw  2027-01-01 00:00\n{\"vid\":\"ffffffffffffffffffffffffffffffff\"} iscsi://ffffffffffffffffffffffffffffffff%x_y@h\n"
	if shape(one) != shape(two) {
		t.Errorf("%s\nis not\n%s", shape(one), shape(two))
	}
	if shape(one) == shape(strings.ReplaceAll(two, "web", "db")) {
		t.Error("another name has the same shape")
	}
}
