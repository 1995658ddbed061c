package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"elstore/test/need"
	"elstore/volume/fault"
)

// parentVar makes the test program be a server that runs the program that it names, and is killed.
const parentVar = "ELSTORE_TEST_QEMU_PARENT"

func TestMain(m *testing.M) {
	if path := os.Getenv(parentVar); path != "" {
		tool, err := New(Config{Path: path})
		if err == nil {
			tool.besides = everything
			_, err = tool.Info(context.Background(), Image{Path: "/dev/null", Format: Raw})
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// fifo makes a pipe with a name, for a script to write its process id to.
func fifo(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readPid waits until a script wrote its process id.
func readPid(t testing.TB, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// forever is a script that says its process id and then does nothing.
func forever(fifo string) string {
	return fmt.Sprintf("echo $$ >'%s'\nexec sleep 86400", fifo)
}

func TestContextEnds(t *testing.T) {
	pids := fifo(t)
	tool := toolOf(t, forever(pids))
	why := errors.New("the job was cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := tool.Info(ctx, Image{Path: "/dev/null", Format: Raw})
		done <- err
	}()
	pid := readPid(t, pids)
	cancel(why)
	err := <-done
	if !errors.Is(err, why) {
		t.Fatalf("error is %v, want the context's cause", err)
	}
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Fatalf("the process is still there: %v", err)
	}

	if _, err := tool.Info(ctx, Image{Path: "/dev/null", Format: Raw}); !errors.Is(err, why) { // it would wait for a reader of the pipe
		t.Fatalf("with a context that ended: %v", err)
	}
}

func TestDeadlineIsJobCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := toolOf(t, "exit 0").Info(ctx, Image{Path: "/dev/null", Format: Raw})
	wantCode(t, err, fault.JobCancelled)
}

func TestDiesWithParent(t *testing.T) {
	pids := fifo(t)
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), parentVar+"="+program(t, forever(pids)))
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	pid := readPid(t, pids)
	child, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := parent.Wait(); err == nil {
		t.Fatal("the parent was not killed")
	}
	// The descriptor becomes readable when the process ends.
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(child), Events: unix.POLLIN}}, int((30 * time.Second).Milliseconds()))
	if err != nil || n != 1 {
		_ = unix.Kill(pid, unix.SIGKILL)
		t.Fatalf("the process outlived its parent: %d, %v", n, err)
	}
}

func TestInheritsLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	pids := fifo(t)
	tool := toolOf(t, forever(pids))
	started := make(chan struct{})
	tool.started = func(int) { close(started) }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := tool.Info(ctx, Image{Path: "/dev/null", Format: Raw}, lock)
		done <- err
	}()
	<-started
	readPid(t, pids)
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Fatalf("the lock is free while the process runs: %v", err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Fatal("no error")
	}
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatalf("the lock is not free when the call returned: %v", err)
	}
}

func TestLimitsAreSet(t *testing.T) {
	for name, tc := range map[string]struct {
		call         func(*Tool, context.Context, string) error
		addressSpace uint64
		cpu          string
	}{
		"info": {func(tool *Tool, ctx context.Context, dir string) error {
			_, err := tool.Info(ctx, Image{Path: "/dev/null", Format: Raw})
			return err
		}, 1024 << 20, "30"},
		"check": {func(tool *Tool, ctx context.Context, dir string) error {
			_, err := tool.Check(ctx, Image{Path: "/dev/null", Format: Raw}, true)
			return err
		}, 1024 << 20, "30"},
		"measure": {func(tool *Tool, ctx context.Context, dir string) error {
			_, err := tool.Measure(ctx, Image{Path: "/dev/null", Format: Raw}, QCOW2)
			return err
		}, (1024 + 16 + 64) << 20, "30"},
		"convert": {func(tool *Tool, ctx context.Context, dir string) error {
			return tool.Convert(ctx, Image{Path: "/dev/null", Format: Raw}, Image{Path: dir + "/a", Format: QCOW2}, ConvertOptions{})
		}, (1024 + 128 + 512) << 20, "unlimited"},
		"convert by 2": {func(tool *Tool, ctx context.Context, dir string) error {
			return tool.Convert(ctx, Image{Path: "/dev/null", Format: Raw}, Image{Path: dir + "/a", Format: QCOW2}, ConvertOptions{Threads: 2})
		}, (1024 + 32 + 128) << 20, "unlimited"},
		"resize": {func(tool *Tool, ctx context.Context, dir string) error {
			return tool.Resize(ctx, Image{Path: "/dev/null", Format: Raw}, ResizeOptions{Size: 512})
		}, (1024 + 16 + 64) << 20, "unlimited"},
		"create": {func(tool *Tool, ctx context.Context, dir string) error {
			return tool.Create(ctx, CreateOptions{Image: Image{Path: dir + "/a", Format: Raw}, Size: 512})
		}, (1024 + 16 + 64) << 20, "unlimited"},
		"compare": {func(tool *Tool, ctx context.Context, dir string) error {
			_, err := tool.Compare(ctx, Image{Path: "/dev/null", Format: Raw}, Image{Path: "/dev/null", Format: Raw})
			return err
		}, (1024 + 16 + 64) << 20, "unlimited"},
	} {
		t.Run(name, func(t *testing.T) {
			tool := newTool(t, Config{Path: program(t, "exec sleep 86400"), Nice: 7})
			tool.besides = everything
			ctx, cancel := context.WithCancel(t.Context())
			var limits, stat []byte
			var err error
			tool.started = func(pid int) {
				limits, err = os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
				stat, _ = os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
				cancel()
			}
			if err := tc.call(tool, ctx, t.TempDir()); !errors.Is(err, context.Canceled) {
				t.Fatalf("the call ended with %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			for label, want := range map[string]string{
				"Max address space": strconv.FormatUint(tc.addressSpace, 10), "Max core file size": "0", "Max cpu time": tc.cpu,
			} {
				got := regexp.MustCompile(label + ` +(\S+)`).FindSubmatch(limits)
				if got == nil || string(got[1]) != want {
					t.Errorf("%s is %q, want %s", label, got, want)
				}
			}
			// proc_pid_stat(5): the fields behind the name; nice is the 19th, the group the 5th.
			fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
			if fields[16] != "7" {
				t.Errorf("niceness is %s", fields[16])
			}
			if pid, _, _ := strings.Cut(string(stat), " "); fields[2] != pid {
				t.Errorf("process %s is in the group %s", pid, fields[2])
			}
		})
	}
}

func TestProcessorTime(t *testing.T) {
	tool := toolOf(t, "while :; do :; done")
	tool.cpu = time.Second
	_, err := tool.Info(t.Context(), Image{Path: "/dev/null", Format: Raw})
	wantCode(t, err, fault.ImageToolFailed)
	if !strings.Contains(err.Error(), "processor time") {
		t.Fatalf("error is %q", err)
	}
}

func TestStallIsKilled(t *testing.T) {
	target := filepath.Join(t.TempDir(), "a.qcow2")
	for name, call := range map[string]func(*Tool) error{
		"create": func(tool *Tool) error {
			return tool.Create(t.Context(), CreateOptions{Image: Image{Path: target, Format: QCOW2}, Size: 1 << 20})
		},
		"convert": func(tool *Tool) error {
			return tool.Convert(t.Context(), Image{Path: "/dev/null", Format: Raw}, Image{Path: target, Format: QCOW2}, ConvertOptions{})
		},
		"resize": func(tool *Tool) error {
			return tool.Resize(t.Context(), Image{Path: "/dev/null", Format: Raw}, ResizeOptions{Size: 1 << 20})
		},
	} {
		t.Run(name, func(t *testing.T) {
			tool := toolOf(t, "exec sleep 86400")
			tool.stallAfter, tool.sampled = 200*time.Millisecond, 20*time.Millisecond
			var pid int
			tool.started = func(p int) { pid = p }
			err := call(tool)
			wantCode(t, err, fault.ImageToolFailed)
			if !strings.Contains(err.Error(), "no progress for 200ms") {
				t.Fatalf("error is %q", err)
			}
			if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
				t.Fatalf("the process is still there: %v", err)
			}
			wantNothing(t, target)
		})
	}
}

// What it prints is input and output of its own. It runs for longer than it may stand still.
func TestMovingIsNotStalled(t *testing.T) {
	tool := toolOf(t, "i=0\nwhile [ $i -lt 60 ]; do echo x; sleep 0.025; i=$((i+1)); done")
	tool.stallAfter, tool.sampled = time.Second, 50*time.Millisecond
	begin := time.Now()
	if err := tool.Resize(t.Context(), Image{Path: writeFile(t, "a", nil), Format: Raw}, ResizeOptions{Size: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < tool.stallAfter {
		t.Fatalf("it took only %v", took)
	}
}

func TestOutputIsBounded(t *testing.T) {
	tool := toolOf(t, "yes | head -c 3000000")
	_, err := tool.Info(t.Context(), Image{Path: "/dev/null", Format: Raw})
	wantCode(t, err, fault.ImageToolFailed)
	if !strings.Contains(err.Error(), "more than") {
		t.Fatalf("error is %q", err)
	}

	tool = toolOf(t, "yes qemu-img: no | head -c 3000000 >&2; exit 1")
	_, err = tool.Info(t.Context(), Image{Path: "/dev/null", Format: Raw})
	wantCode(t, err, fault.ImageToolFailed)
	if err.Error() != "qemu-img info failed: no" {
		t.Fatalf("error is %q", err)
	}
	if n := len(errors.Unwrap(err).Error()); n > 2*maxErrors {
		t.Fatalf("the cause has %d bytes", n)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SECRET", "of the server")
	tool := toolOf(t, "env; pwd; readlink /proc/self/fd/0")
	r, err := tool.run(t.Context(), command{name: "info", limits: limits{addressSpace: addressSpace(0)}})
	if err != nil {
		t.Fatal(err)
	}
	out := string(r.output)
	for _, want := range []string{"LC_ALL=C\n", "\n/\n", "/dev/null\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q lacks %q", out, want)
		}
	}
	if strings.Contains(out, "SECRET") || strings.Contains(out, "HOME") {
		t.Errorf("the server's environment is in %q", out)
	}
}

func TestLimitsCantBeSet(t *testing.T) {
	if err := (limits{}).apply(1<<30, 0); !errors.Is(err, unix.ESRCH) {
		t.Fatalf("limits on no process: %v", err)
	}
	tool := toolOf(t, "exec sleep 86400")
	tool.config.Nice = 0
	// A limit of the server that is lower stays.
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &old); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sleep", "86400")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for _, bytes := range []uint64{1 << 30, 2 << 30} {
		if err := setLimit(cmd.Process.Pid, unix.RLIMIT_AS, bytes, bytes); err != nil {
			t.Fatal(err)
		}
	}
	var got unix.Rlimit
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_AS, nil, &got); err != nil {
		t.Fatal(err)
	}
	if got.Cur != 1<<30 || got.Max != 1<<30 {
		t.Fatalf("the limit was raised to %+v", got)
	}
}

func TestAddressSpace(t *testing.T) {
	const gib = 1 << 30
	for coroutines, want := range map[int]uint64{0: gib, 1: gib + 80<<20, 8: gib + 640<<20, 16: gib + 768<<20} {
		if got := addressSpace(coroutines); got != want {
			t.Errorf("%d coroutines get %d MiB, want %d", coroutines, got>>20, want>>20)
		}
	}
	for _, tc := range []struct {
		size        int64
		bits, order uint32
		want        uint64
	}{
		{0, 16, 4, 0},
		{-1, 16, 4, 0},
		{1 << 40, 16, 4, 64 << 20}, // 2^24 clusters, 2 bytes each, twice
		{1 << 60, 9, 6, 8192 << 20},
	} {
		if got := checkSpace(tc.size, tc.bits, tc.order); got != tc.want {
			t.Errorf("check of %d bytes in clusters of 2^%d: %d, want %d", tc.size, tc.bits, got, tc.want)
		}
	}
}

// A hostile image makes the real qemu-img ask for memory: the limit holds, and the message is a message.
func TestMemoryOfHostileImage(t *testing.T) {
	need.Program(t, "qemu-img")
	path := image(t, VDI, 64<<20)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for off, value := range map[int64]string{368: "\x00\x00\xf0\xff\xff\xff\x03\x00", 384: "\xff\xff\xff\x3f"} { // size, blocks
		if _, err := f.WriteAt([]byte(value), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = realTool(t).Info(t.Context(), Image{Path: path, Format: VDI})
	wantCode(t, err, fault.ImageToolFailed)
	t.Log(err)
}
