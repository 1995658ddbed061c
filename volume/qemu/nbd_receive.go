package qemu

import (
	"encoding/binary"
	"errors"
	"io"
	"syscall"
)

// nbdBuffer is the size of the buffer that replies are read through. Many small ones come with one read.
const nbdBuffer = 64 << 10

// nbdDirect is from how many bytes on the data of a read goes from the socket into the caller's buffer, instead of through the
// connection's: below that a system call costs more than the copy.
const nbdDirect = 16 << 10

// receive reads replies whenever it is made to, until the connection ends.
func (c *nbdConn) receive() {
	for range c.lead {
		for {
			if err := c.reader.next(); err != nil {
				c.finish(err)
				return
			}
			if c.active.Load() == 0 && c.pause() {
				break
			}
		}
	}
}

// receiveFor reads replies until k has its own.
func (c *nbdConn) receiveFor(k *nbdCall) {
	for k.handle.Load() != 0 {
		if err := c.reader.next(); err != nil {
			c.finish(err)
			return
		}
	}
	if c.active.Load() > 0 || !c.pause() {
		c.lead <- struct{}{}
	}
}

// pause gives up reading, if there is nothing to wait for, not even the end of the connection.
func (c *nbdConn) pause() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active.Load() > 0 || c.err != nil {
		return false
	}
	c.reading = false
	return true
}

// finish ends the connection, and fails what is still under way. The caller is who reads, and nobody will after it.
func (c *nbdConn) finish(err error) {
	c.conn.close()
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	for c.writing {
		c.idle.Wait() // its data is the callers'
	}
	c.queue = nil
	c.mu.Unlock()
	for i := range c.calls {
		if k := &c.calls[i]; k.handle.Load() != 0 {
			k.err = errNBDGone
			c.complete(k)
		}
	}
	close(c.gone)
	close(c.lead)
}

// complete hands a call back to its caller.
func (c *nbdConn) complete(k *nbdCall) {
	k.handle.Store(0)
	c.active.Add(-1)
	if k.left.CompareAndSwap(false, true) {
		k.done <- struct{}{}
	} else {
		c.release(k)
	}
}

// nbdReader takes replies apart.
type nbdReader struct {
	c    *nbdConn
	buf  []byte
	from int // buf[from:to] is what has been read and not yet been used
	to   int
}

// next handles one reply or chunk. An error ends the connection.
func (r *nbdReader) next() error {
	for {
		reply, n, err := parseNBDReply(r.buf[r.from:r.to])
		if err != nil {
			return err
		}
		if n > 0 {
			r.from += n
			return r.take(reply)
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
}

// fill reads once, as much as there is room for.
func (r *nbdReader) fill() error {
	if r.from > 0 {
		r.to = copy(r.buf, r.buf[r.from:r.to])
		r.from = 0
	}
	n, err := r.c.conn.Read(r.buf[r.to:])
	r.to += n
	if n > 0 {
		r.c.heard.Add(1)
		return nil
	}
	return err
}

// bytes returns the next n bytes, which are valid until the next call.
func (r *nbdReader) bytes(n int) ([]byte, error) {
	if n > len(r.buf) {
		return nil, nbdBroken("a chunk of %d bytes", n)
	}
	for r.to-r.from < n {
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	b := r.buf[r.from : r.from+n]
	r.from += n
	return b, nil
}

// into fills dst with the next bytes.
func (r *nbdReader) into(dst []byte) error {
	for {
		n := copy(dst, r.buf[r.from:r.to])
		r.from += n
		if dst = dst[n:]; len(dst) == 0 {
			return nil
		}
		if len(dst) >= nbdDirect {
			n, err := io.ReadFull(r.c.conn, dst)
			if n > 0 {
				r.c.heard.Add(1)
			}
			return err
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
}

// take handles one reply or chunk, with the data that follows.
func (r *nbdReader) take(reply nbdReply) error {
	index := reply.handle & (1<<nbdIndexBits - 1)
	if index >= nbdDepth {
		return nbdBroken("a reply to nothing")
	}
	k := &r.c.calls[index]
	if reply.handle == 0 || k.handle.Load() != reply.handle {
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
	case k.command == nbdRead:
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
	if reply.flags&nbdChunkDone == 0 {
		return nil
	}
	return r.finish(k)
}

func (r *nbdReader) payload(k *nbdCall, reply nbdReply) error {
	switch {
	case reply.kind == nbdChunkNone:
		if reply.length != 0 || reply.flags&nbdChunkDone == 0 {
			return nbdBroken("an empty chunk that is not empty or not the last")
		}
		return nil
	case reply.kind == nbdChunkData && k.command == nbdRead:
		return r.data(k, int64(reply.length)-8)
	case reply.kind == nbdChunkHole && k.command == nbdRead && reply.length == 12:
		return r.hole(k)
	case reply.length > nbdMaxChunk:
		return nbdBroken("a chunk of %d bytes", reply.length)
	case reply.kind == nbdChunkBlockStatus && k.command == nbdBlockStatus:
		b, err := r.bytes(int(reply.length))
		if err == nil {
			k.extents, err = parseNBDExtents(k.extents, b, r.c.export.context, k.length-lengthOf(k.extents))
		}
		return err
	case reply.kind&nbdChunkError != 0:
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
	if k.err == nil && k.command == nbdRead && k.got != k.length {
		return nbdBroken("%d bytes for a read of %d", k.got, k.length)
	}
	if k.err == nil && k.command == nbdBlockStatus && len(k.extents) == 0 {
		return nbdBroken("a block status without extents")
	}
	r.c.complete(k)
	return nil
}

func lengthOf(extents []extent) (n int64) {
	for _, e := range extents {
		n += e.length
	}
	return n
}
