package ceph

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Up makes the cluster, or finds it, and runs it until Down, whatever becomes of this process.
func (c *Cluster) Up(ctx context.Context) error {
	if c.pid("osd.0") != 0 && c.pid("mon.a") != 0 {
		return nil
	}
	if err := c.Down(); err != nil { // its data was in memory: what is half there is of no use
		return err
	}
	if err := c.Make(ctx); err != nil {
		return err
	}
	if err := c.detach("mon.a", c.monitor()); err != nil {
		return err
	}
	if err := c.Join(ctx); err != nil {
		return err
	}
	if err := c.detach("osd.0", c.osd()); err != nil {
		return err
	}
	return c.Fill(ctx)
}

// detach starts a command as a session of its own and notes its process.
func (c *Cluster) detach(name string, command []string) error {
	log, err := os.OpenFile(filepath.Join(c.Dir, "log", name+".out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(c.note(name), []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o600); err != nil {
		return err
	}
	return cmd.Process.Release()
}

func (c *Cluster) note(name string) string { return filepath.Join(c.Dir, "run", name+".up") }

// pid returns the process that Up noted, 0 where it does not run: another that has its number by now is not it.
func (c *Cluster) pid(name string) int {
	text, err := os.ReadFile(c.note(name))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(line), c.Conf()) {
		return 0
	}
	return pid
}

// Down ends the cluster and removes what Make made.
func (c *Cluster) Down() error {
	for _, name := range []string{"osd.0", "mon.a"} {
		pid := c.pid(name)
		if pid == 0 {
			continue
		}
		for _, s := range []syscall.Signal{syscall.SIGCONT, syscall.SIGKILL} {
			if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		for range 100 {
			if c.pid(name) == 0 {
				break
			}
			<-time.After(50 * time.Millisecond)
		}
	}
	if _, err := os.Stat(c.Conf()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, name := range []string{"run", "log", "tmp", "mon", "osd", "ceph.conf", "monmap", "mon.keyring", "osd.0.keyring", "client.admin.keyring"} {
		if err := os.RemoveAll(filepath.Join(c.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}
