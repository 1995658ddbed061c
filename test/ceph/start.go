package ceph

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"elstore/test/need"
)

// Running is a cluster whose processes are this one's children, and end with it.
type Running struct {
	*Cluster
	mon, osd *daemon
}

// daemon is a running process.
type daemon struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it ended
}

// Start starts a cluster for a test, or for all tests of a program if t is what outlives them. Whatever is missing skips the test.
func Start(t testing.TB) *Running {
	t.Helper()
	need.Program(t, Programs...)
	dir, err := os.MkdirTemp("", "ceph-") //nolint:usetesting // short, since unix sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const size = 4 << 30
	c := &Running{Cluster: New(dir, size)}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	t.Cleanup(c.Stop)
	if err := c.start(ctx); err != nil {
		t.Fatalf("%v\n%s", err, c.logs())
	}
	return c
}

func (c *Running) start(ctx context.Context) (err error) {
	if err := c.Make(ctx); err != nil {
		return err
	}
	if c.mon, err = c.child("mon.a", c.monitor()); err != nil {
		return err
	}
	if err := c.Join(ctx); err != nil {
		return err
	}
	if c.osd, err = c.child("osd.0", c.Cluster.osd()); err != nil {
		return err
	}
	return c.Fill(ctx)
}

// child starts a command that is killed when this process ends, from a thread that lives as long as the command does: the kernel takes
// the end of the thread that started it for the parent's.
func (c *Running) child(name string, command []string) (*daemon, error) {
	log, err := os.OpenFile(filepath.Join(c.Dir, "log", name+".out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	d := &daemon{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(d.done)
	}()
	return d, <-started
}

// Stop ends the cluster.
func (c *Running) Stop() {
	for _, d := range []*daemon{c.osd, c.mon} {
		d.signal(syscall.SIGCONT)
		d.signal(syscall.SIGKILL)
		if d != nil {
			<-d.done
		}
	}
}

func (d *daemon) signal(s os.Signal) {
	if d != nil && d.cmd.Process != nil {
		_ = d.cmd.Process.Signal(s)
	}
}

// Freeze stops the OSD, and with all the monitor too, so that nothing is answered until Thaw.
func (c *Running) Freeze(all bool) {
	c.osd.signal(syscall.SIGSTOP)
	if all {
		c.mon.signal(syscall.SIGSTOP)
	}
}

// Thaw ends Freeze.
func (c *Running) Thaw() {
	c.mon.signal(syscall.SIGCONT)
	c.osd.signal(syscall.SIGCONT)
}

// logs returns the end of what the processes said.
func (c *Running) logs() string {
	var text strings.Builder
	for _, name := range []string{"mon.a.out", "osd.0.out", "mon.a.log", "osd.0.log"} {
		data, _ := os.ReadFile(filepath.Join(c.Dir, "log", name))
		fmt.Fprintf(&text, "%s:\n%s\n", name, data[max(0, len(data)-2000):])
	}
	return text.String()
}
