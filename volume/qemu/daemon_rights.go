package qemu

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// onOwnThread runs fn on a thread that runs nothing else, and ends with it: not the main thread, which can't.
func onOwnThread(fn func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			fn()
			return
		}
		elsewhere := make(chan struct{}) // as long as this thread is taken
		go func() {
			runtime.LockOSThread()
			close(elsewhere)
			fn()
		}()
		<-elsewhere
		runtime.UnlockOSThread()
	}()
}

// confine takes from the calling thread, and so from the process that it starts, what qemu-img or a storage daemon does not need. The
// thread can't get it back: it must be locked to its goroutine and end with it.
//
//   - It gains no privileges by running a program (no_new_privs), and has no ambient capabilities.
//   - Of root's capabilities only CAP_DAC_OVERRIDE is left, for images and directories that belong to somebody else.
//   - Where the kernel has Landlock it can open the program, its libraries, the image and the image's base, and nothing else;
//     see there.
//
// What it does not do is put it in namespaces of its own, or filter its system calls: QEMU's own filter is in neither of
// the two.
func confine(program string, files []fileRule) error {
	if err := dropPrivileges(); err != nil {
		return err
	}
	return landlock(append(programRules(program), files...))
}

// dropPrivileges is confine without its files.
func dropPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}
	return boundCapabilities(unix.CAP_DAC_OVERRIDE)
}

// boundCapabilities makes keep the one capability that a program run by root gets. A thread without CAP_SETPCAP
// may not, but is not root's either, or somebody took root's capabilities before.
func boundCapabilities(keep uintptr) error {
	for c := range uintptr(64) {
		if c == keep {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) { // one past the last; or not allowed
			return nil
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	return nil
}

// programRules allows what it takes to run a program: what distributions put libraries in, and what the libraries look at when
// they begin.
func programRules(program string) []fileRule {
	rules := []fileRule{{filepath.Dir(program), mayRun}}
	for _, dir := range []string{"/usr", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/gnu/store"} {
		rules = append(rules, fileRule{dir, mayRun})
	}
	for _, file := range []string{"/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/etc/gnutls", "/proc/self", "/proc/sys", "/sys/devices/system", "/dev/urandom"} {
		rules = append(rules, fileRule{file, mayRead | unix.LANDLOCK_ACCESS_FS_READ_DIR})
	}
	return append(rules, fileRule{"/dev/null", mayRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE})
}
