package fuse

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

// kernel is the other end of a Server: the test asks, and gets the answers.
type kernel struct {
	t         testing.TB
	requests  chan []byte
	answers   chan []byte
	unique    uint64
	closed    chan struct{}
	leftovers map[uint64][]byte
}

func newKernel(t testing.TB) (*kernel, *Server) {
	k := &kernel{t: t, requests: make(chan []byte), answers: make(chan []byte, 16), closed: make(chan struct{}), leftovers: map[uint64][]byte{}}
	return k, NewServer(k)
}

func (k *kernel) Read(p []byte) (int, error) {
	select {
	case r, ok := <-k.requests:
		if !ok {
			return 0, syscall.ENODEV
		}
		return copy(p, r), nil
	case <-k.closed:
		return 0, os.ErrClosed
	}
}

func (k *kernel) Write(p []byte) (int, error) {
	k.answers <- slices.Clone(p)
	return len(p), nil
}

func (k *kernel) Close() error {
	select {
	case <-k.closed:
		return os.ErrClosed
	default:
		close(k.closed)
		return nil
	}
}

// send sends a request of user 7 and process 8, and returns its number.
func (k *kernel) send(op uint32, node uint64, body ...any) uint64 {
	k.unique++
	b := make([]byte, 4)
	b = order.AppendUint32(b, op)
	b = order.AppendUint64(b, k.unique)
	b = order.AppendUint64(b, node)
	for _, v := range []uint32{7, 7, 8, 0} {
		b = order.AppendUint32(b, v)
	}
	for _, v := range body {
		switch v := v.(type) {
		case uint32:
			b = order.AppendUint32(b, v)
		case uint64:
			b = order.AppendUint64(b, v)
		case string:
			b = append(b, v...)
		default:
			k.t.Fatalf("%T", v)
		}
	}
	order.PutUint32(b, uint32(len(b)))
	k.requests <- b
	return k.unique
}

// answer waits for the answer to a request.
func (k *kernel) answer(unique uint64) ([]byte, syscall.Errno) {
	k.t.Helper()
	for k.leftovers[unique] == nil {
		a := <-k.answers
		if len(a) < replySize || int(order.Uint32(a)) != len(a) {
			k.t.Fatalf("an answer of %d bytes that says %v", len(a), a)
		}
		k.leftovers[order.Uint64(a[8:])] = a
	}
	a := k.leftovers[unique]
	delete(k.leftovers, unique)
	return a[replySize:], syscall.Errno(-int32(order.Uint32(a[4:])))
}

func (k *kernel) ask(op uint32, node uint64, body ...any) ([]byte, syscall.Errno) {
	k.t.Helper()
	return k.answer(k.send(op, node, body...))
}

// memory is Content that can be told to wait and to fail.
type memory struct {
	data    []byte
	err     error
	hold    chan struct{} // a write waits for it, or for the end of its context
	entered chan struct{}
	flushes int
}

func (m *memory) Size() int64 { return int64(len(m.data)) }

func (m *memory) ReadAt(_ context.Context, p []byte, off int64) error {
	copy(p, m.data[off:])
	return m.err
}

func (m *memory) WriteAt(ctx context.Context, p []byte, off int64) error {
	if m.hold != nil {
		close(m.entered)
		<-ctx.Done()
		<-m.hold
	}
	copy(m.data[off:], p)
	return m.err
}

func (m *memory) Zero(_ context.Context, off, length int64) error {
	clear(m.data[off : off+length])
	return m.err
}

func (m *memory) Flush(context.Context) error {
	m.flushes++
	return m.err
}

// place is a served file.
type place struct {
	*kernel
	server *Server
	entry  *Entry
	memory *memory
	node   uint64 // of the file
	handle uint64
	served chan error
}

func show(t testing.TB, change func(*File)) *place {
	t.Helper()
	k, s := newKernel(t)
	p := &place{kernel: k, server: s, memory: &memory{data: []byte("0123456789")}, served: make(chan error, 1)}
	f := File{Dir: "dir", Name: "data.img", UID: 7, Content: p.memory}
	if change != nil {
		change(&f)
	}
	var err error
	if p.entry, err = s.Show(f); err != nil {
		t.Fatal(err)
	}
	go func() { p.served <- s.Serve() }()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-p.served); err != nil {
			t.Error(err)
		}
	})
	if out, e := k.ask(opInit, 0, uint32(7), uint32(36), uint32(1<<20), uint32(0xffffffff)); e != 0 || len(out) != 64 || order.Uint32(out[20:]) != maxData {
		t.Fatalf("%v, %v", out, e)
	}
	dir, _ := k.ask(opLookup, rootNode, "dir\x00")
	file, e := k.ask(opLookup, order.Uint64(dir), "data.img\x00")
	if e != 0 {
		t.Fatal(e)
	}
	p.node = order.Uint64(file)
	return p
}

func (p *place) open(flags uint32) syscall.Errno {
	out, e := p.ask(opOpen, p.node, flags, uint32(0))
	if e == 0 {
		p.handle = order.Uint64(out)
	}
	return e
}

func (p *place) read(off uint64, size uint32) (string, syscall.Errno) {
	out, e := p.ask(opRead, p.node, p.handle, off, size, uint32(0), uint64(0), uint32(0), uint32(0))
	return string(out), e
}

func (p *place) write(off uint64, data string) syscall.Errno {
	_, e := p.ask(opWrite, p.node, p.handle, off, uint32(len(data)), uint32(0), uint64(0), uint32(0), uint32(0), data)
	return e
}

func (p *place) setattr(valid uint32, size uint64) syscall.Errno {
	_, e := p.ask(opSetattr, p.node, valid, uint32(0), uint64(0), size, strings.Repeat("\x00", sizeSetattr-24))
	return e
}

func (p *place) fallocate(off, length uint64, mode uint32) syscall.Errno {
	_, e := p.ask(opFallocate, p.node, p.handle, off, length, mode, uint32(0))
	return e
}

func TestFileIsReadAndWritten(t *testing.T) {
	p := show(t, nil)
	if e := p.open(uint32(os.O_RDWR)); e != 0 {
		t.Fatal(e)
	}
	for _, tt := range []struct {
		off  uint64
		size uint32
		want string
	}{{0, 10, "0123456789"}, {0, 4096, "0123456789"}, {8, 10, "89"}, {10, 1, ""}, {1 << 40, 1, ""}} {
		if got, e := p.read(tt.off, tt.size); e != 0 || got != tt.want {
			t.Errorf("%d bytes at %d: %q, %v", tt.size, tt.off, got, e)
		}
	}
	for _, tt := range []struct {
		name string
		got  syscall.Errno
		want syscall.Errno
	}{
		{"a read from before the beginning", func() syscall.Errno { _, e := p.read(1<<63, 1); return e }(), syscall.EINVAL},
		{"a write", p.write(8, "ab"), 0},
		{"a write over the end", p.write(9, "xy"), syscall.ENOSPC},
		{"a write behind it", p.write(1<<60, "x"), syscall.ENOSPC},
		{"storage for what has it", p.fallocate(0, 10, keepSize), 0},
		{"storage for more", p.fallocate(0, 11, 0), syscall.ENOSPC},
		{"a hole", p.fallocate(1, 2, keepSize|punchHole), 0},
		{"a hole over the end", p.fallocate(9, 100, keepSize|punchHole), 0},
		{"a hole behind the end", p.fallocate(100, 100, keepSize|punchHole), 0},
		{"a range that is cut out", p.fallocate(0, 1, 8), syscall.EOPNOTSUPP},
		{"the same size", p.setattr(setattrSize, 10), 0},
		{"truncated to nothing", p.setattr(setattrSize, 0), 0},
		{"shorter", p.setattr(setattrSize, 9), syscall.EPERM},
		{"longer", p.setattr(setattrSize, 11), syscall.ENOSPC},
		{"other times", p.setattr(setattrTimes, 0), 0},
		{"another mode", p.setattr(1, 0), syscall.EPERM},
		{"another owner", p.setattr(2, 0), syscall.EPERM},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	if got := string(p.memory.data); got != "0\x00\x0034567a\x00" {
		t.Errorf("the content is %q", got)
	}
	if _, e := p.ask(opFsync, p.node, p.handle, uint32(0), uint32(0)); e != 0 || p.memory.flushes != 1 {
		t.Errorf("%v, flushed %d times", e, p.memory.flushes)
	}
}

func TestNobodyChangesNames(t *testing.T) {
	p := show(t, nil)
	dir := p.node - 1
	for op := range naming {
		for _, node := range []uint64{rootNode, dir} {
			if _, e := p.ask(op, node, "x\x00"); e != syscall.EPERM {
				t.Errorf("operation %d on %d: %v", op, node, e)
			}
		}
	}
	for name, node := range map[string]uint64{"meta.json": dir, "data.img": rootNode, "..": dir, "": dir} {
		if _, e := p.ask(opLookup, node, name+"\x00"); e != syscall.ENOENT {
			t.Errorf("%q: %v", name, e)
		}
	}
	for _, op := range []uint32{5, 21, 22, 23, 39, 46, 47, 4711} {
		if _, e := p.ask(op, p.node, "x\x00"); e != syscall.ENOSYS {
			t.Errorf("operation %d: %v", op, e)
		}
	}
}

func TestListings(t *testing.T) {
	p := show(t, nil)
	for node, want := range map[uint64]string{rootNode: ". ..", p.node - 1: ". .. data.img"} {
		var names []string
		for off := uint64(0); ; {
			out, e := p.ask(opReaddir, node, uint64(0), off, uint32(40), uint32(0), uint64(0), uint32(0), uint32(0))
			if e != 0 || len(out) > 40 {
				t.Fatal(e, len(out))
			}
			if len(out) == 0 {
				break
			}
			off = order.Uint64(out[8:])
			names = append(names, string(out[24:24+order.Uint32(out[16:])]))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%d has %q, want %q", node, got, want)
		}
	}
}

func TestModes(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*File)
		dir    uint32
		file   uint32
		open   syscall.Errno // for writing
	}{
		"one user's":       {nil, 0o500, 0o600, 0},
		"for reading":      {func(f *File) { f.ReadOnly = true }, 0o500, 0o400, syscall.EROFS},
		"everybody's":      {func(f *File) { f.ReadOnly, f.Public = true, true }, 0o555, 0o444, syscall.EROFS},
		"writable to one":  {func(f *File) { f.Public = true }, 0o555, 0o644, 0},
		"the root is not ": {nil, 0o500, 0o600, 0},
	} {
		p := show(t, tt.change)
		for node, want := range map[uint64]uint32{rootNode: syscall.S_IFDIR | 0o711, p.node - 1: syscall.S_IFDIR | tt.dir, p.node: syscall.S_IFREG | tt.file} {
			out, e := p.ask(opGetattr, node)
			if mode := order.Uint32(out[16+60:]); e != 0 || mode != want {
				t.Errorf("%s: %d has mode %o, want %o", name, node, mode, want)
			}
		}
		if e := p.open(uint32(os.O_WRONLY)); e != tt.open {
			t.Errorf("%s: opened with %v", name, e)
		}
		if tt.open == 0 {
			continue
		}
		if e := p.write(0, "x"); e != syscall.EROFS {
			t.Errorf("%s: written with %v", name, e)
		}
		if e := p.setattr(setattrSize, 0); e != syscall.EROFS {
			t.Errorf("%s: truncated with %v", name, e)
		}
		if e := p.fallocate(0, 1, keepSize|punchHole); e != syscall.EROFS {
			t.Errorf("%s: punched with %v", name, e)
		}
	}
}

func TestErrorsReachTheUser(t *testing.T) {
	p := show(t, nil)
	p.open(uint32(os.O_RDWR))
	for _, tt := range []struct {
		err  error
		want syscall.Errno
	}{{errors.New("broken"), syscall.EIO}, {errors.Join(errors.New("full"), syscall.ENOSPC), syscall.ENOSPC}} {
		p.memory.err = tt.err
		if e := p.write(0, "x"); e != tt.want {
			t.Errorf("%v is %v", tt.err, e)
		}
		if _, e := p.read(0, 1); e != tt.want {
			t.Errorf("%v is %v", tt.err, e)
		}
	}
}

// A removed file can't be reached by those who have it open, and Remove waits for what is under way.
func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		p := show(t, func(f *File) {
			f.Opened = func(h Handle) { told = append(told, "opened") }
			f.Closed = func(h Handle) { told = append(told, "closed") }
		})
		p.open(uint32(os.O_RDWR))
		if h := p.entry.Handles(); len(h) != 1 || h[0].PID != 8 || h[0].UID != 7 || !h[0].Write {
			t.Errorf("opened by %+v", h)
		}
		p.memory.hold, p.memory.entered = make(chan struct{}), make(chan struct{})
		late := p.send(opWrite, p.node, p.handle, uint64(0), uint32(1), uint32(0), uint64(0), uint32(0), uint32(0), "x")
		<-p.memory.entered
		soon, cancel := context.WithTimeout(t.Context(), 1)
		defer cancel()
		if err := p.entry.Remove(soon); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("removed with a write under way: %v", err)
		}
		if e := p.write(1, "y"); e != syscall.ESTALE {
			t.Errorf("a new write: %v", e)
		}
		if _, e := p.read(1, 1); e != syscall.ESTALE {
			t.Errorf("a new read: %v", e)
		}
		if _, e := p.ask(opLookup, rootNode, "dir\x00"); e != syscall.ENOENT {
			t.Errorf("its directory: %v", e)
		}
		removed := make(chan error)
		go func() { removed <- p.entry.Remove(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-removed:
			t.Fatalf("removed with a write under way: %v", err)
		default:
		}
		close(p.memory.hold)
		if err := <-removed; err != nil {
			t.Error(err)
		}
		p.answer(late)
		go func() { removed <- p.entry.Released(t.Context()) }()
		synctest.Wait()
		if len(p.entry.Handles()) != 1 || len(told) != 1 {
			t.Errorf("%v, told %q", p.entry.Handles(), told)
		}
		p.ask(opRelease, p.node, p.handle, uint32(0), uint32(0), uint64(0))
		if err := <-removed; err != nil {
			t.Error(err)
		}
		if strings.Join(told, " ") != "opened closed" {
			t.Errorf("told %q", told)
		}
		if e := p.open(0); e != syscall.ESTALE {
			t.Errorf("opened afterwards: %v", e)
		}
	})
}

func TestServeEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(k *kernel, s *Server)
		ok   bool
	}{
		{"closed", func(_ *kernel, s *Server) { _ = s.Close() }, true},
		{"unmounted", func(k *kernel, _ *Server) { close(k.requests) }, true},
		{"a request that is none", func(k *kernel, _ *Server) { k.requests <- []byte("short") }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, s := newKernel(t)
			ended := false
			e, err := s.Show(File{Dir: "d", Name: "f", UID: 7, Content: &memory{}, Closed: func(Handle) { ended = true }})
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error)
			go func() { served <- s.Serve() }()
			k.ask(opOpen, 2*e.id+1, uint32(0), uint32(0))
			tt.end(k, s)
			if err := <-served; (err == nil) != tt.ok {
				t.Errorf("ended with %v", err)
			}
			if !ended || len(e.Handles()) > 0 || e.ctx.Err() == nil || k.Close() == nil {
				t.Error("something is left")
			}
		})
	}
}

func TestShowRefuses(t *testing.T) {
	_, s := newKernel(t)
	for _, f := range []File{{}, {Dir: "d"}, {Name: "n"}, {Dir: strings.Repeat("x", 256), Name: "n"}} {
		if _, err := s.Show(f); err == nil {
			t.Errorf("%+v is shown", f)
		}
	}
	first, err := s.Show(File{Dir: "d", Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Show(File{Dir: "d", Name: "other"}); err == nil {
		t.Error("a directory is shown twice")
	}
	if err := first.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.Show(File{Dir: "d", Name: "n"}); err != nil {
		t.Error(err)
	}
}

// FuzzAnswer: whatever comes, each request that asks for an answer gets one, and the content stays within its bounds.
func FuzzAnswer(f *testing.F) {
	for op := range uint32(50) {
		f.Add(op, uint64(op%4), []byte("data.img\x00"))
		f.Add(op, uint64(3), make([]byte, 128))
	}
	f.Fuzz(func(t *testing.T, op uint32, node uint64, body []byte) {
		k, s := newKernel(t)
		if _, err := s.Show(File{Dir: "d", Name: "data.img", Content: &memory{data: make([]byte, 100)}}); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, headerSize, headerSize+len(body))
		order.PutUint32(b[4:], op)
		order.PutUint64(b[16:], node)
		b = append(b, body...)
		order.PutUint32(b, uint32(len(b)))
		r, ok := parseRequest(b)
		if !ok {
			t.Fatal("it is no request")
		}
		buf := make([]byte, maxRequest)
		s.answer(&r, &buf)
		silent := op == opForget || op == opBatchForget || op == opInterrupt
		if (len(k.answers) == 1) == silent {
			t.Errorf("%d answers to %d", len(k.answers), op)
		}
	})
}

var _ io.ReadWriteCloser = (*kernel)(nil)

// Who had a file open that was everybody's reads nothing of it when it is so no more; whose it is goes on.
func TestNotPublicAnyMore(t *testing.T) {
	for name, tt := range map[string]struct {
		uid  uint32 // the file's; user 7 asks
		want syscall.Errno
	}{"its user": {7, 0}, "a guest": {9, syscall.EACCES}} {
		t.Run(name, func(t *testing.T) {
			p := show(t, func(f *File) { f.UID, f.ReadOnly, f.Public = tt.uid, true, true })
			if e := p.open(uint32(os.O_RDONLY)); e != 0 {
				t.Fatal(e)
			}
			for _, public := range []bool{true, false, true} {
				p.entry.SetPublic(public)
				want := tt.want
				if public {
					want = 0
				}
				if _, e := p.read(0, 4); e != want {
					t.Errorf("public %t: a read ends with %v, want %v", public, e, want)
				}
			}
			p.entry.SetPublic(false)
			if e := p.open(uint32(os.O_RDONLY)); e != tt.want {
				t.Errorf("opened again: %v, want %v", e, tt.want)
			}
		})
	}
}
