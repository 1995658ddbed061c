package file

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"elstore/volume/fault"
)

// zfs makes every volume a dataset below the pool's own, mounted where its directory would be. See inplace.go.
type zfs struct {
	dataset string // the pool's
}

// zfsTime is how long a call of zfs may take. What it is asked for takes a moment, unless the storage is gone.
const zfsTime = time.Minute

// probeZFS returns the maker for a pool that is a dataset, by making one below it and removing it again. The error
// says why that can't be.
func probeZFS(ctx context.Context, pool *dir) (maker, error) {
	const not = `file-system "unique" needs btrfs or ZFS: `
	out, err := runZFS(ctx, "list", "-H", "-o", "name,mountpoint", "--", pool.path)
	if err != nil {
		return nil, &fault.Error{Code: fault.PoolUnavailable, Msg: not + "the pool lies on neither, or zfs is not installed", Err: err}
	}
	dataset, err := parseZFSList(out, pool.path)
	if err != nil {
		return nil, &fault.Error{Code: fault.PoolUnavailable, Msg: not + err.Error(), Err: err}
	}
	z := zfs{dataset}
	probe := strings.TrimPrefix(tempName(), ".") // a dataset's name begins with a letter, a digit or a sign that is no dot
	if err := z.make(ctx, pool, probe); err != nil {
		return nil, &fault.Error{Code: fault.PoolUnavailable, Msg: `file-system "unique" needs the right to make ZFS datasets in the pool`, Err: err}
	}
	if err := z.remove(ctx, pool, probe); err != nil {
		return nil, &fault.Error{Code: fault.PoolUnavailable, Msg: `file-system "unique" needs the right to remove ZFS datasets from the pool`, Err: err}
	}
	return z, nil
}

// parseZFSList returns the dataset's name in what zfs list -H -o name,mountpoint says, if it is mounted on path.
func parseZFSList(out, path string) (string, error) {
	name, mountpoint, ok := strings.Cut(strings.TrimSuffix(out, "\n"), "\t")
	switch {
	case !ok || name == "" || strings.ContainsAny(mountpoint, "\t\n"):
		return "", errors.New("what zfs says of the pool can't be understood")
	case mountpoint != path:
		return "", errors.New("the pool must be a ZFS dataset of its own, mounted on the pool's directory")
	}
	return name, nil
}

func (z zfs) make(ctx context.Context, pool *dir, name string) error {
	if err := pool.step.ask("zfs create", name); err != nil {
		return err
	}
	if _, err := runZFS(ctx, "create", "--", z.dataset+"/"+name); err != nil {
		if !pool.has(name) { // it may be there and not be mounted
			_, _ = runZFS(context.WithoutCancel(ctx), "destroy", "--", z.dataset+"/"+name)
		}
		return err
	}
	return pool.root.Chmod(name, 0o700)
}

// remove also removes the snapshots that somebody made of the dataset, without which it could not go.
func (z zfs) remove(ctx context.Context, pool *dir, name string) error {
	if err := pool.step.ask("zfs destroy", name); err != nil {
		return err
	}
	if _, err := runZFS(ctx, "list", "-H", "-o", "name", "--", z.dataset+"/"+name); err != nil {
		return pool.removeAll(name) // a directory, from before the pool was unique
	}
	if err := z.destroy(ctx, name); err != nil {
		return err
	}
	return pool.removeAll(name) // the mount point, where ZFS left it
}

// busyWait is how long a dataset may be busy that nobody uses: a child of ours on its way to its own program has all
// of our descriptors for a moment, and an unmounting may go on after it was answered.
const busyWait = 5 * time.Second

func (z zfs) destroy(ctx context.Context, name string) error {
	wait, cancel := context.WithTimeout(ctx, busyWait)
	defer cancel()
	tick := time.NewTicker(longPause)
	defer tick.Stop()
	for {
		_, err := runZFS(ctx, "destroy", "-r", "--", z.dataset+"/"+name)
		switch { // it has no other way to say so
		case err == nil, strings.Contains(err.Error(), "does not exist"):
			return nil
		case !strings.Contains(err.Error(), "busy"):
			return err
		}
		select {
		case <-wait.Done():
			return err
		case <-tick.C:
		}
	}
}

func (zfs) inPlace() bool { return true }

// runZFS runs zfs and returns what it says. It ends with this process.
func runZFS(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, zfsTime)
	defer cancel()
	var output, errOutput head
	cmd := exec.CommandContext(ctx, "zfs", args...) //nolint:gosec // names of our own making, behind "--"
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &output, &errOutput
	cmd.WaitDelay = killWait
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	var done sync.WaitGroup
	done.Go(func() { // the parent-death signal follows the thread
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err = cmd.Run()
	})
	done.Wait()
	switch {
	case err == nil:
		return output.b.String(), nil
	case strings.Contains(errOutput.String(), "out of space"): // it has no other way to say so
		return "", &fault.Error{Code: fault.PoolFull, Msg: "zfs " + args[0] + ": out of space", Err: err}
	}
	return "", fmt.Errorf("zfs %s: %w: %s", args[0], err, errOutput.String())
}
