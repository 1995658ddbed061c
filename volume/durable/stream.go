package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// window is how much a Stream lets lie in memory before the kernel is asked to write it, in bytes.
const window = 16 << 20

// Stream writes to a file from where its offset is, and has the kernel write to the disk meanwhile what came, sync_file_range(2), so
// that the Sync that ends a long write has little left to do, and one client's image does not fill the host's memory. It makes
// nothing durable: Sync does. Not for several goroutines at once.
type Stream struct {
	f     *os.File
	begun int64 // up to where the kernel was asked to write
	end   int64 // up to where there are data
}

// NewStream returns a stream that writes to f, whose offset is at.
func NewStream(f *os.File, at int64) *Stream { return &Stream{f: f, begun: at, end: at} }

// Write implements io.Writer.
func (s *Stream) Write(p []byte) (int, error) {
	n, err := s.f.Write(p)
	s.end += int64(n)
	if s.end-s.begun >= window {
		// A hint: a file system that doesn't know it writes at Sync.
		_ = unix.SyncFileRange(int(s.f.Fd()), s.begun, s.end-s.begun, unix.SYNC_FILE_RANGE_WRITE)
		s.begun = s.end
	}
	return n, err
}
