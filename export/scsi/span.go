package scsi

import "encoding/binary"

// span is a range of logical blocks.
type span struct {
	lba   uint64
	count uint64
}

// form is where a CDB has its logical block address and its length, SPC-4 section 4.3.
type form uint8

const (
	noBlocks form = iota
	blocks6
	blocks10
	blocks12
	blocks16
	blocksCompare // COMPARE AND WRITE: the length is one byte
	blocksStart   // GET LBA STATUS: an address, and no length
)

// decode reads the span of a CDB.
func (f form) decode(cdb *[16]byte) span {
	switch f {
	case blocks6:
		s := span{lba: uint64(binary.BigEndian.Uint32(cdb[0:]) & 0x1fffff), count: uint64(cdb[4])}
		if s.count == 0 {
			s.count = 256 // SBC-3 section 5.10
		}
		return s
	case blocks10:
		return span{uint64(binary.BigEndian.Uint32(cdb[2:])), uint64(binary.BigEndian.Uint16(cdb[7:]))}
	case blocks12:
		return span{uint64(binary.BigEndian.Uint32(cdb[2:])), uint64(binary.BigEndian.Uint32(cdb[6:]))}
	case blocks16:
		return span{binary.BigEndian.Uint64(cdb[2:]), uint64(binary.BigEndian.Uint32(cdb[10:]))}
	case blocksCompare:
		return span{binary.BigEndian.Uint64(cdb[2:]), uint64(cdb[13])}
	case blocksStart:
		return span{lba: binary.BigEndian.Uint64(cdb[2:])}
	case noBlocks:
	}
	return span{}
}

// lengthField returns the byte at which the length of a CDB of this form begins, for field pointers.
func (f form) lengthField() int {
	switch f {
	case blocks6:
		return 4
	case blocks10:
		return 7
	case blocks12:
		return 6
	case blocks16:
		return 10
	case blocksCompare:
		return 13
	case noBlocks, blocksStart:
	}
	return 0
}

// within reports whether s lies in a medium of so many blocks. An empty one may lie at its end.
func (s span) within(blocks uint64) bool {
	return s.lba <= blocks && s.count <= blocks-s.lba
}
