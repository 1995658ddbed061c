package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"elstore/volume/fault"
)

// command is one run of qemu-img.
type command struct {
	name     string   // the subcommand
	args     []string // that follow it
	limits   limits
	stalls   bool                  // kill it when it makes no progress
	progress func(percent float64) // what -p reports, or nil; then the output is returned
	target   string                // the file that it writes, or ""
	images   []Image               // that it was given; of their paths an error names the last element only
	inherit  []*os.File
	answers  []int // exit codes that are answers, besides 0
}

// result is how a run ended.
type result struct {
	code   int    // 0 or one of command.answers
	output []byte // stdout, where nobody reads progress from it
}

// The bounds of what is kept of an output. The largest answer is that of info about an image with as many
// snapshots as Inspect allows.
const (
	maxOutput = 1 << 20
	maxErrors = 16 << 10
)

// killWait is how long the pipes of a process that is gone are still read: only a descendant could hold them.
const killWait = 10 * time.Second

var errStalled = errors.New("it made no progress")

// run runs qemu-img and waits for it. Its parent-death signal follows the thread that started it, so that thread
// belongs to it as long as it lives, and is confined with it.
func (t *Tool) run(ctx context.Context, c command) (r result, err error) {
	path, err := t.program()
	if err != nil {
		return r, err
	}
	if ctx.Err() != nil {
		return r, ended(ctx, c.name)
	}
	done := make(chan struct{})
	onOwnThread(func() {
		defer close(done)
		if err = c.confine(path, t.besides); err != nil {
			err = &fault.Error{Code: fault.ImageToolFailed, Msg: "qemu-img can't be confined", Err: err}
			return
		}
		r, err = t.child(ctx, path, c)
	})
	<-done
	return r, err
}

// confine takes from the calling thread what the run does not need. One that works on an image of a Ceph cluster keeps files
// and ports: librbd looks at many.
func (c *command) confine(program string, besides []fileRule) error {
	if slices.ContainsFunc(c.images, func(i Image) bool { return !filepath.IsAbs(i.Path) }) {
		return dropPrivileges()
	}
	return confine(program, append(c.rules(), besides...))
}

// rules are the files that qemu-img may open: the images that it was given, of which it writes the target alone, and those
// that they are overlays of. It makes none: a target is there before it begins.
func (c *command) rules() (rules []fileRule) {
	for _, img := range c.images {
		rights := uint64(mayRead)
		if img.Path == c.target {
			rights = mayWrite
		}
		rules = append(rules, fileRule{img.Path, rights})
		if img.Bases != "" {
			rules = append(rules, fileRule{img.Bases, mayRead})
		}
	}
	return rules
}

// child is run on the thread that lives as long as the process.
func (t *Tool) child(ctx context.Context, path string, c command) (result, error) {
	running, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	cmd := exec.CommandContext(running, path, append([]string{c.name}, c.args...)...) //nolint:gosec // what Image.check let pass
	cmd.Env = environment()
	cmd.Dir = "/" // it holds no file system in use
	cmd.ExtraFiles = c.inherit
	cmd.WaitDelay = killWait
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // a terminal's Ctrl-C is for the server, which ends its work in order
	}
	var percent atomic.Uint64
	output, errOutput := &capture{limit: maxOutput}, &capture{limit: maxErrors}
	cmd.Stdout, cmd.Stderr = io.Writer(output), errOutput
	if c.progress != nil {
		cmd.Stdout = &progressWriter{report: func(p float64) {
			percent.Store(math.Float64bits(p))
			c.progress(p)
		}}
	}

	if err := cmd.Start(); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			t.forget()
			return result{}, missing(err)
		}
		return result{}, &fault.Error{Code: fault.ImageToolFailed, Msg: "qemu-img can't be started", Err: err}
	}
	pid := cmd.Process.Pid
	limitErr := c.limits.apply(pid, t.config.Nice)
	if limitErr != nil {
		kill(limitErr)
	} else {
		t.started(pid)
	}
	var watching sync.WaitGroup
	if c.stalls {
		watching.Go(func() {
			take := func() sample { return takeSample(pid, c.target, math.Float64frombits(percent.Load())) }
			watch(running, t.stallAfter, t.sampled, take, func() { kill(errStalled) })
		})
	}
	waitErr := cmd.Wait()
	why := context.Cause(running)
	kill(nil)
	watching.Wait()

	state := cmd.ProcessState
	switch {
	case limitErr != nil:
		return result{}, &fault.Error{Code: fault.ImageToolFailed, Msg: "qemu-img can't be limited", Err: limitErr}
	case waitErr == nil, isAnswer(state, c.answers):
		if output.dropped {
			return result{}, fault.Errorf(fault.ImageToolFailed, "qemu-img %s said more than %d bytes", c.name, maxOutput)
		}
		return result{state.ExitCode(), output.kept}, nil
	case ctx.Err() != nil:
		return result{}, ended(ctx, c.name)
	case errors.Is(why, errStalled):
		return result{}, fault.Errorf(fault.ImageToolFailed, "qemu-img %s made no progress for %v and was stopped", c.name, t.stallAfter)
	}
	return result{}, failure(c, string(errOutput.kept), waitErr, state)
}

// isAnswer reports whether a process that did not end with 0 ended with one of answers.
func isAnswer(state *os.ProcessState, answers []int) bool {
	for _, code := range answers {
		if state.ExitCode() == code {
			return true
		}
	}
	return false
}

// ended is the error of a call whose context ended.
func ended(ctx context.Context, name string) error {
	return fmt.Errorf("qemu-img %s was stopped: %w", name, context.Cause(ctx))
}
