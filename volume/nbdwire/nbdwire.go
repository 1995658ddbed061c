// Package nbdwire is the numbers of the NBD protocol, as its specification has them (doc/proto.md of the NetworkBlockDevice project),
// for those who serve disks by it and those who use them. Everything in the protocol is big-endian. Numbers that neither
// side of ours has a use for are left out.
package nbdwire

// Magic numbers.
const (
	Magic        = 0x4e42444d41474943 // "NBDMAGIC", how a server greets
	OptionMagic  = 0x49484156454f5054 // "IHAVEOPT", which follows it, and how an option begins
	OptionReply  = 0x0003e889045565a9 // how the reply to an option begins
	RequestMagic = 0x25609513         // how a request begins
	SimpleMagic  = 0x67446698         // how a simple reply begins
	ChunkMagic   = 0x668e33ef         // how a chunk of a structured reply begins
)

// The lengths of heads, in bytes.
const (
	RequestSize = 28
	SimpleSize  = 16
	ChunkSize   = 20
)

// Handshake flags, of both sides.
const (
	FixedNewstyle = 1 << 0
	NoZeroes      = 1 << 1
)

// Options that a client asks for.
const (
	OptExportName      = 1
	OptAbort           = 2
	OptList            = 3
	OptStartTLS        = 5
	OptInfo            = 6
	OptGo              = 7
	OptStructuredReply = 8
	OptSetMetaContext  = 10
)

// Replies to options. Those from RepError on are refusals.
const (
	RepAck         = 1
	RepServer      = 2
	RepInfo        = 3
	RepMetaContext = 4

	RepError   = 1 << 31
	RepUnsup   = RepError + 1
	RepInvalid = RepError + 3
	RepTLSReqd = RepError + 5
	RepUnknown = RepError + 6
	RepTooBig  = RepError + 9
)

// What a RepInfo is about.
const (
	InfoExport    = 0
	InfoBlockSize = 3
)

// Transmission flags: what an export can do.
const (
	HasFlags        = 1 << 0
	ReadOnly        = 1 << 1
	SendFlush       = 1 << 2
	SendFUA         = 1 << 3
	SendTrim        = 1 << 5
	SendWriteZeroes = 1 << 6
	SendDF          = 1 << 7
	CanMultiConn    = 1 << 8
)

// Command is the type of a request.
type Command uint16

// The commands.
const (
	CmdRead        Command = 0
	CmdWrite       Command = 1
	CmdDisconnect  Command = 2
	CmdFlush       Command = 3
	CmdTrim        Command = 4
	CmdWriteZeroes Command = 6
	CmdBlockStatus Command = 7
)

// Flags of a request.
const (
	FlagFUA    = 1 << 0 // answered when it is on stable storage
	FlagNoHole = 1 << 1 // CmdWriteZeroes: keep the storage
	FlagDF     = 1 << 2 // CmdRead: answer in one piece
	FlagReqOne = 1 << 3 // CmdBlockStatus: one extent is enough
)

// Types of the chunks of a structured reply. Those with ChunkError are errors.
const (
	ChunkNone        = 0
	ChunkData        = 1
	ChunkHole        = 2
	ChunkBlockStatus = 5
	ChunkError       = 1 << 15
	ChunkPlainError  = ChunkError + 1
	ChunkErrorOffset = ChunkError + 2
)

// ChunkDone is the flag of the last chunk of a reply.
const ChunkDone = 1 << 0

// BaseAllocation is the metadata context that says which parts of a disk have storage.
const BaseAllocation = "base:allocation"

// Flags of an extent of BaseAllocation.
const (
	StateHole = 1 << 0 // it has no storage
	StateZero = 1 << 1 // it reads as zeros
)
