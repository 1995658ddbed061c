package samba

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"elstore/export/samba/fuse"
)

// cell is a mount namespace of its own, in which smbd and its tools run. Its root is in memory, and shows of the machine only
// programs and libraries, for reading. It lasts as long as its thread and what was started in it. Its methods may be called at the
// same time.
type cell struct {
	calls chan func()
	done  chan struct{} // closed when it is over
	root  *os.Root      // of its file system
}

// newCell makes a cell, in which a fuse.Server for dev shows its files on volumesDir.
func newCell() (_ *cell, dev *os.File, err error) {
	c := &cell{calls: make(chan func()), done: make(chan struct{})}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and with it its namespace
		var err error
		if dev, err = enter(); err == nil {
			c.root, err = os.OpenRoot("/")
		}
		made <- err
		for {
			select {
			case call := <-c.calls:
				call()
			case <-c.done:
				return
			}
		}
	}()
	if err := <-made; err != nil {
		close(c.done)
		if dev != nil {
			_ = dev.Close()
		}
		return nil, nil, fmt.Errorf("a place for smbd can't be made: %w", err)
	}
	return c, dev, nil
}

// close ends the thread, once. What still runs in the cell, and was started with it, is killed by the kernel.
func (c *cell) close() {
	close(c.done)
	_ = c.root.Close()
}

// start starts a program in the cell. It is killed when the thread ends, and so with this process.
func (c *cell) start(cmd *exec.Cmd) error {
	cmd.Dir = "/"
	cmd.Env = toolEnv
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true // a terminal's Ctrl-C is for the server, which ends its work in order
	started := make(chan error)
	select {
	case c.calls <- func() { started <- cmd.Start() }:
		return <-started
	case <-c.done:
		return os.ErrClosed
	}
}

// write replaces a file of the cell.
func (c *cell) write(path string, data []byte) error {
	mode := fs.FileMode(0o644)
	if strings.HasPrefix(path, sambaDir) {
		mode = 0o600
	}
	temp := path[1:] + ".new"
	if err := c.root.WriteFile(temp, data, mode); err != nil {
		return err
	}
	return c.root.Rename(temp, path[1:])
}

// The directories of the cell that hold more than the machine's programs.
const (
	scratch    = "/tmp" // where the cell is built: a directory that every machine has
	sambaDir   = "/samba"
	volumesDir = "/volumes"
	searchPath = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
)

// shown are the directories of the machine that programs and libraries lie in, as far as they are there.
var shown = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "opt", "nix", "gnu"}

// own are the directories of the cell's own.
var own = []string{
	"proc", "dev", "tmp", "run", "var/tmp", "etc", "old", volumesDir[1:],
	"samba/private", "samba/lock", "samba/state", "samba/cache", "samba/pid", "samba/ncalrpc",
}

// enter makes the calling thread's namespace the cell's.
func enter() (dev *os.File, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("unshare: %w", err)
	}
	// What the machine mounts and unmounts meanwhile is none of the cell's, and nothing of the cell's is the machine's.
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, err
	}
	if err := mount("tmpfs", scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return nil, err
	}
	if err := furnish(); err != nil {
		return nil, err
	}
	if dev, err = fuse.Mount(scratch + volumesDir); err != nil {
		return nil, err
	}
	return dev, turn()
}

// turn makes the directory at scratch the root, and lets go of the machine's.
func turn() error {
	if err := unix.Chdir(scratch); err != nil {
		return fmt.Errorf("chdir: %w", err)
	}
	if err := unix.PivotRoot(".", "old"); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("chdir: %w", err)
	}
	// No file system of the machine is kept busy by the cell but those of its programs.
	if err := unix.Unmount("/old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("umount: %w", err)
	}
	return os.Remove("/old")
}

// furnish fills the cell's root, which is still at scratch.
func furnish() error {
	for _, name := range own {
		if err := os.MkdirAll(filepath.Join(scratch, name), 0o755); err != nil { //nolint:gosec // users of smbd look into some of them
			return err
		}
	}
	for _, name := range shown {
		if err := show("/"+name, filepath.Join(scratch, name)); err != nil {
			return err
		}
	}
	if err := mount("/proc", scratch+"/proc", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "random", "urandom"} {
		at := filepath.Join(scratch, "dev", name)
		if err := os.WriteFile(at, nil, 0o600); err != nil { //nolint:forbidigo // it is in memory
			return err
		}
		if err := mount("/dev/"+name, at, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	cache, err := os.ReadFile("/etc/ld.so.cache") // where the dynamic linker finds libraries; a machine may do without
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(scratch+"/etc/ld.so.cache", cache, 0o644) //nolint:forbidigo,gosec // it is in memory, for every program to read
}

// show makes a directory of the machine, or a link to one, one of the cell's, for reading.
func show(from, to string) error {
	info, err := os.Lstat(from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case !info.IsDir():
		return nil
	}
	if err := os.Mkdir(to, 0o755); err != nil { //nolint:gosec // as it is on the machine
		return err
	}
	if err := mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "")
}

func mount(what, at, kind string, flags uintptr, options string) error {
	if err := unix.Mount(what, at, kind, flags, options); err != nil {
		return &os.PathError{Op: "mount", Path: at, Err: err}
	}
	return nil
}
