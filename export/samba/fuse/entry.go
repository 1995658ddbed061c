package fuse

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Content is what a file holds. Its methods may be called at the same time. A syscall.Errno in an error is what the
// file's user sees, and EIO where there is none. The context ends when the file is being removed.
type Content interface {
	// Size returns the current size in bytes.
	Size() int64
	// ReadAt fills p from off, which is within the size, or fails.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// WriteAt writes all of p at off, which is within the size, or fails.
	WriteAt(ctx context.Context, p []byte, off int64) error
	// Zero makes length bytes at off, which are within the size, read as zeros.
	Zero(ctx context.Context, off, length int64) error
	// Flush returns once what was written before is on stable storage.
	Flush(ctx context.Context) error
}

// File is a file and the directory that it is alone in.
type File struct {
	Dir, Name string
	UID       uint32 // of its user
	ReadOnly  bool
	Public    bool // everybody may read it, until Entry.SetPublic
	Content   Content
	// Opened and Closed are told of those who have it open. They return at once, and may be nil.
	Opened, Closed func(Handle)
}

// Handle is one opening of a file.
type Handle struct {
	ID    uint64
	UID   uint32
	PID   int // of the process that opened it, as the mount's maker sees it
	Write bool
}

// Entry is a file that is shown.
type Entry struct {
	server *Server
	file   File
	id     uint64 // its directory and file have the inodes 2·id and 2·id + 1
	began  int64
	wrote  atomic.Int64    // when it was last written, in seconds
	ctx    context.Context //nolint:containedctx // the life of the entry: the kernel's requests have none of their own
	end    context.CancelCauseFunc

	mu      sync.Mutex
	gone    bool
	public  bool
	running int
	handles map[uint64]Handle
	changed chan struct{} // closed, and made anew, when running or handles become fewer
}

// ErrRemoved is why an entry's context ended.
var ErrRemoved = errors.New("the file is not shown any more")

// enter lets a request in that came through an opening, unless the entry is gone, or the opening is of somebody who may not have it any
// more.
func (e *Entry) enter(handle uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch h, ok := e.handles[handle]; {
	case e.gone:
		return syscall.ESTALE
	case ok && !e.mayOpen(h.UID):
		return syscall.EACCES
	}
	e.running++
	return nil
}

// mayOpen reports whether a user may have the file open. e.mu is held.
func (e *Entry) mayOpen(uid uint32) bool { return e.public || uid == e.file.UID || uid == 0 }

// SetPublic says whether everybody may read the file. Who had it open and may not any more reads nothing through that from then on.
func (e *Entry) SetPublic(public bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.public = public
}

func (e *Entry) isPublic() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.public
}

func (e *Entry) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running--
	e.fewer()
}

// fewer tells those who wait. e.mu is held.
func (e *Entry) fewer() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// Remove shows the file no more, and returns when no request is under way: from then on nothing reaches the content. With
// the context's error that is not so yet, and it may be called again.
func (e *Entry) Remove(ctx context.Context) error {
	e.server.forget(e)
	e.mu.Lock()
	e.gone = true
	e.mu.Unlock()
	e.end(ErrRemoved)
	return e.wait(ctx, func() bool { return e.running == 0 })
}

// Released returns when nobody has the file open any more.
func (e *Entry) Released(ctx context.Context) error {
	return e.wait(ctx, func() bool { return len(e.handles) == 0 })
}

func (e *Entry) wait(ctx context.Context, done func() bool) error {
	for {
		e.mu.Lock()
		ok, changed := done(), e.changed
		e.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Handles returns those who have the file open.
func (e *Entry) Handles() []Handle {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]Handle, 0, len(e.handles))
	for _, h := range e.handles {
		list = append(list, h)
	}
	return list
}

// open opens the file. The kernel has compared the user with the mode before.
func (e *Entry) open(h Handle) error {
	if h.Write && e.file.ReadOnly {
		return syscall.EROFS
	}
	e.mu.Lock()
	if e.gone {
		e.mu.Unlock()
		return syscall.ESTALE
	}
	if !e.mayOpen(h.UID) { // since it was compared
		e.mu.Unlock()
		return syscall.EACCES
	}
	e.handles[h.ID] = h
	e.mu.Unlock()
	if e.file.Opened != nil {
		e.file.Opened(h)
	}
	return nil
}

// release ends an opening.
func (e *Entry) release(id uint64) {
	e.mu.Lock()
	h, ok := e.handles[id]
	delete(e.handles, id)
	e.fewer()
	e.mu.Unlock()
	if ok && e.file.Closed != nil {
		e.file.Closed(h)
	}
}

func (e *Entry) dirAttr() attr {
	mode := uint32(syscall.S_IFDIR | 0o500)
	if e.isPublic() {
		mode |= 0o055
	}
	return attr{ino: 2 * e.id, mode: mode, uid: e.file.UID, seconds: e.began}
}

func (e *Entry) fileAttr() attr {
	mode := uint32(syscall.S_IFREG | 0o600)
	if e.file.ReadOnly {
		mode = syscall.S_IFREG | 0o400
	}
	if e.isPublic() {
		mode |= 0o044
	}
	return attr{ino: 2*e.id + 1, size: e.file.Content.Size(), mode: mode, uid: e.file.UID, seconds: e.wrote.Load()}
}

// read reads what there is of it into p.
func (e *Entry) read(t transfer, p []byte) (int, error) {
	size := e.file.Content.Size()
	if t.off >= size {
		return 0, nil
	}
	p = p[:min(int64(t.size), size-t.off)]
	return len(p), e.file.Content.ReadAt(e.ctx, p, t.off)
}

// write writes all of it, or nothing.
func (e *Entry) write(t transfer) error {
	size := e.file.Content.Size()
	switch {
	case e.file.ReadOnly:
		return syscall.EROFS
	case t.off > size || int64(len(t.data)) > size-t.off:
		return syscall.ENOSPC
	}
	e.wrote.Store(time.Now().Unix())
	return e.file.Content.WriteAt(e.ctx, t.data, t.off)
}

// allocate gives storage, which there is, or zeros.
func (e *Entry) allocate(off, length int64, mode uint32) error {
	size := e.file.Content.Size()
	switch {
	case e.file.ReadOnly:
		return syscall.EROFS
	case off < 0 || length <= 0 || mode&^(keepSize|punchHole|zeroRange) != 0:
		return syscall.EOPNOTSUPP
	case mode&(punchHole|zeroRange) == 0:
		if off > size || length > size-off {
			return syscall.ENOSPC
		}
		return nil
	case off >= size:
		return nil
	}
	e.wrote.Store(time.Now().Unix())
	return e.file.Content.Zero(e.ctx, off, min(length, size-off))
}

// setattr answers what would change the file: its times are ours, and its size is what it is.
func (e *Entry) setattr(valid uint32, size uint64) error {
	if valid&^(setattrSize|setattrTimes|setattrHandle) != 0 {
		return syscall.EPERM
	}
	if valid&setattrSize == 0 {
		return nil
	}
	now := uint64(e.file.Content.Size())
	switch {
	case e.file.ReadOnly:
		return syscall.EROFS
	case size == 0, size == now:
		return nil
	case size > now:
		return syscall.ENOSPC
	}
	return syscall.EPERM
}
