// Package durable replaces small files so that a crash leaves either the old content or the new, never a mix.
//
// Every change here returns only after it is on stable storage: the file and the directory that
// names it are fsynced. Paths are relative to an os.Root, so that no name can lead out of it.
package durable

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"

	"elstore/volume/fault"
)

// TempPrefix begins the name of every temporary file that WriteFile makes. One that is found while no
// operation runs in its directory is a crash's and can be removed.
const TempPrefix = ".tmp-"

// WriteFile replaces the file name with data: temporary file in the same directory, write, fsync, rename,
// fsync of the directory. On an error the old file is as it was, and the temporary one is gone; only where
// the last step failed, the directory's fsync, the new content is there already and a crash may still bring
// back the old. Calls for the same name may run at the same time: one of them wins whole. A symlink at name
// is replaced and not followed. perm is what a new file gets, less the umask.
func WriteFile(root *os.Root, name string, data []byte, perm fs.FileMode) error {
	temp := path.Join(path.Dir(name), TempPrefix+rand.Text())
	if err := writeNew(root, temp, data, perm); err != nil {
		_ = root.Remove(temp)
		return fault.FromOS("write "+path.Base(name), err)
	}
	if err := root.Rename(temp, name); err != nil {
		_ = root.Remove(temp)
		return fault.FromOS("replace "+path.Base(name), err)
	}
	return SyncDir(root, path.Dir(name))
}

func writeNew(root *os.Root, name string, data []byte, perm fs.FileMode) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Rename renames within root and syncs both directories. The target must not exist as a directory.
func Rename(root *os.Root, from, to string) error {
	if err := root.Rename(from, to); err != nil {
		return fault.FromOS("rename "+path.Base(from), err)
	}
	if err := SyncDir(root, path.Dir(to)); err != nil {
		return err
	}
	if path.Dir(from) == path.Dir(to) {
		return nil
	}
	return SyncDir(root, path.Dir(from))
}

// Remove removes a file, which may be absent, and syncs its directory.
func Remove(root *os.Root, name string) error {
	err := root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.FromOS("remove "+path.Base(name), err)
	}
	return SyncDir(root, path.Dir(name))
}

// SyncDir makes the names in dir durable.
func SyncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return fault.FromOS("sync directory", err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return fault.FromOS("sync directory", err)
}
