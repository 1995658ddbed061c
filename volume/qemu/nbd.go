package qemu

import "syscall"

// The NBD protocol, as its specification has it (doc/proto.md of the NetworkBlockDevice project): the fixed newstyle
// handshake, simple and structured replies, base:allocation. Everything is big-endian.
const (
	nbdMagic        = 0x4e42444d41474943 // "NBDMAGIC"
	nbdOptionMagic  = 0x49484156454f5054 // "IHAVEOPT"
	nbdOptReply     = 0x0003e889045565a9
	nbdRequestMagic = 0x25609513
	nbdSimpleMagic  = 0x67446698
	nbdChunkMagic   = 0x668e33ef
)

// Handshake flags, of both sides.
const (
	nbdFixedNewstyle = 1 << 0
	nbdNoZeroes      = 1 << 1
)

// Options that a client asks for, the replies to them, and what an NBD_REP_INFO is about.
const (
	nbdOptGo              = 7
	nbdOptStructuredReply = 8
	nbdOptSetMetaContext  = 10

	nbdRepAck         = 1
	nbdRepInfo        = 3
	nbdRepMetaContext = 4
	nbdRepError       = 1 << 31

	nbdInfoExport    = 0
	nbdInfoBlockSize = 3
)

// Transmission flags: what an export can do.
const (
	nbdHasFlags        = 1 << 0
	nbdReadOnly        = 1 << 1
	nbdSendFlush       = 1 << 2
	nbdSendFUA         = 1 << 3
	nbdSendTrim        = 1 << 5
	nbdSendWriteZeroes = 1 << 6
	nbdSendDF          = 1 << 7
	nbdSendFastZero    = 1 << 11
)

// nbdCommand is the type of a request.
type nbdCommand uint16

const (
	nbdRead        nbdCommand = 0
	nbdWrite       nbdCommand = 1
	nbdDisconnect  nbdCommand = 2
	nbdFlush       nbdCommand = 3
	nbdTrim        nbdCommand = 4
	nbdWriteZeroes nbdCommand = 6
	nbdBlockStatus nbdCommand = 7
)

// Flags of a request.
const (
	nbdFlagFUA      = 1 << 0 // answered when it is on stable storage
	nbdFlagNoHole   = 1 << 1 // WRITE_ZEROES: keep the storage
	nbdFlagDF       = 1 << 2 // READ: answer in one piece
	nbdFlagReqOne   = 1 << 3 // BLOCK_STATUS: one extent is enough
	nbdFlagFastZero = 1 << 4 // WRITE_ZEROES: fail with ENOTSUP rather than write zeros
)

// Types of the chunks of a structured reply. From nbdChunkError on they are errors.
const (
	nbdChunkNone        = 0
	nbdChunkData        = 1
	nbdChunkHole        = 2
	nbdChunkBlockStatus = 5
	nbdChunkError       = 1 << 15
	nbdChunkErrorOffset = 1<<15 + 2

	nbdChunkDone = 1 << 0 // the flag of the last chunk
)

// Flags of an extent of base:allocation.
const (
	nbdStateHole = 1 << 0 // it has no storage
	nbdStateZero = 1 << 1 // it reads as zeros
)

// nbdContext is the metadata context that says which parts of a disk have storage.
const nbdContext = "base:allocation"

// nbdErrno returns the errno behind an error number of the protocol, which are Linux' own. One that the specification does
// not know counts as EIO.
func nbdErrno(n uint32) syscall.Errno {
	switch e := syscall.Errno(n); e {
	case syscall.EPERM, syscall.EIO, syscall.ENOMEM, syscall.EINVAL, syscall.ENOSPC, syscall.EOVERFLOW, syscall.ENOTSUP, syscall.ESHUTDOWN:
		return e
	}
	return syscall.EIO
}
