package fuse

import (
	"os"
	"syscall"
)

// rootNode is the inode of the mount itself.
const rootNode = 1

// answer answers a request. buf is what a slow one was read into, and is used for a read's data.
func (s *Server) answer(r *request, buf *[]byte) {
	switch r.op {
	case opForget, opBatchForget, opInterrupt: // they have no answer
		return
	case opRelease:
		if len(r.body) >= sizeRelease {
			s.released(order.Uint64(r.body))
		}
		s.reply(r, nil, nil)
	case opRead:
		n, err := s.read(r, (*buf)[replySize:])
		if err != nil {
			s.reply(r, nil, err)
			return
		}
		_, _ = s.dev.Write(head((*buf)[:replySize+n], 0, r.unique)) // without a copy
	case opWrite, opFsync, opFallocate:
		data, err := s.transfer(r)
		s.reply(r, data, err)
	default:
		data, err := s.look(r)
		s.reply(r, data, err)
	}
}

// read reads into p, which the request may lie in: it has been read out of it by then.
func (s *Server) read(r *request, p []byte) (int, error) {
	e, file := s.find(r.node)
	t, err := r.transfer()
	switch {
	case err != nil:
		return 0, err
	case e == nil || !file:
		return 0, syscall.ESTALE
	}
	if err := e.enter(r.handle()); err != nil {
		return 0, err
	}
	defer e.leave()
	return e.read(t, p)
}

// transfer is a request that reaches the content of a file, other than a read.
func (s *Server) transfer(r *request) ([]byte, error) {
	e, file := s.find(r.node)
	if e == nil || !file {
		return nil, syscall.ESTALE
	}
	if err := e.enter(r.handle()); err != nil {
		return nil, err
	}
	defer e.leave()
	switch r.op {
	case opWrite:
		t, err := r.transfer()
		if err != nil {
			return nil, err
		}
		return order.AppendUint32(order.AppendUint32(nil, t.size), 0), e.write(t) // struct fuse_write_out
	case opFsync:
		return nil, e.file.Content.Flush(e.ctx)
	}
	if len(r.body) < sizeFallocate {
		return nil, syscall.EINVAL
	}
	off, length := order.Uint64(r.body[8:]), order.Uint64(r.body[16:])
	if off > 1<<62 || length > 1<<62 {
		return nil, syscall.EFBIG
	}
	return nil, e.allocate(int64(off), int64(length), order.Uint32(r.body[24:]))
}

// look is a request that needs no content.
func (s *Server) look(r *request) ([]byte, error) {
	switch {
	case r.op == opInit:
		if len(r.body) < sizeInit || order.Uint32(r.body) != major || order.Uint32(r.body[4:]) < minor {
			return nil, syscall.EPROTO
		}
		return initOut(order.Uint32(r.body[12:])), nil
	case r.op == opDestroy, r.op == opReleasedir, r.op == opFsyncdir, r.op == opFlush:
		return nil, nil
	case naming[r.op]:
		return nil, syscall.EPERM
	case r.node == rootNode:
		return s.root(r)
	}
	e, file := s.find(r.node)
	switch {
	case e == nil:
		return nil, syscall.ESTALE
	case file:
		return s.file(r, e)
	}
	return s.directory(r, e)
}

// root answers about the directory of directories. Their names aren't told.
func (s *Server) root(r *request) ([]byte, error) {
	a := attr{ino: rootNode, mode: syscall.S_IFDIR | 0o711, seconds: s.began}
	switch r.op {
	case opGetattr:
		return attrOut(&a), nil
	case opLookup:
		s.mu.Lock()
		e := s.dirs[r.name()]
		s.mu.Unlock()
		if e == nil {
			return nil, syscall.ENOENT
		}
		a := e.dirAttr()
		return entryOut(&a), nil
	case opOpendir:
		return openOut(0, 0), nil
	case opReaddir:
		t, err := r.transfer()
		return listing([]direntry{{rootNode, direntDir, "."}, {rootNode, direntDir, ".."}}, t.off, t.size), err
	case opStatfs:
		return statfsOut(0), nil
	case opSetattr:
		return nil, syscall.EPERM
	}
	return nil, syscall.ENOSYS
}

func (s *Server) directory(r *request, e *Entry) ([]byte, error) {
	a, f := e.dirAttr(), e.fileAttr()
	switch r.op {
	case opGetattr:
		return attrOut(&a), nil
	case opLookup:
		if r.name() != e.file.Name {
			return nil, syscall.ENOENT
		}
		return entryOut(&f), nil
	case opOpendir:
		return openOut(0, 0), nil
	case opReaddir:
		t, err := r.transfer()
		return listing([]direntry{{a.ino, direntDir, "."}, {rootNode, direntDir, ".."}, {f.ino, direntFile, e.file.Name}}, t.off, t.size), err
	case opStatfs:
		return statfsOut(f.size), nil
	case opSetattr:
		return nil, syscall.EPERM
	}
	return nil, syscall.ENOSYS
}

func (s *Server) file(r *request, e *Entry) ([]byte, error) {
	switch r.op {
	case opGetattr:
		a := e.fileAttr()
		return attrOut(&a), nil
	case opSetattr:
		if len(r.body) < sizeSetattr {
			return nil, syscall.EINVAL
		}
		if err := e.setattr(order.Uint32(r.body), order.Uint64(r.body[16:])); err != nil {
			return nil, err
		}
		a := e.fileAttr()
		return attrOut(&a), nil
	case opOpen:
		if len(r.body) < sizeOpen {
			return nil, syscall.EINVAL
		}
		h := Handle{ID: s.handle.Add(1), UID: r.uid, PID: int(r.pid), Write: order.Uint32(r.body)&uint32(os.O_WRONLY|os.O_RDWR) != 0}
		s.mu.Lock()
		s.held[h.ID] = e
		s.mu.Unlock()
		if err := e.open(h); err != nil {
			s.released(h.ID)
			return nil, err
		}
		return openOut(h.ID, openDirectIO|openParallelDIO), nil
	case opStatfs:
		return statfsOut(e.file.Content.Size()), nil
	}
	return nil, syscall.ENOSYS
}

// released ends an opening, of an entry that may be gone.
func (s *Server) released(handle uint64) {
	s.mu.Lock()
	e := s.held[handle]
	delete(s.held, handle)
	s.mu.Unlock()
	if e != nil {
		e.release(handle)
	}
}
