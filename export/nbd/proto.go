package nbd

import (
	"errors"
	"syscall"
)

// Magic numbers.
const (
	magic        = 0x4e42444d41474943 // "NBDMAGIC"
	optionMagic  = 0x49484156454f5054 // "IHAVEOPT"
	optionReply  = 0x0003e889045565a9
	requestMagic = 0x25609513
	replyMagic   = 0x67446698
)

// Handshake flags, of both sides.
const (
	fixedNewstyle = 1 << 0
	noZeroes      = 1 << 1
)

// Options, the replies to them, and what an information is about.
const (
	optExportName = 1
	optAbort      = 2
	optList       = 3
	optStartTLS   = 5
	optInfo       = 6
	optGo         = 7

	repAck     = 1
	repServer  = 2
	repInfo    = 3
	repUnsup   = 1<<31 + 1
	repInvalid = 1<<31 + 3
	repTLSReqd = 1<<31 + 5
	repUnknown = 1<<31 + 6
	repTooBig  = 1<<31 + 9

	infoExport    = 0
	infoBlockSize = 3
)

// Transmission flags.
const (
	hasFlags        = 1 << 0
	readOnly        = 1 << 1
	sendFlush       = 1 << 2
	sendFUA         = 1 << 3
	sendTrim        = 1 << 5
	sendWriteZeroes = 1 << 6
	canMultiConn    = 1 << 8
)

// Commands and their flags.
const (
	cmdRead        = 0
	cmdWrite       = 1
	cmdDisconnect  = 2
	cmdFlush       = 3
	cmdTrim        = 4
	cmdWriteZeroes = 6

	flagFUA    = 1 << 0
	flagNoHole = 1 << 1
)

// errnoOf returns the error number of the protocol for an error, which are those of Linux.
func errnoOf(err error) uint32 {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EROFS):
		return uint32(syscall.EPERM)
	case errors.Is(err, syscall.EINVAL):
		return uint32(syscall.EINVAL)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return uint32(syscall.ENOSPC)
	}
	return uint32(syscall.EIO)
}
