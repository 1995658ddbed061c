package qemu

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// The layout of a split virtqueue (virtio 1.2 section 2.7) at the beginning of shared memory, and of what its requests need
// besides their data. Each request has a place: three descriptors in a row, and a cache line for its head and its status.
const (
	queueDepth = 64  // requests that may be under way
	queueSize  = 256 // descriptors: the next power of two that holds three for each
	queueChain = 3   // head, data, status

	queueDescriptors = 0
	queueAvailable   = queueDescriptors + queueSize*descriptorSize
	queueUsedEvent   = queueAvailable + 4 + 2*queueSize
	queueUsed        = queueAvailable + 1024
	queueAvailEvent  = queueUsed + 4 + 8*queueSize
	queueHeads       = 8192
	queueEnd         = queueHeads + queueDepth*headStride

	descriptorSize = 16
	headStride     = 64
	headSize       = 16 // of virtio_blk_req before the data; the status follows it
)

// Flags of a descriptor.
const (
	descriptorNext  = 1
	descriptorWrite = 2 // by the device
)

// virtioKind is the type of a request; section 5.2.6.
type virtioKind uint32

const (
	virtioIn  virtioKind = 0
	virtioOut virtioKind = 1
)

// Status of a request. virtioNone is none that a device may give.
const (
	virtioOK   = 0
	virtioNone = 0xff
)

// sectorSize is the unit of offsets and lengths of virtio-blk, whatever the disk's.
const sectorSize = 512

// virtqueue is our side of a queue in memory that another process writes to as it likes. Nothing that it could have changed is used
// but through used and status, which check it.
type virtqueue struct {
	memory []byte
	added  uint16 // requests that were made available, modulo 2^16
	told   uint16 // what added was when the device was woken last, or need not be
	seen   uint16 // requests that were taken back; of who takes them
}

// word returns the four bytes at an offset, of which the queue's layout has all at a multiple of four.
func (q *virtqueue) word(at int) *uint32 {
	return (*uint32)(unsafe.Pointer(&q.memory[at])) //nolint:gosec // within the memory
}

// load reads two numbers of 16 bits, little-endian as all in a queue, in one go.
func (q *virtqueue) load(at int) (first, second uint16) {
	b := binary.NativeEndian.AppendUint32(make([]byte, 0, 4), atomic.LoadUint32(q.word(at)))
	return binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
}

// store writes two numbers of 16 bits in one go. What was written before is seen before, and what is loaded after it is loaded
// after it: for that it is a swap, since the race detector makes a store one that later loads may overtake.
func (q *virtqueue) store(at int, first, second uint16) {
	b := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(make([]byte, 0, 4), first), second)
	atomic.SwapUint32(q.word(at), binary.NativeEndian.Uint32(b))
}

// add makes a request available at a place, with its data in the length bytes at data. It reports whether the device has to
// be woken.
func (q *virtqueue) add(place int, kind virtioKind, sector uint64, data, length int) (wake bool) {
	head := queueHeads + place*headStride
	b := q.memory[head : head+headSize+1]
	binary.LittleEndian.PutUint32(b, uint32(kind))
	binary.LittleEndian.PutUint32(b[4:], 0)
	binary.LittleEndian.PutUint64(b[8:], sector)
	b[headSize] = virtioNone

	var flags uint16 = descriptorNext
	if kind == virtioIn {
		flags |= descriptorWrite
	}
	first := place * queueChain
	q.describe(first, head, headSize, descriptorNext, first+1)
	q.describe(first+1, data, length, flags, first+2)
	q.describe(first+2, head+headSize, 1, descriptorWrite, 0)

	binary.LittleEndian.PutUint16(q.memory[queueAvailable+4+2*int(q.added%queueSize):], uint16(first))
	q.added++
	q.store(queueAvailable, 0, q.added)
	event, _ := q.load(queueAvailEvent) // after the store: section 2.7.13.4.1
	wake = q.added-event-1 < q.added-q.told
	q.told = q.added
	return wake
}

// describe fills in a descriptor.
func (q *virtqueue) describe(index, at, length int, flags uint16, next int) {
	b := q.memory[queueDescriptors+index*descriptorSize:][:descriptorSize]
	binary.LittleEndian.PutUint64(b, vhostBase+uint64(at))
	binary.LittleEndian.PutUint32(b[8:], uint32(length))
	binary.LittleEndian.PutUint16(b[12:], flags)
	binary.LittleEndian.PutUint16(b[14:], uint16(next))
}

// ended returns how many requests the device says it has ended that were not taken back yet.
func (q *virtqueue) ended() uint16 {
	_, index := q.load(queueUsed)
	return index - q.seen
}

// ask has the device wake us when it ends another request. It may have by now: the caller looks once more.
func (q *virtqueue) ask() { q.store(queueUsedEvent, q.seen, 0) }

// take takes back the next request that the device has ended: its place, and how many bytes the device says it has written, status
// included. There must be one.
func (q *virtqueue) take() (place int, written uint32, err error) {
	at := queueUsed + 4 + 8*int(q.seen%queueSize)
	id, written := binary.LittleEndian.Uint32(q.memory[at:]), binary.LittleEndian.Uint32(q.memory[at+4:])
	if id%queueChain != 0 || id/queueChain >= queueDepth {
		return 0, 0, vhostBroken("descriptor %d is no request's first", id)
	}
	q.seen++
	return int(id / queueChain), written, nil
}

// status returns what the device said of the request at a place.
func (q *virtqueue) status(place int) byte {
	return q.memory[queueHeads+place*headStride+headSize]
}
