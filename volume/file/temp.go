package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// temp is the name of a temporary file or directory, and the flock on a file beside it that keeps sweepers away
// until release. Who makes it, this process or a program, does not matter.
type temp struct {
	d    *dir // its own
	name string
	lock *os.File
}

// newTemp finds a name in d and claims it. d may be closed before the temp is released.
func (d *dir) newTemp() (*temp, error) {
	root, err := d.root.OpenRoot(".")
	if err != nil {
		return nil, fault.FromOS("make a temporary file", err)
	}
	own, err := newDir(root, d.path, d.step)
	if err != nil {
		return nil, fault.FromOS("make a temporary file", err)
	}
	own.images = d.images
	for {
		t := &temp{d: own, name: tempName()}
		if t.lock, err = own.openNew(t.name + claimSuffix); err != nil {
			own.close()
			return nil, fault.FromOS("make a temporary file", err)
		}
		err := flockNow(t.lock, unix.LOCK_EX)
		if err == nil && linked(t.lock) {
			return t, nil
		}
		unlock(t.lock)
		if err != nil && !errors.Is(err, errHeld) {
			own.close()
			return nil, err
		}
		// A sweeper was faster; the next name is as good.
	}
}

// path returns the file's absolute path.
func (t *temp) path() string { return filepath.Join(t.d.path, t.name) }

// release removes what has the name, if something has, and gives up the name.
func (t *temp) release() {
	if t.d.removeAll(t.name) == nil { // what stays is swept later, by its claim
		_ = t.d.remove(t.name + claimSuffix)
	}
	unlock(t.lock)
	t.d.close()
}

// sweepTemps removes those of names that are temporary files which nobody claims. With unclaimed also those
// that never were claimed, such as durable.WriteFile's: then nobody else may be at work in the directory.
func (d *dir) sweepTemps(names []string, unclaimed bool) error {
	var errs []error
	for _, name := range names {
		if !strings.HasPrefix(name, tempPrefix) {
			continue
		}
		file, isClaim := strings.CutSuffix(name, claimSuffix)
		switch {
		case isClaim:
			errs = append(errs, d.sweepClaimed(file))
		case unclaimed && !slices.Contains(names, name+claimSuffix):
			errs = append(errs, d.remove(name))
		}
	}
	return errors.Join(errs...)
}

func (d *dir) sweepClaimed(name string) error {
	lock, err := d.open(name+claimSuffix, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.FromOS("sweep a temporary file", err)
	}
	defer unlock(lock)
	if err := flockNow(lock, unix.LOCK_EX); err != nil {
		if errors.Is(err, errHeld) {
			return nil
		}
		return err
	}
	if err := d.removeAll(name); err != nil {
		return err
	}
	return d.remove(name + claimSuffix)
}
