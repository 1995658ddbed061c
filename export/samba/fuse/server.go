package fuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Server answers the kernel's requests of one mount. Its methods may be called at the same time.
type Server struct {
	dev     io.ReadWriteCloser
	began   int64
	handle  atomic.Uint64
	work    sync.WaitGroup // requests that are under way
	buffers sync.Pool      // of *[]byte with maxRequest bytes

	mu   sync.Mutex
	last uint64
	ids  map[uint64]*Entry
	dirs map[string]*Entry
	held map[uint64]*Entry // by handle
}

// NewServer returns a server for what Mount returned, which it takes over. Serve is to be called.
func NewServer(dev io.ReadWriteCloser) *Server {
	return &Server{
		dev: dev, began: time.Now().Unix(), ids: map[uint64]*Entry{}, dirs: map[string]*Entry{}, held: map[uint64]*Entry{},
		buffers: sync.Pool{New: func() any { return new(make([]byte, maxRequest)) }},
	}
}

// Mount mounts on a directory what NewServer's server for the returned file will show, for all users, each with the rights that
// modes give. The mount is dead when the file is closed.
func Mount(dir string) (*os.File, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/fuse", Err: err}
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other,max_read=%d", fd, maxData)
	if err := unix.Mount("elstore", dir, "fuse.elstore", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
		_ = unix.Close(fd)
		return nil, &os.PathError{Op: "mount", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), "/dev/fuse"), nil // now: before it was mounted it could not be polled
}

// Show shows a file, until it is removed.
func (s *Server) Show(f File) (*Entry, error) {
	ctx, end := context.WithCancelCause(context.Background())
	e := &Entry{server: s, file: f, public: f.Public, began: time.Now().Unix(), ctx: ctx, end: end, handles: map[uint64]Handle{}, changed: make(chan struct{})}
	e.wrote.Store(e.began)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Dir == "" || f.Name == "" || len(f.Dir) > maxName || len(f.Name) > maxName || s.dirs[f.Dir] != nil {
		end(ErrRemoved)
		return nil, fmt.Errorf("fuse: the directory %q is shown already, or a name is none", f.Dir)
	}
	s.last++
	e.id = s.last
	s.ids[e.id], s.dirs[f.Dir] = e, e
	return e, nil
}

func (s *Server) forget(e *Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, e.id)
	if s.dirs[e.file.Dir] == e {
		delete(s.dirs, e.file.Dir)
	}
}

// Serve answers until the mount or the server ends. Everything that it began has ended when it returns.
func (s *Server) Serve() error {
	defer s.shutdown()
	for {
		buf := s.buffer()
		n, err := s.dev.Read(*buf)
		switch {
		case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN):
			s.buffers.Put(buf) // the request was taken back
			continue
		case errors.Is(err, syscall.ENODEV), errors.Is(err, os.ErrClosed), errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("fuse: %w", err)
		}
		r, ok := parseRequest((*buf)[:n])
		if !ok {
			return errors.New("fuse: the kernel sent what is no request")
		}
		if !slow(r.op) {
			s.answer(&r, nil)
			s.buffers.Put(buf)
			continue
		}
		s.work.Go(func() {
			defer s.buffers.Put(buf)
			s.answer(&r, buf)
		})
	}
}

// Close ends Serve, and with it whatever programs still have open.
func (s *Server) Close() error {
	if err := s.dev.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// shutdown ends all entries, so that what waits for something ends too.
func (s *Server) shutdown() {
	s.mu.Lock()
	all := maps.Clone(s.ids)
	s.mu.Unlock()
	_ = s.dev.Close() // nobody is to wait for answers that don't come
	for _, e := range all {
		e.mu.Lock()
		e.gone = true
		e.mu.Unlock()
		e.end(ErrRemoved)
	}
	s.work.Wait()
	s.mu.Lock()
	held := maps.Clone(s.held)
	s.mu.Unlock()
	for id := range held {
		s.released(id)
	}
}

func (s *Server) buffer() *[]byte { return s.buffers.Get().(*[]byte) } //nolint:forcetypeassert // New makes nothing else

// slow reports whether a request may have to wait, for storage or for somebody who is told of it.
func slow(op uint32) bool {
	return op == opOpen || op == opRead || op == opWrite || op == opFsync || op == opFallocate
}

// find returns the entry of an inode, and whether it is the file's.
func (s *Server) find(node uint64) (e *Entry, file bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[node/2], node%2 == 1
}

// reply answers a request. What can't be told, the kernel doesn't wait for any more.
func (s *Server) reply(r *request, data []byte, err error) {
	var code int32
	if err != nil {
		data, code = nil, -int32(errno(err))
	}
	b := make([]byte, replySize, replySize+len(data))
	_, _ = s.dev.Write(head(append(b, data...), code, r.unique))
}

// head fills in the beginning of an answer.
func head(b []byte, code int32, unique uint64) []byte {
	order.PutUint32(b, uint32(len(b)))
	order.PutUint32(b[4:], uint32(code))
	order.PutUint64(b[8:], unique)
	return b
}

// errno is what the user sees of an error.
func errno(err error) syscall.Errno {
	if e, ok := errors.AsType[syscall.Errno](err); ok && e != 0 {
		return e
	}
	return syscall.EIO
}
