package file

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// copier is a program that copies a file.
type copier struct {
	name string
	pkg  string // Debian's package
	args func(from, to string) []string
}

// copiers are the programs that volumes may ask for by their alg. cp is ours: see sparseCopy.
var copiers = map[volume.Alg]copier{
	volume.Rsync: {"rsync", "rsync", func(from, to string) []string {
		// Into the file itself, which nobody else sees, with holes, and without the reading that compares.
		return []string{"--inplace", "--sparse", "--whole-file", "--ignore-times", "--", from, to}
	}},
	volume.Rclone: {"rclone", "rclone", func(from, to string) []string {
		// One stream, so that the file's size tells how far it came; no configuration, so that no remote can be meant.
		return []string{
			"copyto", "--config", "", "--ignore-times", "--no-check-dest", "--multi-thread-streams", "0",
			"--local-no-preallocate", "--retries", "1", "--quiet", "--", from, to,
		}
	}},
}

// killWait is how long the pipe of a program that is gone is still read: only a descendant could hold it.
const killWait = 10 * time.Second

// lookEvery is how often it is looked how far a program came.
const lookEvery = 200 * time.Millisecond

// run copies from, which has size bytes, to the empty file to, and returns when the program is gone. It gets lock, is killed when ctx
// ends, and dies with this process. The environment is only what it needs.
func (c copier) run(ctx context.Context, from string, to, lock *os.File, size int64, m *meter) error {
	program, err := exec.LookPath(c.name)
	if err != nil {
		return &fault.Error{
			Code: fault.ImageToolMissing,
			Msg:  c.name + " is not installed on the server, and the volume's alg asks for it: install the package " + c.pkg + ", or set alg to cp",
			Err:  err,
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var errOutput head
	cmd := exec.CommandContext(ctx, program, c.args(from, to.Name())...) //nolint:gosec // both are absolute paths, behind "--"
	cmd.Env = []string{"LC_ALL=C", "HOME=/nonexistent"}
	cmd.Dir = "/"
	cmd.Stderr = &errOutput
	cmd.ExtraFiles = []*os.File{lock}
	cmd.WaitDelay = killWait
	// A group of its own, all of which is killed: rsync is three processes.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

	var work sync.WaitGroup
	ended := make(chan struct{})
	work.Go(func() {
		// The parent-death signal follows the thread that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err = cmd.Run()
	})
	if m != nil {
		work.Go(func() { follow(ended, to, size, m) })
	}
	work.Wait()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case strings.Contains(errOutput.String(), "No space left on device"): // it has no other way to say so
		return &fault.Error{Code: fault.PoolFull, Msg: c.name + ": no space left on device", Err: errors.Join(err, errors.New(errOutput.String()))}
	}
	return &fault.Error{Code: fault.ImageToolFailed, Msg: c.name + " failed to copy the image", Err: errors.Join(err, errors.New(errOutput.String()))}
}

// follow tells m how large the file is until ended is closed.
func follow(ended <-chan struct{}, f *os.File, size int64, m *meter) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		if info, err := f.Stat(); err == nil {
			m.of(info.Size(), size)
		}
	}
}

// head keeps the beginning of what is written to it.
type head struct{ b bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	const most = 4096
	h.b.Write(p[:min(len(p), most-h.b.Len())])
	return len(p), nil
}

func (h *head) String() string { return strings.TrimSpace(h.b.String()) }
