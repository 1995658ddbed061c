package samba

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
)

// theirs is a machine's smbd, with shares and users that are none of ours.
type theirs struct {
	t      testing.TB
	dir    string
	conf   string
	port   string
	system System
	cmd    *exec.Cmd
}

// goodGlobal is what an operator says who wants our exports.
const goodGlobal = `	server min protocol = SMB2_10
	server signing = mandatory
`

const (
	foreignShare = "foreign"  // of smb.conf
	foreignEntry = "foreign2" // of the registry
	foreignUser  = "somebody"
)

// newTheirs starts one, with more said in its section [global].
func newTheirs(t testing.TB, more ...string) *theirs {
	t.Helper()
	need.Program(t, "smbd", "net", "smbcontrol", "smbclient", "testparm", "pdbedit", "useradd", "userdel")
	need.OwnEtc(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := &theirs{t: t, dir: t.TempDir(), port: fmt.Sprint(at.Port)}
	s.conf = filepath.Join(s.dir, "smb.conf")
	s.system = System{Conf: s.conf, Dir: filepath.Join(s.dir, "ours"), Mark: "elstore " + serverID, Port: at.Port}
	for _, dir := range []string{filepath.Dir(s.dir), s.dir} { // users of smbd go through both
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	text.WriteString("[global]\n" + goodGlobal + strings.Join(more, ""))
	for _, key := range []string{"private dir", "lock directory", "state directory", "cache directory", "pid directory", "ncalrpc dir"} {
		dir := filepath.Join(s.dir, strings.Fields(key)[0])
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		text.WriteString(fmt.Sprintf("\t%s = %s\n", key, dir))
	}
	text.WriteString(fmt.Sprintf("\tsmb ports = %s\n\tinterfaces = 127.0.0.1\n\tbind interfaces only = yes\n\tdisable netbios = yes\n\tload printers = no\n"+
		"\trpc start on demand helpers = no\n\tpassdb backend = tdbsam\n\tforce user = nobody\n\n\tinclude = registry\n", s.port))
	public := filepath.Join(s.dir, "public")
	text.WriteString(fmt.Sprintf("[%s]\n\tpath = %s\n\tguest ok = no\n", foreignShare, public))
	if err := errors.Join(os.Mkdir(public, 0o755), os.WriteFile(filepath.Join(public, "file"), []byte("theirs"), 0o644), os.WriteFile(s.conf, []byte(text.String()), 0o644)); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.must("useradd", "--no-create-home", "--uid", "5000", foreignUser)
	t.Cleanup(func() { s.must("userdel", "--force", foreignUser) })
	users := filepath.Join(s.dir, "users")
	if err := os.WriteFile(users, smbpasswdConf([]share{{name: foreignUser, uid: 5000, hash: ntHash("theirs")}}), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must("pdbedit", "-s", s.conf, "-i", "smbpasswd:"+users)
	s.must("net", "-s", s.conf, "conf", "addshare", foreignEntry, public, "writeable=n", "guest_ok=n", "theirs")
	return s
}

// start starts smbd, and returns when it listens.
func (s *theirs) start() {
	s.t.Helper()
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command("smbd", "--foreground", "--no-process-group", "--debug-stdout", "-s", s.conf)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it signals all of its group when it ends
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.stop)
	eventually(s.t, func() string {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+s.port, patience)
		if err == nil {
			err = c.Close()
		}
		if err != nil {
			text, _ := os.ReadFile(log.Name())
			return fmt.Sprintf("smbd does not listen: %v\n%s", err, text)
		}
		return ""
	})
}

// stop ends smbd with its children.
func (s *theirs) stop() {
	s.t.Helper()
	if s.cmd.ProcessState != nil {
		return
	}
	all := rig.Below(s.t, s.cmd.Process.Pid, "smbd*")
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.cmd.Wait()
	}()
	if err := rig.Gone(s.cmd.Process.Pid, ended); err != nil {
		s.t.Fatal(err)
	}
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// must runs a program of an operator's.
func (s *theirs) must(name string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

// inventory is all of smbd and of the machine that is somebody's: shares, users, accounts, mounts.
func (s *theirs) inventory() string {
	s.t.Helper()
	passwd, err := os.ReadFile("/etc/passwd")
	mounts, merr := os.ReadFile("/proc/thread-self/mounts")
	conf, cerr := os.ReadFile(s.conf)
	if err := errors.Join(err, merr, cerr); err != nil {
		s.t.Fatal(err)
	}
	var ours []string
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "fuse.elstore") {
			ours = append(ours, line)
		}
	}
	return fmt.Sprintf("%s\n%s\n%s\n%s\n%q", conf, s.must("net", "-s", s.conf, "conf", "list"), s.must("pdbedit", "-s", s.conf, "-L", "-w"), passwd, ours)
}

// foreign tries what is theirs.
func (s *theirs) foreign(p *place) {
	s.t.Helper()
	for _, name := range []string{foreignShare, foreignEntry} {
		line := fmt.Sprintf("smbclient -p %s -U '%s%%theirs' //127.0.0.1/%s", s.port, foreignUser, name)
		p.wants(s.t.TempDir(), line, "get file", "")
	}
}

// place starts a server's parts that export through it.
func (s *theirs) place(root string, guests bool) *place {
	s.t.Helper()
	system := s.system
	return startPlace(s.t, root, Config{System: &system, Portals: []string{"127.0.0.1:" + s.port}, Guests: guests})
}

func newRoot(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	return root
}
