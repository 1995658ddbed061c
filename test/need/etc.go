package need

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// ownEtc says that this process has an /etc of its own.
const ownEtc = "ELSTORE_TEST_OWN_ETC"

// RunWithOwnEtc is a TestMain's m.Run for tests that change the machine's accounts: it runs them in a process with mounts of its own, in
// which /etc is a copy, that is gone with the process. Where that can't be had they run as they are, and OwnEtc says so.
func RunWithOwnEtc(m *testing.M) (code int) {
	worker := slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "-test.fuzzworker") }) // has files that it got
	if os.Getenv(ownEtc) != "" || worker || os.Geteuid() != 0 {
		return m.Run()
	}
	runtime.LockOSThread() // with whose end the process is killed
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	dir, err := os.MkdirTemp("", "elstore-etc-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	copied := exec.Command("cp", "-a", "/etc", filepath.Join(dir, "etc")).Run()
	if copied != nil {
		return m.Run()
	}
	cmd.Env = append(os.Environ(), ownEtc+"="+filepath.Join(dir, "etc"))
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		return m.Run() // it could not be started
	}
	return 0
}

// OwnEtc needs an /etc that is the test's process' alone, by RunWithOwnEtc.
func OwnEtc(t testing.TB) {
	t.Helper()
	Root(t)
	if err := mountEtc(); err != nil {
		lacking(t, fmt.Sprintf("a machine that gives processes mounts of their own: %v", err))
	}
}

var mountEtc = sync.OnceValue(func() error {
	from := os.Getenv(ownEtc)
	if from == "" {
		return errors.New("this process has none")
	}
	return syscall.Mount(from, "/etc", "", syscall.MS_BIND, "")
})
