package iso

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/diskfs/go-diskfs/backend"
)

// memory is what go-diskfs writes an image into.
type memory struct {
	data []byte
	at   int64
}

var _ backend.Storage = (*memory)(nil)

var errNoFile = errors.New("an image in memory is no file")

// zeros are as long as the longest piece that go-diskfs writes of them, or longer.
var zeros [systemArea * Sector]byte

// WriteAt keeps p. Zeros are left out, since all is zero in the beginning: behind a file whose length is a multiple of the sector's go-diskfs
// fills up a sector too many, and there may be something already.
func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if end := off + int64(len(p)); end > int64(len(m.data)) {
		if end > int64(cap(m.data)) {
			grown := make([]byte, end, max(2*end, 1<<20))
			copy(grown, m.data)
			m.data = grown
		}
		m.data = m.data[:end]
	}
	if !bytes.Equal(p, zeros[:min(len(p), len(zeros))]) {
		copy(m.data[off:], p)
	}
	return len(p), nil
}

// ReadAt implements io.ReaderAt.
func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(p, m.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Read implements io.Reader.
func (m *memory) Read(p []byte) (int, error) {
	n, err := m.ReadAt(p, m.at)
	m.at += int64(n)
	return n, err
}

// Seek implements io.Seeker.
func (m *memory) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += m.at
	case io.SeekEnd:
		off += int64(len(m.data))
	}
	if off < 0 {
		return m.at, fs.ErrInvalid
	}
	m.at = off
	return off, nil
}

func (m *memory) Stat() (fs.FileInfo, error)              { return nil, errNoFile }
func (m *memory) Close() error                            { return nil }
func (m *memory) Sys() (*os.File, error)                  { return nil, errNoFile }
func (m *memory) Writable() (backend.WritableFile, error) { return m, nil }
func (m *memory) Path() string                            { return "" }
