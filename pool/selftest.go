package pool

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// testLocks makes sure that the flocks of the file system that root lies on exclude each other as the sharing
// of a pool needs it: through two descriptions of one file, and for as long as a child has inherited one. What
// it can't tell is whether they do between machines.
func testLocks(ctx context.Context, root *os.Root) error {
	name := ".elstore-locktest-" + rand.Text()
	first, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fault.FromOS("test locks", err)
	}
	defer func() { _ = root.Remove(name) }()
	defer first.Close()
	second, err := root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return fault.FromOS("test locks", err)
	}
	defer second.Close()

	unfit := func(what string) error {
		return fault.Errorf(fault.PoolUnavailable, "it can't be shared: the locks of its file system fail their test: %s", what)
	}
	if err := tryFlock(first); err != nil {
		return unfit("a file can't be locked: " + cause(err))
	}
	switch err := tryFlock(second); {
	case err == nil:
		return unfit("two can lock a file at once")
	case !errors.Is(err, unix.EWOULDBLOCK):
		return unfit("a locked file can't be tried: " + cause(err))
	}
	end, err := inherit(ctx, first)
	if err != nil {
		return fault.Errorf(fault.PoolUnavailable, "it can't be shared: its locks can't be tested: %w", err)
	}
	_ = first.Close()
	err = tryFlock(second)
	if eerr := end(); eerr != nil {
		return fault.Errorf(fault.PoolUnavailable, "it can't be shared: its locks can't be tested: %w", eerr)
	}
	if err == nil {
		return unfit("a lock ends while a child process still has it")
	}
	if err := waitFlock(ctx, second); err != nil {
		return unfit("a lock stays when nobody has it any more: " + cause(err))
	}
	return nil
}

// waitFlock tries for a while: any other child that this process starts has all its files open for a moment.
func waitFlock(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		err := tryFlock(f)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(lockRetry):
		}
	}
}

func tryFlock(f *os.File) (err error) {
	cerr := control(f, func(fd int) { err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	return firstOf(cerr, err)
}

// inherit starts a child that does nothing but hold f open until end is called.
func inherit(ctx context.Context, f *os.File) (end func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	child := exec.CommandContext(ctx, "cat") // copies nothing to nowhere until its input ends
	child.ExtraFiles = []*os.File{f}
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's interrupt is not for it
	var input io.WriteCloser
	if input, err = child.StdinPipe(); err == nil {
		err = child.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return func() error {
		defer cancel()
		_ = input.Close()
		return child.Wait()
	}, nil
}
