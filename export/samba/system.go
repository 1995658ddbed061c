package samba

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"elstore/export/samba/fuse"
	"elstore/volume/fault"
)

// System is the machine's own smbd, and how to use it. What of its shares and of the machine's accounts bears the Mark is the kind's;
// nothing else of them is ever changed.
type System struct {
	Conf string // its smb.conf
	// Dir is a directory for the kind alone. It is made. Everybody must be let through the directories above it.
	Dir  string
	Mark string // without colons and line ends, such as the server's id
	Port int    // that it listens on
}

// systemPrograms are what runs with the machine's smbd.
var systemPrograms = []string{"testparm", "net", "pdbedit", "smbcontrol", "useradd", "userdel"}

// The user ids of accounts: systemd's list of what is whose has nobody there, and smbd makes a number of 32 bits of twice as much.
const (
	firstSystemUID = 0x7000_0000
	maxSystemUsers = 1 << 27
)

// facts are what is to be known of the machine's smbd.
type facts struct {
	pid   int    // of its first process
	guest string // account
}

// look reads the configuration of smbd. The error says what keeps exports from being made through it.
func (y *System) look(guests bool) (f facts, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), toolWait)
	defer cancel()
	path, err := program("testparm")
	if err != nil {
		return f, err
	}
	cmd := exec.CommandContext(ctx, path, "-s", "-v", y.Conf) //nolint:gosec // the operator names it
	cmd.Env = toolEnv
	said := &tail{}
	cmd.Stderr = said
	out, err := cmd.Output()
	if err != nil {
		return f, fmt.Errorf("the configuration %s of the machine's smbd can't be read: %w: %s", y.Conf, err, said.text())
	}
	global := parseGlobal(out)
	if err := demand(global, guests); err != nil {
		return f, fmt.Errorf("%s: %w", y.Conf, err)
	}
	f.guest = global["guest account"]
	file := filepath.Join(global["pid directory"], "smbd.pid")
	data, err := os.ReadFile(file) //nolint:gosec // as smbd's configuration has it
	if n, serr := fmt.Sscan(string(data), &f.pid); err != nil || n != 1 || serr != nil || !isSMBD(f.pid) {
		return f, fmt.Errorf("the machine's smbd doesn't run: %s does not name its process; start it, and ask again", file)
	}
	return f, nil
}

func isSMBD(pid int) bool {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && string(name) == "smbd\n"
}

// newSystemHost begins with the machine's smbd.
func newSystemHost(cfg *Config) (*host, error) {
	y := cfg.System
	f, err := y.look(cfg.Guests)
	if err != nil {
		return nil, fault.Errorf(fault.BadRequest, "%w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	if err := y.sweep(ctx); err != nil {
		return nil, err
	}
	dev, err := y.mount(f.pid)
	if err != nil {
		return nil, err
	}
	h := newHost(cfg, dev)
	h.port, h.server = y.Port, newSystem(y, f)
	return h, nil
}

// mount mounts the file system of the files where smbd sees it.
func (y *System) mount(pid int) (dev *os.File, err error) {
	for dir, mode := range map[string]os.FileMode{y.Dir: 0o711, y.volumes(): 0o755} {
		if err = errors.Join(os.MkdirAll(dir, mode), os.Chmod(dir, mode)); err != nil {
			return nil, fmt.Errorf("make a place for smbd's files: %w", err)
		}
	}
	if dev, err = fuse.Mount(y.volumes()); err != nil {
		return nil, err
	}
	if err = y.visible(pid); err != nil {
		return nil, errors.Join(err, dev.Close(), y.unmount())
	}
	return dev, nil
}

// visible returns nil where a process sees our mount, and nothing over it.
func (y *System) visible(pid int) error {
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Dir(y.volumes()), &st); err != nil {
		return err
	}
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	// Not /proc/self: the process' first thread may be a cell's.
	own, oerr := os.ReadFile("/proc/thread-self/mountinfo")
	if err := errors.Join(err, oerr); err != nil {
		return err
	}
	at, err := filepath.EvalSymlinks(filepath.Dir(y.volumes()))
	if err != nil {
		return err
	}
	at = filepath.Join(at, filepath.Base(y.volumes()))
	if number := mountedAt(own, at); number == "" || mountedAt(table, at) != number {
		return fault.Errorf(fault.BadRequest, "the machine's smbd doesn't see what this server mounts on %s: one of the two runs in a mount namespace of its own, as by a ProtectSystem= or PrivateTmp= of systemd", y.volumes())
	}
	return nil
}

// mountedAt returns the device number of the file system of ours that is mounted on a directory last, in a table as of
// proc_pid_mountinfo(5), or "". Pure.
func mountedAt(table []byte, dir string) (number string) {
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 6 && unescape.Replace(f[4]) == dir {
			number = f[2]
		}
	}
	return number
}

// unescape undoes what the kernel does to names in its tables.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// unmount takes away what is mounted, by whomever of this kind.
func (y *System) unmount() error {
	for {
		switch err := unix.Unmount(y.volumes(), unix.MNT_DETACH); {
		case err == nil: // there may be another below
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // nothing is mounted
			return nil
		default:
			return &os.PathError{Op: "umount", Path: y.volumes(), Err: err}
		}
	}
}

func (y *System) volumes() string { return filepath.Join(y.Dir, "volumes") }

// toolEnv is what programs find in their environment.
var toolEnv = []string{"PATH=" + searchPath, "LC_ALL=C"}

// tool runs a program, and returns what it said. It is let end by itself when this process does.
func (y *System) tool(ctx context.Context, name string, args ...string) (string, error) {
	return runTool(ctx, func(cmd *exec.Cmd) error {
		cmd.Dir, cmd.Env = "/", toolEnv
		cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for the server, which ends its work in order
		return cmd.Start()
	}, name, args...)
}
