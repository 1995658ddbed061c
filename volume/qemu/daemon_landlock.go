package qemu

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fileRule allows a process something with the files at and below a path.
type fileRule struct {
	path   string
	rights uint64 // LANDLOCK_ACCESS_FS_*
}

const (
	mayRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE
	mayRun   = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_EXECUTE
	mayWrite = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE

	// forFiles are the rights that a rule for a file, not a directory, may have.
	forFiles = mayWrite | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// The rights that each version of Landlock's interface came with; a kernel refuses those that it does not know. See
// Documentation/userspace-api/landlock.rst.
var landlockRights = []struct{ version, rights uint64 }{
	{1, unix.LANDLOCK_ACCESS_FS_REFER - 1},
	{2, unix.LANDLOCK_ACCESS_FS_REFER},
	{3, unix.LANDLOCK_ACCESS_FS_TRUNCATE},
	{5, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
}

// landlockVersion returns the version of the kernel's interface, or 0 if it has none, does not use it, or this process may not.
func landlockVersion() (uint64, error) {
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	// EPERM is of a filter of system calls that knows no Landlock, such as an older container's: the question itself needs no right.
	if errno == unix.ENOSYS || errno == unix.EOPNOTSUPP || errno == unix.EPERM {
		return 0, nil
	}
	if errno != 0 {
		return 0, fmt.Errorf("ask for Landlock: %w", errno)
	}
	return uint64(n), nil
}

// landlock forbids the calling thread, and the processes that it starts, every file but those of rules, every TCP port, and,
// where the kernel can, signals and abstract sockets of processes outside. It needs no_new_privs. A path that is not there is
// left out. Where the kernel has no Landlock nothing is forbidden.
func landlock(rules []fileRule) error {
	version, err := landlockVersion()
	if err != nil || version == 0 {
		return err
	}
	attr := unix.LandlockRulesetAttr{}
	for _, r := range landlockRights {
		if version >= r.version {
			attr.Handled_access_fs |= r.rights
		}
	}
	if version >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if version >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	// An older kernel takes the longer structure as long as what it does not know is zero.
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0) //nolint:gosec // the system call takes it so
	if errno != 0 {
		return fmt.Errorf("make a Landlock ruleset: %w", errno)
	}
	defer unix.Close(int(fd)) //nolint:errcheck // nothing was written
	for _, r := range rules {
		if err := landlockRule(int(fd), r, attr.Handled_access_fs); err != nil {
			return fmt.Errorf("allow %s: %w", r.path, err)
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("enforce a Landlock ruleset: %w", errno)
	}
	return nil
}

// landlockRule adds a rule to the ruleset, as far as it handles its rights.
func landlockRule(ruleset int, r fileRule, handled uint64) error {
	at, err := unix.Open(r.path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(at) //nolint:errcheck // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return err
	}
	rights := r.rights & handled
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= forFiles
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(at)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0) //nolint:gosec // the system call takes it so
	if errno != 0 {
		return errno
	}
	return nil
}
