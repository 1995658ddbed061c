package qemu

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"syscall"

	"elstore/volume/nbdwire"
)

// nbdBuffer is the size of the buffer that replies are read through. The data of a read that is larger goes past it.
const nbdBuffer = 64 << 10

// receive reads replies until the connection ends, and fails what is still under way then.
func (c *nbdConn) receive() {
	r := nbdReader{c: c, from: bufio.NewReaderSize(nbdHearing{c}, nbdBuffer)}
	for r.next() == nil {
	}
	_ = c.conn.Close()
	c.mu.Lock()
	c.over = true
	calls := c.calls
	c.calls = nil
	c.mu.Unlock()
	for _, k := range calls {
		k.err = errNBDGone
		close(k.done)
	}
	close(c.gone)
}

// nbdHearing reads from a connection, and counts.
type nbdHearing struct{ c *nbdConn }

// Read implements io.Reader.
func (h nbdHearing) Read(p []byte) (int, error) {
	n, err := h.c.conn.Read(p)
	if n > 0 {
		h.c.heard.Add(1)
	}
	return n, err
}

// nbdReader takes replies apart.
type nbdReader struct {
	c    *nbdConn
	from *bufio.Reader
}

// next handles one reply or chunk. An error ends the connection.
func (r *nbdReader) next() error {
	head, err := r.from.Peek(nbdwire.SimpleSize)
	if err != nil {
		return err
	}
	reply, n, err := parseNBDReply(head)
	if err == nil && n == 0 {
		if head, err = r.from.Peek(nbdwire.ChunkSize); err != nil {
			return err
		}
		reply, n, err = parseNBDReply(head)
	}
	if err != nil {
		return err
	}
	if _, err := r.from.Discard(n); err != nil {
		return err
	}
	return r.take(reply)
}

// bytes takes the n bytes of a payload, of which there are nbdMaxChunk at most.
func (r *nbdReader) bytes(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(r.from, b)
	return b, err
}

// into fills dst.
func (r *nbdReader) into(dst []byte) error {
	_, err := io.ReadFull(r.from, dst)
	return err
}

// take handles one reply or chunk, with the data that follows.
func (r *nbdReader) take(reply nbdReply) error {
	r.c.mu.Lock()
	k := r.c.calls[reply.handle]
	r.c.mu.Unlock()
	if k == nil {
		return nbdBroken("a reply to nothing")
	}
	if reply.chunk {
		if !r.c.export.structured {
			return nbdBroken("a structured reply that was not asked for")
		}
		return r.chunk(k, reply)
	}
	switch {
	case reply.errno != 0:
		k.err = nbdErrno(reply.errno)
	case k.command == nbdwire.CmdRead:
		if r.c.export.structured {
			return nbdBroken("a simple reply to a read")
		}
		if err := r.into(k.in); err != nil {
			return err
		}
		k.got = k.length
	}
	return r.finish(k)
}

// chunk handles a chunk of a structured reply.
func (r *nbdReader) chunk(k *nbdCall, reply nbdReply) error {
	if err := r.payload(k, reply); err != nil {
		return err
	}
	if reply.flags&nbdwire.ChunkDone == 0 {
		return nil
	}
	return r.finish(k)
}

func (r *nbdReader) payload(k *nbdCall, reply nbdReply) error {
	switch {
	case reply.kind == nbdwire.ChunkNone:
		if reply.length != 0 || reply.flags&nbdwire.ChunkDone == 0 {
			return nbdBroken("an empty chunk that is not empty or not the last")
		}
		return nil
	case reply.kind == nbdwire.ChunkData && k.command == nbdwire.CmdRead:
		return r.data(k, int64(reply.length)-8)
	case reply.kind == nbdwire.ChunkHole && k.command == nbdwire.CmdRead && reply.length == 12:
		return r.hole(k)
	case reply.length > nbdMaxChunk:
		return nbdBroken("a chunk of %d bytes", reply.length)
	case reply.kind == nbdwire.ChunkBlockStatus && k.command == nbdwire.CmdBlockStatus:
		b, err := r.bytes(int(reply.length))
		if err == nil {
			k.extents, err = parseNBDExtents(k.extents, b, r.c.export.context, k.length-lengthOf(k.extents))
		}
		return err
	case reply.kind&nbdwire.ChunkError != 0:
		b, err := r.bytes(int(reply.length))
		if err != nil {
			return err
		}
		errno, err := parseNBDError(reply.kind, b)
		if k.err == nil {
			k.err = errno
		}
		return err
	}
	return nbdBroken("a chunk of type %d in the reply to command %d", reply.kind, k.command)
}

// data takes length bytes of a read's data, behind their offset.
func (r *nbdReader) data(k *nbdCall, length int64) error {
	if length <= 0 {
		return nbdBroken("a chunk of data without data")
	}
	at, err := r.offset(k, length)
	if err != nil {
		return err
	}
	return r.into(k.in[at : at+length])
}

// hole takes a part of a read's data that is zeros.
func (r *nbdReader) hole(k *nbdCall) error {
	b, err := r.bytes(12)
	if err != nil {
		return err
	}
	length := int64(binary.BigEndian.Uint32(b[8:]))
	at, err := k.place(binary.BigEndian.Uint64(b), length)
	if err == nil {
		clear(k.in[at : at+length])
	}
	return err
}

func (r *nbdReader) offset(k *nbdCall, length int64) (int64, error) {
	b, err := r.bytes(8)
	if err != nil {
		return 0, err
	}
	return k.place(binary.BigEndian.Uint64(b), length)
}

// place returns where in the buffer of a read the length bytes of the disk at off belong, and counts them.
func (k *nbdCall) place(off uint64, length int64) (int64, error) {
	at := int64(off - uint64(k.off))
	if at < 0 || at > k.length || length <= 0 || length > k.length-at || k.got+length > k.length {
		return 0, nbdBroken("%d bytes at %d in the reply to a read of %d at %d", length, off, k.length, k.off)
	}
	k.got += length
	return at, nil
}

// finish ends a call when its reply is complete.
func (r *nbdReader) finish(k *nbdCall) error {
	if errors.Is(k.err, syscall.ESHUTDOWN) { // it was not done, and no other will be
		return errors.New("the NBD server is shutting down")
	}
	if k.err == nil && k.command == nbdwire.CmdRead && k.got != k.length {
		return nbdBroken("%d bytes for a read of %d", k.got, k.length)
	}
	if k.err == nil && k.command == nbdwire.CmdBlockStatus && len(k.extents) == 0 {
		return nbdBroken("a block status without extents")
	}
	r.c.mu.Lock()
	delete(r.c.calls, k.handle)
	r.c.mu.Unlock()
	close(k.done)
	return nil
}

func lengthOf(extents []extent) (n int64) {
	for _, e := range extents {
		n += e.length
	}
	return n
}
