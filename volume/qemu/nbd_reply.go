package qemu

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"elstore/volume/nbdwire"
)

// nbdReply is the head of a simple reply, or of a chunk of a structured one.
type nbdReply struct {
	handle uint64
	chunk  bool
	errno  uint32 // of a simple reply, 0 is success
	flags  uint16 // of a chunk
	kind   uint16 // of a chunk
	length uint32 // bytes that follow in a chunk
}

// nbdProtocolError says how the server broke the protocol. The connection is of no use then.
type nbdProtocolError string

func (e nbdProtocolError) Error() string { return "the NBD server broke the protocol: " + string(e) }

func nbdBroken(format string, args ...any) error {
	return nbdProtocolError(fmt.Sprintf(format, args...))
}

// parseNBDReply parses the head at the beginning of b and returns its length, or 0 where b is too short to tell.
func parseNBDReply(b []byte) (r nbdReply, n int, err error) {
	if len(b) < nbdwire.SimpleSize {
		return r, 0, nil
	}
	switch magic := binary.BigEndian.Uint32(b); magic {
	case nbdwire.SimpleMagic:
		r.errno = binary.BigEndian.Uint32(b[4:])
		r.handle = binary.BigEndian.Uint64(b[8:])
		return r, nbdwire.SimpleSize, nil
	case nbdwire.ChunkMagic:
		if len(b) < nbdwire.ChunkSize {
			return r, 0, nil
		}
		r.chunk = true
		r.flags = binary.BigEndian.Uint16(b[4:])
		r.kind = binary.BigEndian.Uint16(b[6:])
		r.handle = binary.BigEndian.Uint64(b[8:])
		r.length = binary.BigEndian.Uint32(b[16:])
		return r, nbdwire.ChunkSize, nil
	default:
		return r, 0, nbdBroken("%#x is not how a reply begins", magic)
	}
}

// nbdMaxChunk bounds a chunk that is not a read's data: the most extents that are taken at once, or an error's text.
const nbdMaxChunk = 64 << 10

// parseNBDError parses the payload of a chunk of an error type.
func parseNBDError(kind uint16, b []byte) (syscall.Errno, error) {
	const fixed = 6 // the error number and the length of the text
	if len(b) < fixed {
		return 0, nbdBroken("an error of %d bytes", len(b))
	}
	rest := len(b) - fixed - int(binary.BigEndian.Uint16(b[4:]))
	if rest < 0 || kind == nbdwire.ChunkPlainError && rest != 0 || kind == nbdwire.ChunkErrorOffset && rest != 8 {
		return 0, nbdBroken("an error of %d bytes whose text does not fit", len(b))
	}
	n := binary.BigEndian.Uint32(b)
	if n == 0 {
		return 0, nbdBroken("an error without a number")
	}
	return nbdErrno(n), nil
}

// extent is a stretch of a disk.
type extent struct {
	length int64
	flags  uint32 // nbdStateHole, nbdStateZero
}

// parseNBDExtents parses the payload of a block status chunk for the context and appends to dst what lies within
// limit bytes.
func parseNBDExtents(dst []extent, b []byte, context uint32, limit int64) ([]extent, error) {
	if len(b) < 12 || len(b)%8 != 4 {
		return dst, nbdBroken("a block status of %d bytes", len(b))
	}
	if id := binary.BigEndian.Uint32(b); id != context {
		return dst, nbdBroken("a block status of context %d", id)
	}
	for b = b[4:]; len(b) > 0 && limit > 0; b = b[8:] {
		length := int64(binary.BigEndian.Uint32(b))
		if length == 0 {
			return dst, nbdBroken("an extent without a length")
		}
		length = min(length, limit) // the last may go on beyond what was asked for
		limit -= length
		dst = append(dst, extent{length, binary.BigEndian.Uint32(b[4:])})
	}
	return dst, nil
}

// nbdErrno returns the errno behind an error number of the protocol, which are Linux' own. One that the specification does
// not know counts as EIO.
func nbdErrno(n uint32) syscall.Errno {
	switch e := syscall.Errno(n); e {
	case syscall.EPERM, syscall.EIO, syscall.ENOMEM, syscall.EINVAL, syscall.ENOSPC, syscall.EOVERFLOW, syscall.ENOTSUP, syscall.ESHUTDOWN:
		return e
	}
	return syscall.EIO
}
