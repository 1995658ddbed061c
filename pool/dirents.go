package pool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// child is a directory or a symbolic link in a directory.
type child struct {
	name string
	link bool
}

// list returns the directories and symbolic links in the directory rel that may be pools, in any order. It
// asks for entries as the kernel keeps them: os.File.ReadDir would look at each of the volumes of a pool, which
// are many and which nobody wants here.
func list(root *os.Root, rel string) ([]child, error) {
	d, err := root.OpenFile(rel, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var found []child
	buf := make([]byte, 64<<10)
	for {
		n := 0
		cerr := control(d, func(fd int) {
			for {
				if n, err = unix.ReadDirent(fd, buf); !errors.Is(err, unix.EINTR) {
					return
				}
			}
		})
		if err := firstOf(cerr, err); err != nil {
			return found, &fs.PathError{Op: "read", Path: rel, Err: err}
		}
		if n <= 0 {
			return found, nil
		}
		eachDirent(buf[:n], func(name []byte, kind byte) {
			if !private(name) {
				if c, ok := look(root, rel, string(name), kind); ok {
					found = append(found, c)
				}
			}
		})
	}
}

// look tells a directory from a symbolic link, and asks for it where the file system's directories don't say.
func look(root *os.Root, rel, name string, kind byte) (child, bool) {
	if kind == unix.DT_UNKNOWN {
		info, err := root.Lstat(path.Join(rel, name))
		if err != nil {
			return child{}, false
		}
		return child{name, info.Mode()&fs.ModeSymlink != 0}, info.IsDir() || info.Mode()&fs.ModeSymlink != 0
	}
	return child{name, kind == unix.DT_LNK}, kind == unix.DT_DIR || kind == unix.DT_LNK
}

// eachDirent calls fn with the name and type (DT_DIR...) of every entry of what getdents64 returned. name is only
// valid in the call. What is not whole ends it. Pure.
func eachDirent(buf []byte, fn func(name []byte, kind byte)) {
	// struct linux_dirent64, see getdents(2): inode and offset, each 8 bytes, then these.
	const lengthAt, kindAt, nameAt = 16, 18, 19
	for len(buf) > nameAt {
		length := int(binary.NativeEndian.Uint16(buf[lengthAt:]))
		if length <= nameAt || length > len(buf) {
			return
		}
		name, _, ok := bytes.Cut(buf[nameAt:length], []byte{0})
		if !ok {
			return
		}
		fn(name, buf[kindAt])
		buf = buf[length:]
	}
}
