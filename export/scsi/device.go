package scsi

import "context"

// Device is the medium of a logical unit. Every method may be called from many goroutines at once. Requests
// are whole blocks within Size.
type Device interface {
	// ReadAt fills p from off, or fails.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes all of p at off, or fails. What it wrote may be in a cache until Flush.
	WriteAt(p []byte, off int64) (int, error)
	// Flush returns once all that was written or zeroed before the call is on stable storage.
	Flush(ctx context.Context) error
	// WriteZeroes makes length bytes at off read as zeros; with unmap it may give back their storage.
	WriteZeroes(off, length int64, unmap bool) error
	// Size returns the current size in bytes.
	Size() int64
}

// VectorWriter is a Device that writes several pieces in one go.
type VectorWriter interface {
	// WriteVectorAt writes all the pieces, one behind the other, at off, or fails.
	WriteVectorAt(pieces [][]byte, off int64) (int, error)
}

// ExtentReader is a Device that knows which parts of it have storage, for GET LBA STATUS and EXTENDED COPY.
type ExtentReader interface {
	// NextExtent returns for how many bytes from off on the storage is all mapped or all not mapped. What is
	// not mapped reads as zeros. It may return less than there is, and at least 1 where off is below Size.
	NextExtent(ctx context.Context, off int64) (length int64, mapped bool, err error)
}

// Prefetcher is a Device that can be told what is read soon.
type Prefetcher interface {
	// Prefetch begins to bring length bytes at off into a cache and returns at once.
	Prefetch(off, length int64)
}

// RangeCopier is a Device that can copy from another without the data passing through this process.
type RangeCopier interface {
	// CopyRange copies length bytes at srcOff of src to dstOff, as far as it can: it returns how many bytes
	// it copied, and errors.ErrUnsupported where the rest must be copied by reading and writing.
	CopyRange(ctx context.Context, src Device, srcOff, dstOff, length int64) (int64, error)
}

// Eraser is a Device that can keep the promise of SANITIZE: after Erase nothing of what was ever written,
// to any place that held it, can be recovered, and all reads as zeros.
type Eraser interface {
	// Erase destroys the content. It returns once that is done and on stable storage.
	Erase(ctx context.Context) error
}
