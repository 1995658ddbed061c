package file

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// errNoReflink says that two files can't share blocks.
var errNoReflink = errors.New("the file system can't share blocks between these files")

// reflink makes to, which is empty, share all blocks of from: a copy that takes no room and no time.
func (d *dir) reflink(to, from *os.File) error {
	return d.change("reflink", to, func(fd int) error {
		err := retry(func() error { return unix.IoctlFileClone(fd, int(from.Fd())) })
		switch {
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTTY), errors.Is(err, unix.ENOSYS), // not by this file system
			errors.Is(err, unix.EXDEV),                              // not between these two
			errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPERM), // not as these files are
			errors.Is(err, unix.ETXTBSY):
			return errNoReflink
		}
		return err
	})
}

// probeReflink finds out whether files of the directory can share blocks, by letting two. Its error says
// that nothing can be written there. A full file system is none: what it keeps can be read and removed, and whoever copies tries
// to share blocks anyway.
func (d *dir) probeReflink() (bool, error) {
	names, err := d.names()
	if err == nil {
		err = d.sweepTemps(names, false)
	}
	can := false
	if err == nil {
		can, err = d.tryReflink()
	}
	switch {
	case errors.Is(err, errNoReflink), fault.Is(err, fault.PoolFull):
		return false, nil
	case err != nil:
		return false, &fault.Error{Code: fault.PoolUnavailable, Msg: "the pool can't be written: " + reason(err), Err: err}
	}
	return can, nil
}

func (d *dir) tryReflink() (bool, error) {
	var files [2]*os.File
	for i := range files {
		t, err := d.newTemp()
		if err != nil {
			return false, err
		}
		defer t.release()
		if files[i], err = t.d.openNew(t.name); err != nil {
			return false, err
		}
		defer files[i].Close() //nolint:errcheck // nothing of worth was written
	}
	const block = 4096
	if _, err := files[0].Write(make([]byte, block)); err != nil {
		return false, fault.FromOS("write", err)
	}
	return true, d.reflink(files[1], files[0])
}
