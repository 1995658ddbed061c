package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
	"elstore/volume/nbdwire"
)

// newDaemon starts a real daemon that is stopped when the test ends.
func newDaemon(t testing.TB, open OpenOptions, inherit ...*os.File) *daemon {
	t.Helper()
	d, err := realOpener(t, OpenerConfig{}).startDaemon(t.Context(), open, inherit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// openerOf returns an Opener that runs a shell script in place of qemu-storage-daemon.
func openerOf(t testing.TB, script string) *Opener {
	t.Helper()
	o, err := NewOpener(OpenerConfig{Path: program(t, script)})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// gonePid fails the test if there is such a process.
func gonePid(t testing.TB, pid int) {
	t.Helper()
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Fatalf("process %d is still there: %v", pid, err)
	}
}

func TestDaemonExports(t *testing.T) {
	path := image(t, QCOW2, 64<<20)
	d := newDaemon(t, OpenOptions{Image: Image{Path: path, Format: QCOW2}})
	c, err := d.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := uint16(nbdwire.SendFlush | nbdwire.SendTrim | nbdwire.SendWriteZeroes | nbdwire.SendDF)
	if e := c.export; e.size != 64<<20 || e.flags&want != want || !e.structured || !e.status || e.maxBlock != nbdMaxData {
		t.Errorf("export %+v", e)
	}
	c.close()
	if err := d.alive(t.Context()); err != nil {
		t.Error(err)
	}
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	gonePid(t, d.pid)
	if d.err != nil {
		t.Errorf("it ended with %v: %s", d.err, d.said())
	}
	if err := d.stop(); err != nil {
		t.Errorf("again: %v", err)
	}
}

// status returns what /proc says of a process under that label.
func procField(t testing.TB, pid int, file, label string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + label + `:?\s+(\S+)`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("%s has no %s: %s", file, label, b)
	}
	return string(m[1])
}

func TestDaemonRights(t *testing.T) {
	t.Setenv("SECRET", "of the server")
	d := newDaemon(t, OpenOptions{Image: Image{Path: image(t, QCOW2, 1<<20), Format: QCOW2}})
	for _, tc := range []struct{ file, label, want string }{
		{"status", "NoNewPrivs", "1"},
		{"status", "CapAmb", "0000000000000000"},
		{"limits", "Max core file size", "0"},
		{"limits", "Max address space", strconv.Itoa(2 << 30)},
		{"limits", "Max open files", "256"},
	} {
		if got := procField(t, d.pid, tc.file, tc.label); got != tc.want {
			t.Errorf("%s is %s, want %s", tc.label, got, tc.want)
		}
	}
	for _, label := range []string{"CapEff", "CapPrm", "CapBnd"} {
		caps, err := strconv.ParseUint(procField(t, d.pid, "status", label), 16, 64)
		if err != nil || os.Geteuid() == 0 && caps&^(1<<unix.CAP_DAC_OVERRIDE) != 0 {
			t.Errorf("%s is %#x, %v", label, caps, err)
		}
	}
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", d.pid)); err != nil || string(env) != "LC_ALL=C\x00MALLOC_ARENA_MAX=2\x00" {
		t.Errorf("environment %q, %v", env, err)
	}
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", d.pid)); err != nil || cwd != "/" {
		t.Errorf("directory %s, %v", cwd, err)
	}
	if pgid, err := unix.Getpgid(d.pid); err != nil || pgid != d.pid {
		t.Errorf("group %d, %v", pgid, err)
	}
	// What this process may do is as before.
	if os.Geteuid() == 0 {
		if got := procField(t, os.Getpid(), "status", "NoNewPrivs"); got != "0" {
			t.Errorf("our own NoNewPrivs is %s", got)
		}
	}
}

// The process can open the image and nothing else that matters. A script tries.
func TestDaemonConfined(t *testing.T) {
	if v, err := landlockVersion(); err != nil || v == 0 {
		t.Logf("the kernel has no Landlock: %v", err)
		return
	}
	img, base, other := writeFile(t, "image", []byte("image")), writeFile(t, "base", []byte("base")), writeFile(t, "other", []byte("other"))
	out := filepath.Join(t.TempDir(), "out")
	script := fmt.Sprintf(`
try() { if eval "$2" 2>/dev/null; then echo "$1 yes"; else echo "$1 no"; fi >&2; }
try read-image 'true <%[1]s'
try write-image 'true >>%[1]s'
try read-base 'true <%[2]s'
try write-base 'true >>%[2]s'
try read-other 'true <%[3]s'
try read-passwd 'true </etc/passwd'
try create 'true >%[4]s'
try remove 'rm %[3]s'
try list 'ls %[5]s'
try run '/usr/bin/env true'
try signal 'kill -0 %[6]d'
exit 1`, img, base, other, out, filepath.Dir(other), os.Getpid())
	for name, tc := range map[string]struct {
		readonly bool
		want     string
	}{
		"writable":  {false, "read-image yes write-image yes read-base yes write-base no read-other no read-passwd no create no remove no list no run yes signal "},
		"read-only": {true, "read-image yes write-image no read-base yes write-base no read-other no read-passwd no create no remove no list no run yes signal "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := openerOf(t, script).startDaemon(t.Context(), OpenOptions{
				Image: Image{Path: img, Format: QCOW2}, Base: &Image{Path: base, Format: Raw}, ReadOnly: tc.readonly,
			}, nil)
			if err == nil {
				t.Fatal("no error")
			}
			said := errors.Unwrap(err).Error()
			_, said, _ = strings.Cut(said, `"`)
			said = strings.ReplaceAll(strings.TrimSuffix(said, `"`), `\n`, " ")
			if !strings.HasPrefix(said, tc.want) {
				t.Fatalf("it says  %s\nand must %s", said, tc.want)
			}
			if v, _ := landlockVersion(); v >= 6 && !strings.HasSuffix(said, "signal no") {
				t.Errorf("it may send signals: %s", said)
			}
		})
	}
}

func TestDaemonStartFails(t *testing.T) {
	qcow2 := image(t, QCOW2, 1<<20)
	o := realOpener(t, OpenerConfig{})
	missing, err := NewOpener(OpenerConfig{Path: "/nonexistent/qemu-storage-daemon"})
	if err != nil {
		t.Fatal(err)
	}
	silent := openerOf(t, "exec sleep 86400")
	silent.times.start, silent.times.term = 50*time.Millisecond, time.Minute
	for name, tc := range map[string]struct {
		opener *Opener
		open   OpenOptions
		code   fault.Code
		text   string
	}{
		"program missing": {missing, OpenOptions{Image: Image{Path: qcow2, Format: QCOW2}}, fault.ImageToolMissing, "qemu-system-common"},
		"program fails":   {openerOf(t, "echo qemu-storage-daemon: out of order >&2; exit 1"), OpenOptions{Image: Image{Path: qcow2, Format: QCOW2}}, fault.ImageToolFailed, "out of order"},
		"program silent":  {silent, OpenOptions{Image: Image{Path: qcow2, Format: QCOW2}}, fault.ImageToolFailed, "too long"},
		"program is none": {openerOf(t, "echo 220 smtp >&3; exec sleep 86400"), OpenOptions{Image: Image{Path: qcow2, Format: QCOW2}}, fault.ImageToolFailed, "invalid character"},
		"no image":        {o, OpenOptions{Image: Image{Path: qcow2 + "x", Format: QCOW2}}, fault.ImageToolFailed, "No such file"},
		"another format":  {o, OpenOptions{Image: Image{Path: writeFile(t, "raw", make([]byte, 4096)), Format: QCOW2}}, fault.ImageToolFailed, "not in qcow2 format"},
		"no base":         {o, OpenOptions{Image: Image{Path: qcow2, Format: QCOW2}, Base: &Image{Path: qcow2 + "x", Format: Raw}}, fault.ImageToolFailed, "No such file"},
		"relative path":   {o, OpenOptions{Image: Image{Path: "image.qcow2", Format: QCOW2}}, fault.ImageToolFailed, "not absolute"},
		"unknown format":  {o, OpenOptions{Image: Image{Path: qcow2, Format: "cow"}}, fault.UnsupportedFormat, "cow"},
		"raw overlay":     {o, OpenOptions{Image: Image{Path: qcow2, Format: Raw}, Base: &Image{Path: qcow2, Format: Raw}}, fault.BadRequest, "overlay"},
		"odd base":        {o, OpenOptions{Image: Image{Path: qcow2, Format: QCOW2}, Base: &Image{Path: "x", Format: Raw}}, fault.ImageToolFailed, "not absolute"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.opener.Open(t.Context(), tc.open)
			wantCode(t, err, tc.code)
			if !strings.Contains(fmt.Sprint(err, errors.Unwrap(err)), tc.text) {
				t.Errorf("error is %q, %v", err, errors.Unwrap(err))
			}
			if strings.Contains(err.Error(), filepath.Dir(qcow2)) {
				t.Errorf("%q names a directory", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.Open(ctx, OpenOptions{Image: Image{Path: qcow2, Format: QCOW2}}); !errors.Is(err, context.Canceled) || !fault.Is(err, fault.JobCancelled) {
		t.Errorf("with a context that ended: %v", err)
	}
}

// An image that is open for writing in one daemon can't be opened by another: QEMU's own lock.
func TestDaemonLocksImage(t *testing.T) {
	path := image(t, QCOW2, 1<<20)
	d := newDaemon(t, OpenOptions{Image: Image{Path: path, Format: QCOW2}})
	o := realOpener(t, OpenerConfig{})
	o.times.unlock = 50 * time.Millisecond
	_, err := o.Open(t.Context(), OpenOptions{Image: Image{Path: path, Format: QCOW2}})
	wantCode(t, err, fault.VolumeInUse)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	newDaemon(t, OpenOptions{Image: Image{Path: path, Format: QCOW2}, ReadOnly: true})
	newDaemon(t, OpenOptions{Image: Image{Path: path, Format: QCOW2}, ReadOnly: true})
}

// One that does not go when it is asked to is told, and killed if it does not go then either.
func TestDaemonStopsAnyhow(t *testing.T) {
	hello := `printf '%s\n' '{"QMP": {}}' >&3; read x <&3; printf '%s\n' '{"return": {}, "id": 1}' >&3; `
	for name, tc := range map[string]struct {
		script string
		signal syscall.Signal
	}{
		"on SIGTERM": {hello + `exec sleep 86400`, syscall.SIGTERM},
		"on SIGKILL": {`trap '' TERM; ` + hello + `exec sleep 86400`, syscall.SIGKILL},
	} {
		t.Run(name, func(t *testing.T) {
			o := openerOf(t, tc.script)
			o.times.quit, o.times.term = 50*time.Millisecond, 200*time.Millisecond
			d, err := o.launch(t.Context(), OpenOptions{Image: Image{Path: "/dev/null", Format: Raw}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.stop(); err != nil {
				t.Fatal(err)
			}
			gonePid(t, d.pid)
			if status, ok := d.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != tc.signal {
				t.Errorf("it ended with %v", d.cmd.ProcessState)
			}
		})
	}
}

// What a daemon writes to stderr is kept up to a bound, and does not stop it.
func TestDaemonStderrIsBounded(t *testing.T) {
	_, err := openerOf(t, "yes no | head -c 3000000 >&2; exit 1").Open(t.Context(), OpenOptions{Image: Image{Path: "/dev/null", Format: Raw}})
	wantCode(t, err, fault.ImageToolFailed)
	if n := len(errors.Unwrap(err).Error()); n > 2*maxErrors || len(err.Error()) > 500 {
		t.Errorf("%d bytes in the error, %d in its cause", len(err.Error()), n)
	}
}

func TestRendezvous(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40)) // longer than a socket's path may be
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := newRendezvous(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Fatalf("%v, %v is left", left, err)
	}
	c, err := r.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fd, _, err := unix.Accept(int(r.listener.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	r.accepting()
	if _, err := r.dial(t.Context()); err == nil {
		t.Error("a connection with nobody there to accept it")
	}
	if _, err := newRendezvous(filepath.Join(dir, "missing")); err == nil {
		t.Error("a socket in a directory that is not there")
	}
}

func TestNewOpener(t *testing.T) {
	for name, tc := range map[string]struct {
		config OpenerConfig
		ok     bool
	}{
		"defaults":         {OpenerConfig{}, true},
		"least":            {OpenerConfig{ReplayLimit: 1 << 20, HangTimeout: time.Second}, true},
		"too little":       {OpenerConfig{ReplayLimit: 1<<20 - 1}, false},
		"too much":         {OpenerConfig{ReplayLimit: 64<<20 + 1}, false},
		"negative":         {OpenerConfig{ReplayLimit: -1}, false},
		"too impatient":    {OpenerConfig{HangTimeout: time.Millisecond}, false},
		"negative timeout": {OpenerConfig{HangTimeout: -time.Second}, false},
	} {
		if o, err := NewOpener(tc.config); (err == nil) != tc.ok || tc.ok && o == nil {
			t.Errorf("%s: %v, %v", name, o, err)
		}
	}
	o, err := NewOpener(OpenerConfig{Path: "/nonexistent/qemu-storage-daemon"})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, o.Available(), fault.ImageToolMissing)
	if err := realOpener(t, OpenerConfig{}).Available(); err != nil {
		t.Error(err)
	}
}

// A program that was there and is gone is looked for again.
func TestOpenerForgets(t *testing.T) {
	o := openerOf(t, "exit 1")
	if err := o.Available(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(o.config.Path); err != nil {
		t.Fatal(err)
	}
	_, err := o.Open(t.Context(), OpenOptions{Image: Image{Path: "/dev/null", Format: Raw}})
	wantCode(t, err, fault.ImageToolFailed)
	wantCode(t, o.Available(), fault.ImageToolMissing)
}

// The socket that the daemon makes has a name only until somebody has connected, and nothing else can be made there.
func TestDoor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40)) // longer than a socket's path may be
	must(t, os.Mkdir(dir, 0o700))
	d, err := newDoor(dir)
	must(t, err)
	defer d.close()
	if st, err := os.Stat(d.dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", st, err)
	}
	if _, err := d.enter(t.Context()); err == nil {
		t.Error("a connection with nobody there to accept it")
	}
	if d, err = newDoor(dir); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: d.path(int(d.at.Fd()))}))
	must(t, unix.Listen(fd, 2))
	c, err := d.enter(t.Context())
	must(t, err)
	defer c.Close()
	again, err := d.enter(t.Context())
	must(t, err)
	defer again.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v, %v is left", left, err)
	}
	if _, err := newDoor(filepath.Join(dir, "missing")); err == nil {
		t.Error("a socket in a directory that is not there")
	}
}

// Where QEMU has no queue to offer, all goes over NBD.
func TestDeviceWithoutQueue(t *testing.T) {
	path := image(t, QCOW2, 1<<20)
	o := realOpener(t, OpenerConfig{})
	options := OpenOptions{Name: "test", Image: Image{Path: path, Format: QCOW2}}
	process, err := o.launch(t.Context(), options, nil)
	must(t, err)
	process.door.close() // so that it can't make its socket
	must(t, process.export(t.Context(), options))
	d := &Device{opener: o, options: options, log: o.config.Log}
	l, err := d.connect(t.Context(), process)
	must(t, err)
	if l.queue != nil || l.busy() || l.lost() != nil {
		t.Error("there is a queue")
	}
	data, got := pattern(1<<20), make([]byte, 1<<20)
	must(t, l.write(0, 1<<20, data[:5], data[5:]))
	must(t, l.read(got, 0))
	if !bytes.Equal(got, data) || l.heard() == 0 {
		t.Error("it is not what was written")
	}
	l.close()
	must(t, process.stop())
}

// Where a filter of system calls, such as a container's, forbids shared memory, all goes over NBD.
func TestDeviceWithoutSharedMemory(t *testing.T) {
	path := image(t, QCOW2, 1<<20)
	o := realOpener(t, OpenerConfig{})
	options := OpenOptions{Name: "test", Image: Image{Path: path, Format: QCOW2}}
	process, err := o.startDaemon(t.Context(), options, nil)
	must(t, err)
	files := openFiles(t)
	d := &Device{opener: o, options: options, log: o.config.Log}
	var l *link
	done := make(chan struct{})
	onOwnThread(func() {
		defer close(done)
		if err = forbid(unix.SYS_MEMFD_CREATE); err == nil {
			l, err = d.connect(t.Context(), process)
		}
	})
	<-done
	must(t, err)
	if l.queue != nil {
		t.Error("there is a queue")
	}
	if n := openFiles(t); n > files+1 { // that of NBD; the door's directory is closed, and its inode is open
		t.Errorf("%d files were open before, %d are now", files, n)
	}
	data, got := pattern(1<<20), make([]byte, 1<<20)
	must(t, l.write(0, 1<<20, data))
	must(t, l.read(got, 0))
	if !bytes.Equal(got, data) {
		t.Error("it is not what was written")
	}
	l.close()
	must(t, process.stop())
}

// forbid makes a system call fail with EPERM on the calling thread.
func forbid(call uint32) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // its number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}
