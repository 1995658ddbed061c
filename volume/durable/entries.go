package durable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

var direntBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// EachEntry calls fn with the name and type (unix.DT_DIR…, DT_UNKNOWN where the file system's directories don't
// say) of every entry of an open directory, from where it was read to. It asks for entries as the kernel keeps them:
// os.File.ReadDir would look at each, and they are many. name is only valid in the call.
func EachEntry(dir *os.File, fn func(name []byte, kind byte)) error {
	buf := direntBuffers.Get().(*[64 << 10]byte)
	defer direntBuffers.Put(buf)
	conn, err := dir.SyscallConn()
	if err != nil {
		return err
	}
	for {
		n := 0
		cerr := conn.Control(func(fd uintptr) {
			for {
				if n, err = unix.ReadDirent(int(fd), buf[:]); !errors.Is(err, unix.EINTR) {
					return
				}
			}
		})
		if cerr != nil {
			return cerr
		}
		if err != nil {
			return &os.PathError{Op: "read", Path: dir.Name(), Err: err}
		}
		if n <= 0 {
			return nil
		}
		eachDirent(buf[:n], fn)
	}
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
