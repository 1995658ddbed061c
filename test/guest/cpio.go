package guest

import (
	"fmt"
	"io"
	"io/fs"
)

// archive writes a cpio archive of the newc form, as the kernel unpacks one: see the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst. The first error stays.
type archive struct {
	w     io.Writer
	count int // of files
	size  int64
	err   error
}

// Types of a file, as stat(2) has them.
const (
	typeDirectory = 0o040000
	typeRegular   = 0o100000
	typeLink      = 0o120000
)

// file adds a regular file.
func (a *archive) file(name string, perm fs.FileMode, data []byte) {
	a.entry(name, typeRegular|uint32(perm.Perm()), data)
}

// directory adds a directory. The kernel wants it before what is in it.
func (a *archive) directory(name string) { a.entry(name, typeDirectory|0o755, nil) }

// link adds a symbolic link.
func (a *archive) link(name, target string) { a.entry(name, typeLink|0o777, []byte(target)) }

// close writes the end of the archive.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, nil)
	return a.err
}

// entry writes the header of 13 numbers in hexadecimal, the name and the data, each padded to 4 bytes. Owner,
// group, time and devices are 0, so that the same files make the same archive.
func (a *archive) entry(name string, mode uint32, data []byte) {
	a.count++
	a.printf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.count, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
	a.write(data)
	a.pad()
}

func (a *archive) printf(format string, args ...any) { a.write(fmt.Appendf(nil, format, args...)) }

func (a *archive) pad() { a.write(make([]byte, -a.size&3)) }

func (a *archive) write(p []byte) {
	if a.err == nil {
		_, a.err = a.w.Write(p)
		a.size += int64(len(p))
	}
}
