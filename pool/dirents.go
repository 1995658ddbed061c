package pool

import (
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"elstore/volume/durable"
)

// child is a directory or a symbolic link in a directory.
type child struct {
	name string
	link bool
}

// list returns the directories and symbolic links in the directory rel that may be pools, in any order.
func list(root *os.Root, rel string) ([]child, error) {
	d, err := root.OpenFile(rel, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var found []child
	err = durable.EachEntry(d, func(name []byte, kind byte) {
		if !private(name) {
			if c, ok := look(root, rel, string(name), kind); ok {
				found = append(found, c)
			}
		}
	})
	return found, err
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
