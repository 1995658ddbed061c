package qemu

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"

	"elstore/volume/nbdwire"
)

// nbdPeer plays the server.
type nbdPeer struct {
	t    testing.TB
	conn net.Conn
}

// nbdPair returns a connection in the transmission phase and who is at its other end.
func nbdPair(t testing.TB, e nbdExport) (*nbdConn, *nbdPeer) {
	t.Helper()
	ours, file, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	c := newNBDConn(ours, e)
	t.Cleanup(func() {
		c.cut()
		theirs.Close()
	})
	return c, &nbdPeer{t, theirs}
}

// fullExport is one that can do everything.
var fullExport = nbdExport{
	size: 1 << 30, structured: true, context: 3, status: true, maxBlock: 1 << 20,
	flags: nbdwire.HasFlags | nbdwire.SendFlush | nbdwire.SendTrim | nbdwire.SendWriteZeroes | nbdwire.SendDF,
}

// sent is a request as it came.
type sent struct {
	flags   uint16
	command nbdwire.Command
	handle  uint64
	off     uint64
	length  uint32
}

// next takes a request, without the data of a write.
func (p *nbdPeer) next() (r sent) {
	p.t.Helper()
	b := make([]byte, nbdwire.RequestSize)
	if _, err := io.ReadFull(p.conn, b); err != nil {
		p.t.Error(err)
		return r
	}
	if magic := binary.BigEndian.Uint32(b); magic != nbdwire.RequestMagic {
		p.t.Errorf("a request begins with %#x", magic)
	}
	return sent{
		binary.BigEndian.Uint16(b[4:]), nbdwire.Command(binary.BigEndian.Uint16(b[6:])),
		binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint32(b[24:]),
	}
}

func (p *nbdPeer) data(n int) []byte {
	p.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(p.conn, b); err != nil {
		p.t.Error(err)
	}
	return b
}

func (p *nbdPeer) say(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Error(err)
	}
}

func TestNBDRequests(t *testing.T) {
	data := []byte("0123456789abcdef")
	for name, tc := range map[string]struct {
		call  func(c *nbdConn) error
		want  sent
		data  string
		reply func(h uint64) []byte
		err   error
	}{
		"read": {
			func(c *nbdConn) error {
				p := make([]byte, 16)
				if err := c.read(p, 512); err != nil || !bytes.Equal(p, data) {
					return errors.Join(errors.New(string(p)), err)
				}
				return nil
			},
			sent{nbdwire.FlagDF, nbdwire.CmdRead, 0, 512, 16},
			"", func(h uint64) []byte { return chunk(nbdwire.ChunkDone, nbdwire.ChunkData, h, uint64(512), data) }, nil,
		},
		"read in pieces": {
			func(c *nbdConn) error {
				p := bytes.Repeat([]byte{0xff}, 16)
				if err := c.read(p, 512); err != nil || string(p) != "0123\x00\x00\x00\x0089abcdef" {
					return errors.Join(errors.New(string(p)), err)
				}
				return nil
			},
			sent{nbdwire.FlagDF, nbdwire.CmdRead, 0, 512, 16},
			"", func(h uint64) []byte {
				return nbdBytes(chunk(0, nbdwire.ChunkData, h, uint64(520), data[8:]), chunk(0, nbdwire.ChunkHole, h, uint64(516), uint32(4)),
					chunk(0, nbdwire.ChunkData, h, uint64(512), data[:4]), chunk(nbdwire.ChunkDone, nbdwire.ChunkNone, h))
			}, nil,
		},
		"read fails": {
			func(c *nbdConn) error { return c.read(make([]byte, 16), 512) },
			sent{nbdwire.FlagDF, nbdwire.CmdRead, 0, 512, 16},
			"", func(h uint64) []byte {
				return chunk(nbdwire.ChunkDone, nbdwire.ChunkPlainError, h, uint32(5), uint16(0))
			}, syscall.EIO,
		},
		"read fails in the middle": {
			func(c *nbdConn) error { return c.read(make([]byte, 16), 512) },
			sent{nbdwire.FlagDF, nbdwire.CmdRead, 0, 512, 16},
			"", func(h uint64) []byte {
				return nbdBytes(chunk(0, nbdwire.ChunkData, h, uint64(512), data[:8]), chunk(nbdwire.ChunkDone, nbdwire.ChunkErrorOffset, h, uint32(5), uint16(0), uint64(520)))
			}, syscall.EIO,
		},
		"write": {
			func(c *nbdConn) error { return c.write(1024, 16, data) },
			sent{0, nbdwire.CmdWrite, 0, 1024, 16},
			string(data), func(h uint64) []byte { return simple(0, h) }, nil,
		},
		"write, and a reply in chunks": {
			func(c *nbdConn) error { return c.write(1024, 16, data) },
			sent{0, nbdwire.CmdWrite, 0, 1024, 16},
			string(data), func(h uint64) []byte { return chunk(nbdwire.ChunkDone, nbdwire.ChunkNone, h) }, nil,
		},
		"write fails": {
			func(c *nbdConn) error { return c.write(1024, 16, data) },
			sent{0, nbdwire.CmdWrite, 0, 1024, 16},
			string(data), func(h uint64) []byte { return simple(28, h) }, syscall.ENOSPC,
		},
		"write pieces": {
			func(c *nbdConn) error { return c.write(1024, 16, data[:3], nil, data[3:]) },
			sent{0, nbdwire.CmdWrite, 0, 1024, 16},
			string(data), func(h uint64) []byte { return simple(0, h) }, nil,
		},
		"flush": {
			func(c *nbdConn) error { return c.flush(t.Context()) },
			sent{0, nbdwire.CmdFlush, 0, 0, 0},
			"", func(h uint64) []byte { return simple(0, h) }, nil,
		},
		"trim": {
			func(c *nbdConn) error { return c.trim(4096, 8192) },
			sent{0, nbdwire.CmdTrim, 0, 4096, 8192},
			"", func(h uint64) []byte { return simple(0, h) }, nil,
		},
		"zero": {
			func(c *nbdConn) error { return c.zero(4096, 8192, 0) },
			sent{0, nbdwire.CmdWriteZeroes, 0, 4096, 8192},
			"", func(h uint64) []byte { return simple(0, h) }, nil,
		},
		"zero, and keep the storage": {
			func(c *nbdConn) error { return c.zero(4096, 8192, nbdwire.FlagNoHole) },
			sent{nbdwire.FlagNoHole, nbdwire.CmdWriteZeroes, 0, 4096, 8192},
			"", func(h uint64) []byte { return simple(95, h) }, syscall.ENOTSUP,
		},
		"status": {
			func(c *nbdConn) error {
				got, err := c.status(t.Context(), nil, 0, 4096, true)
				if err == nil && (len(got) != 1 || got[0] != extent{4096, 3}) {
					err = errors.New("wrong extents")
				}
				return err
			},
			sent{nbdwire.FlagReqOne, nbdwire.CmdBlockStatus, 0, 0, 4096},
			"", func(h uint64) []byte {
				return chunk(nbdwire.ChunkDone, nbdwire.ChunkBlockStatus, h, uint32(3), uint32(8192), uint32(3))
			}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := nbdPair(t, fullExport)
			done := make(chan error, 1)
			go func() { done <- tc.call(c) }()
			got := peer.next()
			handle := got.handle
			got.handle = 0
			if got != tc.want {
				t.Errorf("sent %+v, want %+v", got, tc.want)
			}
			if d := peer.data(len(tc.data)); string(d) != tc.data {
				t.Errorf("sent the data %q", d)
			}
			peer.say(tc.reply(handle))
			if err := <-done; !errors.Is(err, tc.err) {
				t.Errorf("error is %v, want %v", err, tc.err)
			}
		})
	}
}

// What the server does not offer is not asked of it.
func TestNBDWithoutOffers(t *testing.T) {
	c, _ := nbdPair(t, nbdExport{size: 1 << 20, flags: nbdwire.HasFlags, maxBlock: 1 << 20})
	if err := c.flush(t.Context()); err != nil {
		t.Errorf("flush: %v", err)
	}
	if err := c.trim(0, 512); err != nil {
		t.Errorf("trim: %v", err)
	}
	if err := c.zero(0, 512, 0); !errors.Is(err, syscall.ENOTSUP) {
		t.Errorf("zero: %v", err)
	}
	got, err := c.status(t.Context(), nil, 0, 4096, false)
	if err != nil || len(got) != 1 || got[0] != (extent{length: 4096}) {
		t.Errorf("status: %v, %v", got, err)
	}
}

func TestNBDSplits(t *testing.T) {
	e := fullExport
	e.maxBlock = 4096
	c, peer := nbdPair(t, e)
	done := make(chan error, 1)
	go func() { done <- c.read(make([]byte, 4096+512), 0) }()
	for _, want := range []sent{{nbdwire.FlagDF, nbdwire.CmdRead, 0, 0, 4096}, {nbdwire.FlagDF, nbdwire.CmdRead, 0, 4096, 512}} {
		r := peer.next()
		peer.say(chunk(nbdwire.ChunkDone, nbdwire.ChunkData, r.handle, r.off, make([]byte, r.length)))
		if r.handle = 0; r != want {
			t.Errorf("sent %+v, want %+v", r, want)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	go func() { done <- c.zero(0, nbdMaxRange+512, 0) }()
	for _, want := range []sent{{0, nbdwire.CmdWriteZeroes, 0, 0, nbdMaxRange}, {0, nbdwire.CmdWriteZeroes, 0, nbdMaxRange, 512}} {
		r := peer.next()
		peer.say(simple(0, r.handle))
		if r.handle = 0; r != want {
			t.Errorf("sent %+v, want %+v", r, want)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Many requests are under way, and answered in the reverse order.
func TestNBDOutOfOrder(t *testing.T) {
	const many = 100
	c, peer := nbdPair(t, fullExport)
	var calls sync.WaitGroup
	for i := range many {
		calls.Go(func() {
			p := make([]byte, 512)
			if err := c.read(p, int64(i)*512); err != nil || p[0] != byte(i) || p[511] != byte(i) {
				t.Errorf("read %d: %v, %d", i, err, p[0])
			}
		})
	}
	var got []sent
	for range many {
		got = append(got, peer.next())
	}
	for _, r := range slices.Backward(got) {
		peer.say(chunk(nbdwire.ChunkDone, nbdwire.ChunkData, r.handle, r.off, bytes.Repeat([]byte{byte(r.off / 512)}, 512)))
	}
	calls.Wait()
	if c.busy() {
		t.Error("something is still under way")
	}
}

// A context ends a flush. The reply that comes later is nobody's.
func TestNBDContext(t *testing.T) {
	c, peer := nbdPair(t, fullExport)
	why := errors.New("enough")
	for range 3 {
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.flush(ctx) }()
		r := peer.next()
		cancel(why)
		if err := <-done; !errors.Is(err, why) {
			t.Fatalf("flush: %v", err)
		}
		peer.say(simple(0, r.handle))
	}
	done := make(chan error, 1)
	go func() { done <- c.write(0, 1, []byte("x")) }()
	r := peer.next()
	peer.data(1)
	peer.say(simple(0, r.handle))
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What waits for the server to take a request ends with its context.
func TestNBDContextWhileWriting(t *testing.T) {
	c, peer := nbdPair(t, fullExport)
	done := make(chan error, 1)
	const much = 8 << 20 // more than sockets hold
	go func() { done <- c.write(0, much, make([]byte, much)) }()
	r := peer.next() // the data is being written
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go cancel(why)
	if err := c.flush(ctx); !errors.Is(err, why) {
		t.Errorf("flush: %v", err)
	}
	if _, err := c.status(ctx, nil, 0, 512, true); !errors.Is(err, why) {
		t.Errorf("status: %v", err)
	}
	peer.data(much)
	peer.say(simple(0, r.handle))
	must(t, <-done)
}

// A structured reply to a client that did not ask for such.
func TestNBDNotStructured(t *testing.T) {
	e := fullExport
	e.structured = false
	c, peer := nbdPair(t, e)
	p := make([]byte, 4)
	done := make(chan error, 1)
	go func() { done <- c.read(p, 0) }()
	r := peer.next()
	if r.flags != 0 {
		t.Errorf("flags %#x", r.flags)
	}
	peer.say(simple(0, r.handle, "data"))
	if err := <-done; err != nil || string(p) != "data" {
		t.Errorf("%q, %v", p, err)
	}
	go func() { done <- c.read(p, 0) }()
	peer.say(chunk(1, nbdwire.ChunkNone, peer.next().handle))
	if err := <-done; !errors.Is(err, errNBDGone) {
		t.Error(err)
	}
}

// A server that reads nothing must not keep the connection from being cut, nor requests from ending.
func TestNBDCutWhileWriting(t *testing.T) {
	c, _ := nbdPair(t, fullExport)
	var calls sync.WaitGroup
	started := make(chan struct{}, 8)
	for range 8 {
		calls.Go(func() {
			started <- struct{}{}
			if err := c.write(0, 1<<20, make([]byte, 1<<20)); !errors.Is(err, errNBDGone) {
				t.Error(err)
			}
		})
	}
	for range 8 {
		<-started
	}
	c.cut()
	calls.Wait()
}

func TestNBDClose(t *testing.T) {
	c, peer := nbdPair(t, fullExport)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.close()
	}()
	if r := peer.next(); r.command != nbdwire.CmdDisconnect {
		t.Errorf("sent %+v", r)
	}
	<-done
	if err := c.trim(0, 512); !errors.Is(err, errNBDGone) {
		t.Errorf("a request that came later: %v", err)
	}
	c.close() // again
}

// A connection that is cut in the moment in which the last reply came ends too.
func TestNBDCutAfterReply(t *testing.T) {
	for range 500 {
		c, peer := nbdPair(t, fullExport)
		done := make(chan error, 1)
		go func() {
			err := c.trim(0, 512)
			c.cut()
			done <- err
		}()
		peer.say(simple(0, peer.next().handle))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		peer.conn.Close()
	}
}
