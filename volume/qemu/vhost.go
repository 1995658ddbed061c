package qemu

import (
	"encoding/binary"
	"fmt"
)

// The vhost-user protocol, as QEMU's documentation has it (docs/interop/vhost-user.rst), from the side of who uses the disk, and
// no more of it than one queue takes. Here numbers are in the machine's order of bytes, unlike in the queue itself.

// vhostRequest is the type of a message.
type vhostRequest uint32

const (
	vhostGetFeatures  vhostRequest = 1
	vhostSetFeatures  vhostRequest = 2
	vhostSetOwner     vhostRequest = 3
	vhostSetMemTable  vhostRequest = 5
	vhostSetVringNum  vhostRequest = 8
	vhostSetVringAddr vhostRequest = 9
	vhostSetVringBase vhostRequest = 10
	vhostSetVringKick vhostRequest = 12
	vhostSetVringCall vhostRequest = 13
)

// Flags of a message: the version in the lowest two bits.
const (
	vhostVersion     = 1
	vhostVersionMask = 3
	vhostReply       = 1 << 2
)

// vhostHeader is the length of a message's head: request, flags, and the length of what follows.
const vhostHeader = 12

// Features that are negotiated: virtio 1.2 sections 5.2.3 and 6.
const (
	virtioBlkFlush   = 1 << 9  // without it every write would be flushed
	virtioEventIndex = 1 << 29 // each side says when it wants to be woken
	virtioVersion1   = 1 << 32
)

// vhostFeatures are those that are asked for. Without the protocol features, which are not, a queue is enabled from its start.
const vhostFeatures = virtioBlkFlush | virtioEventIndex | virtioVersion1

// vhostBase is where the shared memory begins in the address space that both sides speak of. What it is in that of a process is
// nobody else's business.
const vhostBase = 1 << 30

// appendVhost appends a message.
func appendVhost(b []byte, request vhostRequest, payload []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(request))
	b = binary.NativeEndian.AppendUint32(b, vhostVersion)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

// vhostNumber is the payload of a message about a number.
func vhostNumber(n uint64) []byte { return binary.NativeEndian.AppendUint64(nil, n) }

// vhostState is the payload of a message about the first queue and a number.
func vhostState(n uint32) []byte {
	return binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, 0), n)
}

// vhostTable is the payload of VHOST_USER_SET_MEM_TABLE for one region of size bytes, whose descriptor goes with the message.
func vhostTable(size uint64) []byte {
	b := binary.NativeEndian.AppendUint32(nil, 1) // regions
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint64(b, vhostBase) // in the guest
	b = binary.NativeEndian.AppendUint64(b, size)
	b = binary.NativeEndian.AppendUint64(b, vhostBase) // in this process
	return binary.NativeEndian.AppendUint64(b, 0)      // in the descriptor
}

// vhostRings is the payload of VHOST_USER_SET_VRING_ADDR for the first queue, at the beginning of the shared memory.
func vhostRings() []byte {
	b := vhostState(0) // no flags
	for _, at := range []uint64{queueDescriptors, queueUsed, queueAvailable} {
		b = binary.NativeEndian.AppendUint64(b, vhostBase+at)
	}
	return binary.NativeEndian.AppendUint64(b, 0) // no log
}

// parseVhostNumber parses a whole message that answers a request with a number.
func parseVhostNumber(b []byte, request vhostRequest) (uint64, error) {
	if len(b) != vhostHeader+8 {
		return 0, fmt.Errorf("vhost-user: a reply of %d bytes", len(b))
	}
	got, flags, length := binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[8:])
	if got != uint32(request) || flags&vhostVersionMask != vhostVersion || flags&vhostReply == 0 || length != 8 {
		return 0, fmt.Errorf("vhost-user: request %d with flags %#x and %d bytes is not the reply to request %d", got, flags, length, request)
	}
	return binary.NativeEndian.Uint64(b[vhostHeader:]), nil
}
