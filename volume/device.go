package volume

import "context"

// VectorWriter is a Device that writes several pieces in one go.
type VectorWriter interface {
	// WriteVectorAt writes all pieces, one behind the other, at off, or fails.
	WriteVectorAt(pieces [][]byte, off int64) (int, error)
}

// ExtentReader is a Device that knows which parts of it have storage.
type ExtentReader interface {
	// NextExtent returns for how many bytes from off on, 1 at least where off is below Size, all has storage (mapped) or
	// none. What has none reads as zeros.
	NextExtent(ctx context.Context, off int64) (length int64, mapped bool, err error)
}

// NowReader is a Device that knows which reads need not wait for anything.
type NowReader interface {
	// ReadNow fills p from off where it can do that without waiting, as from a page cache, and else returns false.
	ReadNow(p []byte, off int64) bool
}

// NowWriter is a Device whose writes seldom wait for anything.
type NowWriter interface {
	// WritesNow reports whether a write of length bytes is likely to take no longer than to copy them.
	WritesNow(length int64) bool
}

// Splicer is a Device whose content needs not be copied on its way to a connection.
type Splicer interface {
	// Splice puts up to length bytes at off into the pipe whose end for writing is fd, and returns how many: fewer where the
	// pipe is full, none where that can't be done. Reading them tells why then. It waits for the storage as ReadAt does.
	Splice(fd int, off, length int64) int64
}

// Parallel is a Device that works on many requests at once, and needs no thread for each.
type Parallel interface {
	// Requests returns how many at once are worth the while.
	Requests() int
}

// Device is the content of an opened volume. Every method may be called from many goroutines at once. A
// request past the end, or one that is not whole sectors where the storage asks for it, fails and changes
// nothing. After Close only Close may be called.
type Device interface {
	// ReadAt fills p from off, or fails. It never returns fewer bytes without an error.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes all of p at off, or fails. What it wrote may be in a cache until Flush.
	WriteAt(p []byte, off int64) (int, error)
	// Flush returns once every write, discard and zeroing that returned before the call is on stable storage.
	Flush(ctx context.Context) error
	// Discard gives back the storage of length bytes at off, which read as zeros or as before afterwards.
	Discard(off, length int64) error
	// WriteZeroes makes length bytes at off read as zeros; with unmap it may give back their storage.
	WriteZeroes(off, length int64, unmap bool) error
	// Size returns the current size in bytes.
	Size() int64
	// Grow tells the Device that the image behind it now has size bytes. Called while no request runs.
	Grow(size int64) error
	// Close flushes and frees what the Device holds.
	Close() error
}

// Lent is what a volume has for a Device whose image others open by its path: it keeps the volume from everybody else, and refuses
// all requests.
type Lent interface {
	Device
	// Path is the image's.
	Path() string
	// Idle returns nil where nobody has the image open, and else ExportBusy, or why that can't be told.
	Idle() error
}
