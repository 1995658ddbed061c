package file

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"elstore/volume/durable"
	"elstore/volume/fault"
)

// dir is an open directory: the pool's, or a volume's, which stays the same directory when it is moved. Its
// methods may be called at the same time. Their names are relative to it and lead nowhere else.
//
// All that changes the pool is done by a method of dir, of which each asks step first.
type dir struct {
	root *os.Root
	fd   *os.File // the same, for what os.Root can't: opening without following a link inside of it, and ioctls
	path string   // absolute, for programs and messages; of a volume as it was when it was opened
	step step

	images Images // what references name, nil where there is no cluster
}

// step is asked before every change, with what is to be done and to what. It is nil but in tests, where its
// error is what the change fails with: then nothing was done.
type step func(op, name string) error

func (s step) ask(op, name string) error {
	if s == nil {
		return nil
	}
	return fault.FromOS(op+" "+path.Base(name), s(op, name))
}

// openDir opens a directory that the configuration names.
func openDir(name string, s step) (*dir, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return newDir(root, name, s)
}

func newDir(root *os.Root, name string, s step) (*dir, error) {
	fd, err := root.Open(".")
	if err != nil {
		root.Close() //nolint:gosec // nothing was written
		return nil, err
	}
	return &dir{root: root, fd: fd, path: name, step: s}, nil
}

// sub opens a directory inside, of one element or two, whose last must not be a symbolic link.
func (d *dir) sub(name string) (*dir, error) {
	before, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	s, err := newDir(root, filepath.Join(d.path, name), d.step)
	if err != nil {
		return nil, err
	}
	s.images = d.images
	if after, err := s.fd.Stat(); err != nil || !os.SameFile(before, after) {
		s.close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	return s, nil
}

func (d *dir) close() {
	d.root.Close() //nolint:gosec // nothing was written through it
	d.fd.Close()   //nolint:errcheck,gosec // likewise
}

// each calls fn with every name in the directory, only valid in the call.
func (d *dir) each(fn func(name []byte)) error {
	f, err := d.root.Open(".")
	if err != nil {
		return fault.FromOS("list directory", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	err = durable.EachEntry(f, func(name []byte, _ byte) {
		if string(name) != "." && string(name) != ".." {
			fn(name)
		}
	})
	return fault.FromOS("list directory", err)
}

// names lists the directory.
func (d *dir) names() (names []string, err error) {
	err = d.each(func(name []byte) { names = append(names, string(name)) })
	return names, err
}

// namesIn lists a directory inside, "." for this one. What is not there is empty.
func (d *dir) namesIn(name string) ([]string, error) {
	if name == "." {
		return d.names()
	}
	s, err := d.sub(name)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.FromOS("list directory", err)
	}
	defer s.close()
	return s.names()
}

// contents lists a volume's directory.
func (d *dir) contents() (c contents, err error) {
	names, err := d.names()
	for _, name := range names {
		c.sort(name)
	}
	return c, err
}

// has reports whether something of that name, of one element, is there: what can't be looked at is.
func (d *dir) has(name string) bool {
	_, err := d.root.Lstat(name)
	return !missing(err)
}

// stat asks about a file, which may be one directory further down, in one system call: lists ask about thousands. The
// directory on the way is a volume's, and was none if it were a symbolic link.
func (d *dir) stat(name string) (st unix.Stat_t, err error) {
	raw, err := d.fd.SyscallConn() // which keeps the descriptor from being closed, and another one from getting its number
	if err != nil {
		return st, err
	}
	cerr := raw.Control(func(fd uintptr) { err = unix.Fstatat(int(fd), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if cerr != nil {
		err = cerr
	}
	return st, err
}

// isLocal reports whether the directory lies on a file system that only this machine changes.
func (d *dir) isLocal() (bool, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.fd.Fd()), &st); err != nil {
		return false, fault.New(fault.PoolUnavailable, "look at the pool's file system", err)
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return true, nil
	}
	return false, nil
}

// errNotRegular is what opening something else than a regular file fails with.
var errNotRegular = errors.New("not a regular file")

// open opens a regular file of one element for reading, and with write for writing too. A symbolic link is not followed, also not to a
// file in the same directory, which os.Root would do.
func (d *dir) open(name string, write bool) (*os.File, error) {
	flags := unix.O_RDONLY
	if write {
		flags = unix.O_RDWR
	}
	return d.openAt(name, flags)
}

func (d *dir) openAt(name string, flags int) (*os.File, error) {
	// O_NONBLOCK, since opening a FIFO would wait for ever.
	fd, err := unix.Openat(int(d.fd.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENXIO):
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	case err != nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), filepath.Join(d.path, name))
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	if err != nil {
		f.Close() //nolint:errcheck,gosec // nothing was written
		return nil, err
	}
	return f, nil
}

// openNew makes a file of that name, which must not be there.
func (d *dir) openNew(name string) (*os.File, error) {
	if err := d.step.ask("create", name); err != nil {
		return nil, err
	}
	return d.openAt(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
}

// openOrNew makes a file of that name if it is not there.
func (d *dir) openOrNew(name string) (*os.File, error) {
	if f, err := d.open(name, true); !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := d.step.ask("create", name); err != nil {
		return nil, err
	}
	return d.openAt(name, unix.O_RDWR|unix.O_CREAT)
}

// note writes a file that describes and needs not survive. It must not be there.
func (d *dir) note(name string, data []byte) error {
	if err := d.step.ask("note", name); err != nil {
		return err
	}
	f, err := d.openAt(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return fault.FromOS("make "+name, err)
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return fault.FromOS("write "+name, err)
}

// replace replaces a small file durably.
func (d *dir) replace(name string, data []byte) error {
	if err := d.step.ask("replace", name); err != nil {
		return err
	}
	if err := durable.WriteFile(d.root, name, data, 0o600); err != nil {
		return err
	}
	// The moment between the rename and the fsync of the directory in WriteFile, as a failure of the latter.
	return d.step.ask("replaced", name)
}

// rename renames durably; a file replaces what has its new name, a directory doesn't.
func (d *dir) rename(from, to string) error {
	if err := d.step.ask("rename", from); err != nil {
		return err
	}
	if err := durable.Rename(d.root, from, to); err != nil {
		return err
	}
	return d.step.ask("renamed", to)
}

// move renames a directory, not durably. It replaces none.
func (d *dir) move(from, to string) error {
	if err := d.step.ask("move", from); err != nil {
		return err
	}
	return d.root.Rename(from, to)
}

// exchange puts one file in the place of another in one moment, durably. old is the file that has now what was there, also when an error
// came after that moment; "" is none, where the file system can't swap files, or nothing was done: in the latter case from is there still.
func (d *dir) exchange(from, to string) (old string, err error) {
	err = d.step.ask("exchange", to)
	if err == nil {
		fd := int(d.fd.Fd())
		err = unix.Renameat2(fd, from, fd, to, unix.RENAME_EXCHANGE)
	}
	switch {
	case (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS)) && isRef(to):
		return d.trade(from, to)
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS):
		return "", d.rename(from, to)
	case err != nil:
		return "", fault.FromOS("put the new image in place", err)
	}
	if err := durable.SyncDir(d.root, "."); err != nil {
		return from, err
	}
	return from, d.step.ask("exchanged", to)
}

// trade is exchange for a reference on a file system that can't swap files: the old one is copied first, so that at every moment each image
// is named by a file. Until the new one is in place both name the image that counts, which removeImage knows of.
func (d *dir) trade(from, to string) (old string, err error) {
	data, _, err := readSmall(int(d.fd.Fd()), to, maxSmall)
	if err != nil {
		return "", fault.FromOS("read "+to, err)
	}
	old = tempName() + refSuffix
	if err = d.replace(old, data); err == nil {
		if err = d.rename(from, to); err == nil || !d.has(from) {
			return old, err
		}
	}
	return "", errors.Join(err, d.remove(old))
}

// link gives a file another name, of which nothing may be there yet. from is absolute or relative to the directory.
func (d *dir) link(from, to string) error {
	if err := d.step.ask("link", to); err != nil {
		return err
	}
	return unix.Linkat(int(d.fd.Fd()), from, int(d.fd.Fd()), to, 0)
}

// mkdir makes a directory, not durably.
func (d *dir) mkdir(name string) error {
	if err := d.step.ask("mkdir", name); err != nil {
		return err
	}
	return d.root.Mkdir(name, 0o700)
}

// remove removes a file, which may be absent, not durably. A reference goes after its image.
func (d *dir) remove(name string) error {
	if err := d.removeImage(name); err != nil {
		return err
	}
	if err := d.step.ask("remove", name); err != nil {
		return err
	}
	if err := d.root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return fault.FromOS("remove "+path.Base(name), err)
	}
	return nil
}

// removeAll removes a directory and all that is in it, not durably, after the images that are named in it.
func (d *dir) removeAll(name string) error {
	if err := d.removeImages(name); err != nil {
		return err
	}
	if err := d.step.ask("remove all", name); err != nil {
		return err
	}
	return fault.FromOS("remove "+path.Base(name), d.root.RemoveAll(name))
}

// sync makes the names in a directory, "." is this one, durable.
func (d *dir) sync(name string) error {
	if err := d.step.ask("sync", name); err != nil {
		return err
	}
	return durable.SyncDir(d.root, name)
}

// change does something to an open file, after asking.
func (d *dir) change(op string, f *os.File, do func(fd int) error) error {
	if err := d.step.ask(op, filepath.Base(f.Name())); err != nil {
		return err
	}
	err := do(int(f.Fd()))
	return fault.FromOS(op+" "+filepath.Base(f.Name()), err)
}

// truncate gives a file another size.
func (d *dir) truncate(f *os.File, size int64) error {
	return d.change("truncate", f, func(fd int) error { return retry(func() error { return unix.Ftruncate(fd, size) }) })
}

// fsync makes a file's content durable.
func (d *dir) fsync(f *os.File) error {
	return d.change("fsync", f, func(fd int) error { return retry(func() error { return unix.Fsync(fd) }) })
}

// tempName returns the name of a new temporary file.
func tempName() string { return tempPrefix + rand.Text() }

// retry calls do again while a signal interrupts it.
func retry(do func() error) error {
	for {
		if err := do(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
