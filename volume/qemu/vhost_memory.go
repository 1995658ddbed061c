package qemu

import (
	"errors"
	"fmt"
	"math/bits"
	"os"

	"golang.org/x/sys/unix"
)

// sharedMemory is memory that a storage daemon maps too: the queue, and behind it pages for the data of requests. It is allocated
// when it is first used. The daemon can change what is in it at any time, but it can't take it away: it is sealed.
type sharedMemory struct {
	file  *os.File
	bytes []byte
	used  [sharedPages / 64]uint64 // a bit for each page: it is taken
	top   int                      // no page from here on was ever taken since the last trim
}

const (
	pageSize    = 4096
	sharedPages = sharedBytes / pageSize
	// sharedBytes is enough for sixteen requests of 1 MiB, or four of the largest.
	sharedBytes = 16 << 20
)

// errNoSharedMemory says that the system gives none: it has none left for us, or a filter of system calls forbids it.
var errNoSharedMemory = errors.New("there is no shared memory")

// newSharedMemory makes some. An error is errNoSharedMemory.
func newSharedMemory() (*sharedMemory, error) {
	// An administrator may forbid memory that could be run (vm.memfd_noexec). Before Linux 6.3 nobody could ask for other.
	fd, err := unix.MemfdCreate("elstore-disk", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("elstore-disk", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoSharedMemory, err)
	}
	m := &sharedMemory{file: os.NewFile(uintptr(fd), "memory")}
	if err := m.prepare(fd); err != nil {
		_ = m.file.Close()
		return nil, fmt.Errorf("%w: %w", errNoSharedMemory, err)
	}
	for page := range (queueEnd + pageSize - 1) / pageSize {
		m.used[page/64] |= 1 << (page % 64)
	}
	return m, nil
}

func (m *sharedMemory) prepare(fd int) error {
	if err := unix.Ftruncate(fd, sharedBytes); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return err
	}
	var err error
	m.bytes, err = unix.Mmap(fd, 0, sharedBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return err
}

// take takes pages in a row for length bytes, 1 or more, the first that are free, and returns where they begin.
func (m *sharedMemory) take(length int) (at int, ok bool) {
	want := (length + pageSize - 1) / pageSize
	for from := 0; from+want <= sharedPages; {
		n := m.free(from, want)
		if n == want {
			m.mark(from, want)
			m.top = max(m.top, from+want)
			return from * pageSize, true
		}
		from += n
		from += m.taken(from)
	}
	return 0, false
}

// give gives back what take took.
func (m *sharedMemory) give(at, length int) {
	m.mark(at/pageSize, (length+pageSize-1)/pageSize)
}

// free counts the free pages from a page on, up to most.
func (m *sharedMemory) free(from, most int) int {
	n := 0
	for n < most && from+n < sharedPages {
		page := from + n
		run := min(bits.TrailingZeros64(m.used[page/64]>>(page%64)), 64-page%64)
		n += run
		if run < 64-page%64 {
			break
		}
	}
	return min(n, most)
}

// taken counts the taken pages from a page on.
func (m *sharedMemory) taken(from int) int {
	n := 0
	for from+n < sharedPages {
		page := from + n
		run := bits.TrailingZeros64(^(m.used[page/64] >> (page % 64)))
		n += run
		if run < 64-page%64 {
			break
		}
	}
	return n
}

// mark turns the bits of pages over.
func (m *sharedMemory) mark(from, pages int) {
	for pages > 0 {
		n := min(pages, 64-from%64)
		m.used[from/64] ^= (1<<n - 1) << (from % 64)
		from, pages = from+n, pages-n
	}
}

// keptPages is how many pages stay allocated between uses.
const keptPages = 256

// trim gives memory back to the system that was used for a while. No request may be under way.
func (m *sharedMemory) trim() error {
	if m.top <= keptPages {
		return nil
	}
	area := m.bytes[keptPages*pageSize : m.top*pageSize]
	m.top = keptPages
	return unix.Madvise(area, unix.MADV_REMOVE)
}

// handOver closes the descriptor, which the daemon has got.
func (m *sharedMemory) handOver() { _ = m.file.Close() }

// close frees it. Nobody may use it any more.
func (m *sharedMemory) close() {
	_ = unix.Munmap(m.bytes)
	_ = m.file.Close() // it may be closed already
}
