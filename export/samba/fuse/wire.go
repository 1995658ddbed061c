package fuse

import (
	"encoding/binary"
	"syscall"
)

// order is the byte order of the protocol: the machine's.
var order = binary.NativeEndian

// Operations, enum fuse_opcode.
const (
	opLookup      = 1
	opForget      = 2
	opGetattr     = 3
	opSetattr     = 4
	opOpen        = 14
	opRead        = 15
	opWrite       = 16
	opStatfs      = 17
	opRelease     = 18
	opFsync       = 20
	opFlush       = 25
	opInit        = 26
	opOpendir     = 27
	opReaddir     = 28
	opReleasedir  = 29
	opFsyncdir    = 30
	opInterrupt   = 36
	opDestroy     = 38
	opBatchForget = 42
	opFallocate   = 43
)

// Operations that change names, which nobody may.
var naming = map[uint32]bool{6: true, 8: true, 9: true, 10: true, 11: true, 12: true, 13: true, 35: true, 45: true}

// The version that is spoken. Later kernels speak it too.
const (
	major = 7
	minor = 31
)

// Flags of fuse_init_out and fuse_open_out.
const (
	initAsyncRead = 1 << 0
	initBigWrites = 1 << 5
	initParallel  = 1 << 18 // lookups and listings at the same time
	initMaxPages  = 1 << 22

	openDirectIO     = 1 << 0
	openParallelDIO  = 1 << 6
	setattrSize      = 1 << 3 // FATTR_SIZE
	setattrTimes     = 1<<4 | 1<<5 | 1<<7 | 1<<8 | 1<<10
	setattrHandle    = 1<<6 | 1<<9 // FATTR_FH, FATTR_LOCKOWNER: they say whose request it is
	punchHole        = 2           // FALLOC_FL_PUNCH_HOLE
	zeroRange        = 16          // FALLOC_FL_ZERO_RANGE
	keepSize         = 1           // FALLOC_FL_KEEP_SIZE
	direntDir        = 4           // DT_DIR
	direntFile       = 8           // DT_REG
	headerSize       = 40          // struct fuse_in_header
	replySize        = 16          // struct fuse_out_header
	attrSize         = 88          // struct fuse_attr
	maxData          = 1 << 20     // bytes that one request carries
	pagesOfMaxData   = maxData / 4096
	maxRequest       = maxData + 4096 // with headers, as the kernel wants it
	maxName          = 255
	sizeReadWrite    = 40 // struct fuse_read_in, and fuse_write_in
	sizeSetattr      = 88
	sizeFallocate    = 32
	sizeInit         = 16 // of an older fuse_init_in, which all begin with
	sizeRelease      = 24
	sizeOpen         = 8
	sizeReaddirEntry = 24 // before the name
)

// request is one of the kernel's.
type request struct {
	op     uint32
	unique uint64
	node   uint64
	uid    uint32
	pid    uint32
	body   []byte // a part of the buffer that it was read into
}

// parseRequest reads a request. Pure.
func parseRequest(b []byte) (request, bool) {
	if len(b) < headerSize || uint64(order.Uint32(b)) != uint64(len(b)) {
		return request{}, false
	}
	return request{
		op: order.Uint32(b[4:]), unique: order.Uint64(b[8:]), node: order.Uint64(b[16:]), uid: order.Uint32(b[24:]), pid: order.Uint32(b[32:]),
		body: b[headerSize:],
	}, true
}

// name returns the name that a request ends with, "" for none.
func (r *request) name() string {
	for i, c := range r.body {
		if c == 0 {
			return string(r.body[:i])
		}
	}
	return ""
}

// transfer is what a read, a write or a listing is about.
type transfer struct {
	handle uint64
	off    int64
	size   uint32
	data   []byte // of a write
}

// handle is the opening that a request came through, which stands first in those that reach a file's content.
func (r *request) handle() uint64 {
	if len(r.body) < 8 {
		return 0
	}
	return order.Uint64(r.body)
}

// transfer reads the arguments of a read, a write or a listing.
func (r *request) transfer() (t transfer, err error) {
	b := r.body
	if len(b) < sizeReadWrite {
		return t, syscall.EINVAL
	}
	off := order.Uint64(b[8:])
	t = transfer{handle: order.Uint64(b), off: int64(off), size: order.Uint32(b[16:]), data: b[sizeReadWrite:]}
	if off > 1<<62 || t.size > maxData || r.op == opWrite && uint64(t.size) != uint64(len(t.data)) {
		return t, syscall.EINVAL
	}
	return t, nil
}

// attr is what is to be known of a file or directory.
type attr struct {
	ino     uint64
	size    int64
	mode    uint32
	uid     uint32
	seconds int64 // all of its times
}

func (a *attr) append(b []byte) []byte {
	b = order.AppendUint64(b, a.ino)
	b = order.AppendUint64(b, uint64(a.size))
	b = order.AppendUint64(b, uint64((a.size+511)/512))
	for range 3 {
		b = order.AppendUint64(b, uint64(a.seconds))
	}
	b = append(b, make([]byte, 12)...) // nanoseconds
	for _, v := range []uint32{a.mode, 1, a.uid, a.uid, 0, 4096, 0} {
		b = order.AppendUint32(b, v)
	}
	return b
}

// entryOut is struct fuse_entry_out, which the kernel asks for anew each time.
func entryOut(a *attr) []byte {
	b := order.AppendUint64(make([]byte, 0, 40+attrSize), a.ino)
	return a.append(append(b, make([]byte, 32)...))
}

// attrOut is struct fuse_attr_out.
func attrOut(a *attr) []byte { return a.append(make([]byte, 16, 16+attrSize)) }

// openOut is struct fuse_open_out.
func openOut(handle uint64, flags uint32) []byte {
	b := order.AppendUint64(nil, handle)
	b = order.AppendUint32(b, flags)
	return order.AppendUint32(b, 0)
}

// initOut is struct fuse_init_out.
func initOut(flags uint32) []byte {
	var b []byte
	for _, v := range []uint32{major, minor, 0, flags & (initAsyncRead | initBigWrites | initParallel | initMaxPages)} {
		b = order.AppendUint32(b, v)
	}
	b = order.AppendUint16(b, 64) // requests that the kernel makes by itself
	b = order.AppendUint16(b, 48)
	b = order.AppendUint32(b, maxData)
	b = order.AppendUint32(b, 1) // nanoseconds
	b = order.AppendUint16(b, pagesOfMaxData)
	return append(b, make([]byte, 64-len(b))...)
}

// statfsOut is struct fuse_statfs_out: a file system that is full with one file.
func statfsOut(size int64) []byte {
	var b []byte
	for _, v := range []uint64{uint64(size+4095) / 4096, 0, 0, 1, 0} {
		b = order.AppendUint64(b, v)
	}
	for _, v := range []uint32{4096, maxName, 4096} {
		b = order.AppendUint32(b, v)
	}
	return append(b, make([]byte, 80-len(b))...)
}

// direntry is a line of a listing.
type direntry struct {
	ino  uint64
	kind uint32
	name string
}

// listing is entries from off on, as many as fit into size bytes.
func listing(entries []direntry, off int64, size uint32) []byte {
	var b []byte
	for i := int(min(off, int64(len(entries)))); i < len(entries); i++ {
		e := entries[i]
		length := (sizeReaddirEntry + len(e.name) + 7) &^ 7
		if len(b)+length > int(size) {
			break
		}
		end := len(b) + length
		b = order.AppendUint64(b, e.ino)
		b = order.AppendUint64(b, uint64(i)+1)
		b = order.AppendUint32(b, uint32(len(e.name)))
		b = order.AppendUint32(b, e.kind)
		b = append(b, e.name...)
		b = append(b, make([]byte, end-len(b))...)
	}
	return b
}
