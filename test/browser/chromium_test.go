package browser

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"elstore/test/need"
)

// patience is how long a browser may take for anything; it is for what hangs.
const patience = 2 * time.Minute

// chromium is Debian's browser, running.
type chromium struct {
	*exec.Cmd
	out, log bytes.Buffer
	ended    chan error
}

// browse runs the browser with a new profile. It takes the names of hostile sites for this machine's, and is ended with
// the test.
func browse(t *testing.T, args ...string) *chromium {
	t.Helper()
	need.Program(t, "chromium")
	home := t.TempDir()
	c := &chromium{ended: make(chan error, 1), Cmd: exec.Command("chromium", append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--disable-breakpad", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir=" + filepath.Join(home, "profile"), "--host-resolver-rules=MAP *.test 127.0.0.1",
	}, args...)...)}
	c.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "TMPDIR="+home)
	c.Stdout, c.Stderr = &c.out, &c.log
	c.WaitDelay = patience // its children may keep the pipes open
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.Cleanup(func() { remove(t, home) })
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.ended <- c.Wait()
		close(c.ended)
	}()
	t.Cleanup(c.end)
	return c
}

// end ends the browser, with its children.
func (c *chromium) end() {
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	for range c.ended { // until it is closed
	}
}

// output waits for the browser's own end, and returns what it wrote.
func (c *chromium) output(t *testing.T) string {
	t.Helper()
	select {
	case err := <-c.ended:
		if err != nil {
			t.Fatalf("%v\n%s", err, c.log.String())
		}
	case <-time.After(patience):
		c.end()
		t.Fatalf("the browser did not end within %v\n%s", patience, c.log.String())
	}
	return c.out.String()
}

// remove removes a profile. A process that is being killed may make a file in it while it goes.
func remove(t *testing.T, dir string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		err := os.RemoveAll(dir)
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Error(errors.Join(errors.New("the browser's profile stays"), err))
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
