package iso

import (
	"errors"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// workspace is a directory from which go-diskfs takes the names, rights and lengths of an image's files. Their content, in which there
// may be secrets, never gets there. It is locked as long as it is used: one that is not was left by a process that died, and
// the next workspace takes it away.
type workspace struct {
	path string
	lock *os.File
}

// workspaces begins their names.
const workspaces = "elstore-iso-"

// newWorkspace makes an empty workspace.
func newWorkspace() (*workspace, error) {
	return newWorkspaceIn(inMemory())
}

func newWorkspaceIn(dir string) (*workspace, error) {
	sweep(dir)
	for {
		name, err := os.MkdirTemp(dir, workspaces)
		if err != nil {
			return nil, err
		}
		w, err := hold(name)
		if err != nil || w != nil {
			return w, err
		} // else another process took it for one that was left
	}
}

// inMemory is the directory of the system's shared memory if it is there, which is faster than a disk.
func inMemory() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() && unix.Access(shm, unix.W_OK|unix.X_OK) == nil {
		return shm
	}
	return os.TempDir()
}

// hold locks a workspace; nil is one that another process holds, or that went at this moment.
func hold(name string) (*workspace, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0) //nolint:gosec // a name of our own
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // see above
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, nil //nolint:nilnil // see above
		}
		return nil, err
	}
	held, err := f.Stat()
	there, errThere := os.Lstat(name)
	if err != nil || errThere != nil || !os.SameFile(held, there) {
		_ = f.Close()
		return nil, nil //nolint:nilnil,nilerr // see above
	}
	return &workspace{name, f}, nil
}

// sweep takes away what processes that died left. What is another user's stays.
func sweep(dir string) {
	left, err := filepath.Glob(filepath.Join(dir, workspaces+"*"))
	if err != nil {
		return
	}
	for _, name := range left {
		if w, err := hold(name); err == nil && w != nil {
			w.close()
		}
	}
}

// close takes the workspace away.
func (w *workspace) close() {
	_ = os.RemoveAll(w.path)
	_ = w.lock.Close()
}

// put makes a file of size bytes that are all zero, which takes no room. Its rights go into the image, whatever the umask.
func (w *workspace) put(name string, size int64, executable bool) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		at := filepath.Join(w.path, filepath.FromSlash(dir))
		if err := os.MkdirAll(at, 0o700); err != nil {
			return err
		}
		if err := os.Chmod(at, 0o755); err != nil { //nolint:gosec // below a directory of 0700
			return err
		}
	}
	f, err := os.OpenFile(filepath.Join(w.path, filepath.FromSlash(name)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if executable {
		mode = 0o755
	}
	return errors.Join(f.Truncate(size), f.Chmod(mode), f.Close())
}
