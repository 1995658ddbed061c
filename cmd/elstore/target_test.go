package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"elstore/test/need"
)

// imageOf makes a file of a size that begins with something, and returns its path.
func imageOf(t *testing.T, size int64, begin string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, []byte(begin), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTargetRefuses: what can't be meant is said, and how it could be.
func TestTargetRefuses(t *testing.T) {
	disk, odd, empty := imageOf(t, 1<<20, ""), imageOf(t, 1000, ""), imageOf(t, 0, "")
	qcow, vmdk := imageOf(t, 1<<20, "QFI\xfb\x00\x00\x00\x03"), imageOf(t, 1<<20, "KDMV")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	secrets := func(content string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "secrets")
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"nothing", nil, exitUsage, "one of them is needed"},
		{"an argument", []string{disk}, exitUsage, "one argument too many"},
		{"both", []string{"--image", disk, "--ram", "1"}, exitUsage, "exclude each other"},
		{"missing", []string{"--image", disk + ".no"}, exitNotFound, "no file is named"},
		{"directory", []string{"--image", t.TempDir()}, exitUsage, "is not a regular file"},
		{"pipe", []string{"--image", pipe}, exitUsage, "is not a regular file"},
		{"unknown format", []string{"--image", disk, "--format", "vmdk"}, exitUsage, "not one of raw, qcow2"},
		{"not qcow2", []string{"--image", disk, "--format", "qcow2"}, exitUsage, "is not a qcow2 image"},
		{"looks like qcow2", []string{"--image", qcow}, exitUsage, "say --format qcow2"},
		{"looks like vmdk", []string{"--image", vmdk}, exitUsage, "qemu-img convert"},
		{"damaged qcow2", []string{"--image", qcow, "--format", "qcow2"}, exitFailure, "the image is refused"},
		{"format of memory", []string{"--ram", "1", "--format", "raw"}, exitUsage, "has none"},
		{"odd size", []string{"--image", odd}, exitUsage, "truncate -s 1024"},
		{"empty", []string{"--image", empty}, exitUsage, "is empty"},
		{"empty CD-ROM", []string{"--image", empty, "--cdrom"}, exitUsage, "is empty"},
		{"bad size", []string{"--ram", "much"}, exitUsage, `--ram: size "much"`},
		{"thin and thick", []string{"--image", disk, "--thin", "--thick"}, exitUsage, "--thin and --thick exclude"},
		{"thin CD-ROM", []string{"--image", disk, "--cdrom", "--thin"}, exitUsage, "--cdrom and --thin exclude"},
		{"no secret", []string{"--image", disk, "--chap", "user"}, exitUsage, "--chap is not a name, a colon and a secret"},
		{"an empty secret", []string{"--image", disk, "--chap", "user:"}, exitUsage, "--chap is not"},
		{"no name", []string{"--image", disk, "--chap", ":secret"}, exitUsage, "--chap is not"},
		{"a long name", []string{"--image", disk, "--chap", strings.Repeat("u", 256) + ":secret"}, exitUsage, "it may have 255"},
		{"mutual alone", []string{"--image", disk, "--mutual-chap", "us:secret"}, exitUsage, "needs --chap"},
		{"no mutual secret", []string{"--image", disk, "--chap", "u:s", "--mutual-chap", "us"}, exitUsage, "--mutual-chap is not"},
		{"the same secret", []string{"--image", disk, "--chap", "u:secret", "--mutual-chap", "us:secret"}, exitUsage, "must differ"},
		{"flag and file", []string{"--image", disk, "--chap", "u:s", "--chap-file", "x"}, exitUsage, "use the one or the others"},
		{"no file", []string{"--image", disk, "--chap-file", disk + ".no"}, exitFailure, "no such file"},
		{"an open file", []string{"--image", disk, "--chap-file", secrets("u:s\n", 0o644)}, exitFailure, "chmod 600"},
		{"an empty file", []string{"--image", disk, "--chap-file", secrets("", 0o600)}, exitFailure, "one or two lines"},
		{"a bad line", []string{"--image", disk, "--chap-file", secrets("u:s\nbad\n", 0o600)}, exitUsage, "line 2 is not a name"},
		{"three lines", []string{"--image", disk, "--chap-file", secrets("u:s\nv:t\nw:u\n", 0o600)}, exitFailure, "one or two lines"},
		{"no port", []string{"--image", disk, "--listen", "localhost"}, exitUsage, "host:port"},
		{"no address", []string{"--image", disk, "--listen", "192.0.2.1:0"}, exitFailure, "--listen"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"target", "--listen", "127.0.0.1:0"}, tt.args...)
			if said := fails(t, tt.code, args...); !strings.Contains(said, tt.says) {
				t.Errorf("said %q, want %q", said, tt.says)
			}
		})
	}
}

// TestPublicTargetNeedsCHAP: whoever reaches a target without it may do anything, and a short secret can be guessed.
func TestPublicTargetNeedsCHAP(t *testing.T) {
	for _, tt := range []struct {
		name, chap, mutual string
		local, public      bool
	}{
		{"none", "", "", true, false},
		{"short", "u:12345678901", "", true, false},
		{"long", "u:123456789012", "", true, true},
		{"mutual short", "u:123456789012", "us:x", true, false},
		{"mutual long", "u:123456789012", "us:210987654321", true, true},
		{"a colon in the secret", "u:12345:789012", "", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := targetOptions{chap: tt.chap, mutual: tt.mutual}
			c, err := o.credentials()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.fit(false); (err == nil) != tt.local {
				t.Errorf("on loopback: %v", err)
			}
			if err := c.fit(true); (err == nil) != tt.public {
				t.Errorf("elsewhere: %v", err)
			}
		})
	}
}

// running is a target in this process.
type running struct {
	stdout, stderr *lockedBuffer
	stop           context.CancelFunc
	ended          chan int
}

func startTarget(t *testing.T, args ...string) *running {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	ctx, stop := context.WithCancel(t.Context())
	r := &running{stdout: new(lockedBuffer), stderr: new(lockedBuffer), stop: stop, ended: make(chan int, 1)}
	args = append([]string{"target", "--listen", "127.0.0.1:0", "--ready-file", ready}, args...)
	go func() { r.ended <- run(ctx, args, strings.NewReader(""), r.stdout, r.stderr) }()
	t.Cleanup(stop)
	waitFor(t, "the target to be ready", func() bool {
		_, err := os.Stat(ready)
		if len(r.ended) > 0 {
			t.Fatal(r.stderr)
		}
		return err == nil
	})
	return r
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for " + what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// end stops the target and returns its code.
func (r *running) end() int {
	r.stop()
	return <-r.ended
}

var (
	anyPort = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	anyID   = regexp.MustCompile(`:01:[0-9a-f]{32}`)
)

// TestTargetSaysHowToAttach: stdout is for people, the first line of stderr for programs. No secret is in either.
func TestTargetSaysHowToAttach(t *testing.T) {
	for name, args := range map[string][]string{
		"open": {"--ram", "1Mi"},
		"chap": {"--ram", "1Mi", "--chap", "vm:hidden", "--mutual-chap", "store:concealed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := startTarget(t, args...)
			if code := r.end(); code != exitOK {
				t.Errorf("code %d", code)
			}
			out, log := r.stdout.String(), r.stderr.String()
			var first struct {
				ISCSI  []string `json:"iscsi"`
				Target string   `json:"target"`
			}
			line, _, _ := strings.Cut(log, "\n")
			if err := json.Unmarshal([]byte(line), &first); err != nil || len(first.ISCSI) != 1 || !strings.Contains(out, first.ISCSI[0]+"/"+first.Target+"/0") {
				t.Errorf("%s: %v, and printed %s", line, err, out)
			}
			if strings.Contains(out+log, "hidden") || strings.Contains(out+log, "concealed") {
				t.Error("a secret is shown")
			}
			golden(t, "target_"+name, anyID.ReplaceAllString(anyPort.ReplaceAllString(out, "127.0.0.1:3260"), ":01:ID"))
		})
	}
}

// TestTargetTakesUpSizes: SIGHUP has the file's size looked at; a size that is no disk's is not taken up.
func TestTargetTakesUpSizes(t *testing.T) {
	image := imageOf(t, 1<<20, "")
	r := startTarget(t, "--image", image)
	for _, step := range []struct {
		size int64
		says string
	}{
		{1 << 20, `"msg":"the size is the same"`},
		{2 << 20, `"msg":"the image has grown","size":2097152`},
		{2<<20 + 1, `"msg":"the size stays as it is","size":2097152`},
		{1 << 20, `can't grow from 2097152 to 1048576 bytes`},
	} {
		if err := os.Truncate(image, step.size); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		waitFor(t, step.says, func() bool { return strings.Contains(r.stderr.String(), step.says) })
	}
	if code := r.end(); code != exitOK {
		t.Errorf("code %d: %s", code, r.stderr)
	}
}

// TestTargetIdentity: an image is the same disk each time, by whatever path, and another image another.
func TestTargetIdentity(t *testing.T) {
	image, other := imageOf(t, 1<<20, ""), imageOf(t, 1<<20, "")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(image, link); err != nil {
		t.Fatal(err)
	}
	name := func(path string) string {
		r := startTarget(t, "--image", path)
		r.end()
		return anyID.FindString(r.stdout.String())
	}
	first, again, linked, another := name(image), name(image), name(link), name(other)
	if first == "" || again != first || linked != first || another == first {
		t.Errorf("names %q, %q, %q, and of another image %q", first, again, linked, another)
	}
}

// TestTargetOverlay: a qcow2 image that reads another file is refused.
func TestTargetOverlay(t *testing.T) {
	need.Program(t, "qemu-img")
	base := imageOf(t, 1<<20, "")
	overlay := filepath.Join(t.TempDir(), "overlay.qcow2")
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if said := fails(t, exitFailure, "target", "--image", overlay, "--format", "qcow2", "--listen", "127.0.0.1:0"); !strings.Contains(said, "backing file") {
		t.Errorf("said %q", said)
	}
}

// lockedBuffer can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
