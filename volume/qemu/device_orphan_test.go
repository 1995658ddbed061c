package qemu

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serverVar makes TestServerThatIsKilled be a server: it names the image.
const serverVar = "ELSTORE_TEST_QEMU_SERVER"

// TestServerThatIsKilled is no test by itself: it opens an image, whose lock it holds, writes without a flush, says so and
// waits for its end.
func TestServerThatIsKilled(t *testing.T) {
	path := os.Getenv(serverVar)
	if path == "" {
		return
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	o, err := NewOpener(OpenerConfig{})
	must(t, err)
	d, err := o.Open(t.Context(), OpenOptions{Image: Image{Path: path, Format: QCOW2}}, lock)
	must(t, err)
	mustWrite(t, d, 1<<20, pattern(8<<20))
	fmt.Printf("pid %d\n", d.pid())
	select {}
}

// killedServer lets a server write pattern(8<<20) at 1 MiB of the image and kills it. It returns the process id of the
// daemon that it leaves, and a descriptor that is readable when that is gone.
func killedServer(t *testing.T, path string, before func(pid int)) (pid, pidfd int) {
	t.Helper()
	server := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServerThatIsKilled$")
	server.Env = append(os.Environ(), serverVar+"="+path)
	out, err := server.StdoutPipe()
	must(t, err)
	must(t, server.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "pid ") {
		t.Fatalf("%q, %v", line, err)
	}
	_, err = fmt.Sscanf(line, "pid %d", &pid)
	must(t, err)
	pidfd, err = unix.PidfdOpen(pid, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(pidfd) })
	before(pid)
	must(t, server.Process.Kill())
	if err := server.Wait(); err == nil {
		t.Fatal("the server was not killed")
	}
	return pid, pidfd
}

// isGone reports whether the process behind a pidfd is gone, after it waited.
func isGone(t *testing.T, pidfd int, wait time.Duration) bool {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(wait.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			must(t, err)
			return n == 1
		}
	}
}

// When the server is killed, its daemon writes what it holds in memory and ends; and as long as it has not, the volume's
// lock is held.
func TestServerKilled(t *testing.T) {
	path := image(t, QCOW2, 64<<20)
	realOpener(t, OpenerConfig{}) // is everything there?
	pid, pidfd := killedServer(t, path, func(pid int) {
		must(t, unix.Kill(pid, unix.SIGSTOP)) // it can't go yet
	})
	lock, err := os.Open(path + ".lock")
	must(t, err)
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Fatalf("the lock is free while the daemon is there: %v", err)
	}
	if isGone(t, pidfd, 0) {
		t.Fatal("the daemon is gone already")
	}
	must(t, unix.Kill(pid, unix.SIGCONT))
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX)) // the next server waits here
	if !isGone(t, pidfd, time.Minute) {
		t.Fatal("the lock is free and the daemon is there")
	}
	want := make([]byte, 64<<20)
	copy(want[1<<20:], pattern(8<<20))
	qemuImg(t, "check", "-q", "-f", "qcow2", path) // not even leaks
	wantImage(t, path, want)

	d := openDevice(t, realOpener(t, OpenerConfig{}), OpenOptions{Image: Image{Path: path, Format: QCOW2}}, lock)
	wantRead(t, d, 0, want)
}

// The next server that opens the image right away waits for QEMU's own lock on it too.
func TestServerKilledAndAnotherStarted(t *testing.T) {
	path := image(t, QCOW2, 64<<20)
	o := realOpener(t, OpenerConfig{})
	killedServer(t, path, func(int) {})
	d := openDevice(t, o, OpenOptions{Image: Image{Path: path, Format: QCOW2}})
	wantRead(t, d, 1<<20, pattern(8<<20))
	mustWrite(t, d, 0, []byte("new"))
}
