package pool

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"elstore/volume"
)

// serverRoot makes the test binary, in a child process, a server of the pools below that root until its input ends.
const serverRoot = "ELSTORE_TEST_SERVER_ROOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(serverRoot); root != "" {
		if err := serve(root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve opens the pools, says so, and keeps a volume for every line it reads, answering with ok or the error.
func serve(root string) error {
	s, err := New(Config{
		Root: root, ServerID: "child",
		Attach: func(context.Context, *Pool) (volume.Caps, error) {
			return volume.Caps{Formats: []volume.Format{volume.Raw}}, nil
		},
	})
	if err == nil {
		err = s.Rescan(context.Background())
	}
	if err != nil {
		return err
	}
	fmt.Println("open")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		list, err := s.Reserve(context.Background(), []volume.Want{one("", gb)}, nil)
		if err != nil {
			fmt.Println(err)
			continue
		}
		if lines.Text() == "keep" {
			list[0].Keep(1, gb)
		}
		fmt.Println("ok")
	}
	return s.Close()
}

// peer is another server of the same pools.
type peer struct {
	t   *testing.T
	cmd *exec.Cmd
	in  interface {
		Write([]byte) (int, error)
		Close() error
	}
	out *bufio.Scanner
}

func startServer(t *testing.T, root string) *peer {
	t.Helper()
	c := &peer{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0])}
	c.cmd.Env = append(os.Environ(), serverRoot+"="+root)
	c.cmd.Stderr = os.Stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	c.read("open")
	return c
}

// read reads a line and fails unless it is want.
func (c *peer) read(want string) {
	c.t.Helper()
	if !c.out.Scan() || c.out.Text() != want {
		c.t.Fatalf("the other server says %q (%v), want %q", c.out.Text(), c.out.Err(), want)
	}
}

func (c *peer) say(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		c.t.Fatal(err)
	}
}

// kill ends the server with SIGKILL, and waits for it.
func (c *peer) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func TestASecondServerFindsThePoolHeld(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}"})
	first := startServer(t, root)
	second := open(t, root, nil)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	second.wantPool("a", fmt.Sprintf("it is held by server child on %s (process %d", host, first.cmd.Process.Pid))
	by := second.info("a").HeldBy
	if by == nil || by.Host != host || by.PID != first.cmd.Process.Pid || by.Server != "child" || time.Since(by.Since) > time.Hour || by.BootID == "" {
		t.Errorf("held by %+v", by)
	}
	if _, ok := second.Get("a"); ok {
		t.Error("a pool that another server holds is in use")
	}
	second.rescan()
	second.wantPool("a", "held by server child")
	first.kill() // a crash: the lock file still says that it is held
	second.rescan()
	second.wantPool("a", "")
	if second.info("a").HeldBy != nil {
		t.Error("the pool is said to be held still")
	}
}

func TestTwoSetsOfOneProcess(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}"})
	first, second := open(t, root, nil), open(t, root, nil)
	second.wantPool("a", "held by server test")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(root, "a", LockFile)); err != nil || len(data) != 0 {
		t.Errorf("the free lock's file says %q, %v", data, err)
	}
	second.rescan()
	second.wantPool("a", "")
}

func TestALockThatWasRemoved(t *testing.T) {
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}"})
	w := open(t, root, nil)
	w.run()
	w.await("attach a")
	if err := os.Remove(filepath.Join(root, "a", LockFile)); err != nil {
		t.Fatal(err)
	}
	w.rescan()
	w.await("detach a")
	w.await("attach a")
	w.until(func() bool { return w.valid("a") })
}

func TestLockFiles(t *testing.T) {
	tests := []struct {
		name string
		make func(path string) error
		says string
	}{
		{"a symbolic link", func(path string) error { return os.Symlink("/etc/passwd", path) }, "is a symbolic link"},
		{"a directory", func(path string) error { return os.Mkdir(path, 0o755) }, "can't be locked"},
		{"a pipe", func(path string) error { return syscall.Mkfifo(path, 0o600) }, "is not a regular file"},
		{"of another time", func(path string) error { return os.WriteFile(path, []byte("garbage"), 0o600) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := tree(t, map[string]string{"a/" + SettingsFile: "{}"})
			if err := tt.make(filepath.Join(root, "a", LockFile)); err != nil {
				t.Fatal(err)
			}
			open(t, root, nil).wantPool("a", tt.says)
		})
	}
}

func TestParseHolder(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"nothing", "", "another server"},
		{"garbage", "{", "another server"},
		{"whole", `{"host":"h","pid":7,"since":"2024-05-06T07:08:09Z","server_id":"s"}`, "server s on h (process 7, since 2024-05-06T07:08:09Z)"},
		{"evil", `{"host":"h\u0000\u001b[2J\u202e","pid":7,"since":"2024-05-06T07:08:09Z","server_id":"s\n"}`, "server s on h[2J (process 7, since 2024-05-06T07:08:09Z)"},
		{"long", `{"host":"` + strings.Repeat("h", 1000) + `","since":"2024-05-06T07:08:09Z"}`, "server  on " + strings.Repeat("h", 128) + " (process 0, since 2024-05-06T07:08:09Z)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseHolder([]byte(tt.text)).String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLocksOfThisMachine(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := testLocks(t.Context(), root); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the test left %v, %v", left, err)
	}
	t.Setenv("PATH", "")
	if err := testLocks(t.Context(), root); err == nil || !strings.Contains(err.Error(), "can't be tested") {
		t.Errorf("without a program that holds it: %v", err)
	}
}
