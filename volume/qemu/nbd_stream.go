package qemu

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nbdStream is a connected socket whose reads and writes block their thread. The runtime's poller would cost more than
// it saves: there is somebody who reads only while a request is under way, and each reply would wake, besides who waits
// for it, the thread that polls.
type nbdStream struct {
	file *os.File
	raw  syscall.RawConn

	// of whoever writes
	write func(fd uintptr)
	iov   []unix.Iovec
	err   error
}

// newNBDStream takes over a connection of package net.
func newNBDStream(conn net.Conn) (*nbdStream, error) {
	defer conn.Close() // what goes on is a duplicate
	filer, ok := conn.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("a %T has no descriptor", conn)
	}
	f, err := filer.File()
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing is written through it
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	s := &nbdStream{file: os.NewFile(uintptr(fd), "nbd")}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		_ = s.file.Close()
		return nil, err
	}
	s.write = s.writev // once: a method value is allocated
	return s, nil
}

// Read implements io.Reader.
func (s *nbdStream) Read(p []byte) (int, error) { return s.file.Read(p) }

// writeAll writes all pieces, in one system call where that takes them. It is for one goroutine at a time.
func (s *nbdStream) writeAll(pieces [][]byte) error {
	s.iov, s.err = s.iov[:0], nil
	for _, p := range pieces {
		if len(p) > 0 {
			v := unix.Iovec{Base: unsafe.SliceData(p)} //nolint:gosec // what the call takes
			v.SetLen(len(p))
			s.iov = append(s.iov, v)
		}
	}
	err := s.raw.Control(s.write)
	clear(s.iov)
	if err != nil {
		return err
	}
	return s.err
}

// maxIovecs is how many pieces one system call takes: IOV_MAX.
const maxIovecs = 1024

func (s *nbdStream) writev(fd uintptr) {
	for iov := s.iov; len(iov) > 0; {
		n, _, errno := syscall.Syscall(syscall.SYS_WRITEV, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(min(len(iov), maxIovecs))) //nolint:gosec // the call's own form
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			s.err = os.NewSyscallError("writev", errno)
			return
		}
		for written := uint64(n); written > 0; {
			if written < iov[0].Len {
				iov[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(iov[0].Base), written)) //nolint:gosec // within the piece
				iov[0].Len -= written
				break
			}
			written -= iov[0].Len
			iov = iov[1:]
		}
	}
}

// drain reads what has arrived, and does not wait.
func (s *nbdStream) drain() {
	var b [512]byte
	_ = s.raw.Control(func(fd uintptr) {
		for {
			if n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_DONTWAIT); n < len(b) || err != nil {
				return
			}
		}
	})
}

// shutdown ends reads and writes that are under way, and those to come.
func (s *nbdStream) shutdown() {
	_ = s.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
}

// close is shutdown, and frees the socket.
func (s *nbdStream) close() {
	s.shutdown()
	_ = s.file.Close()
}
