package scsi

import (
	"context"
	"encoding/binary"
)

const (
	leadOut      = 0xaa
	dataTrack    = 0x14 // ADR 1, CONTROL 4: a data track, uninterrupted
	pregap       = 150  // sectors before LBA 0
	framesPerSec = 75
)

// address returns a sector's address in a TOC: as an LBA, or in minutes, seconds and frames.
func tocAddress(lba uint32, msf bool) (b [4]byte) {
	if !msf {
		binary.BigEndian.PutUint32(b[:], lba)
		return b
	}
	lba += pregap
	return [4]byte{0, byte(min(lba/framesPerSec/60, 255)), byte(lba / framesPerSec % 60), byte(lba % framesPerSec)}
}

// readTOC is READ TOC/PMA/ATIP, MMC-6 section 6.25, of a disc with one session and one track.
func readTOC(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	msf, first := c.CDB[1]&0x02 != 0, c.CDB[6]
	format := c.CDB[2] & 0x0f
	if format == 0 {
		format = c.CDB[9] >> 6 // where drivers from before MMC put it
	}
	end := tocAddress(uint32(lu.blocks.Load()), msf)
	start := tocAddress(0, msf)
	var list []byte
	switch format {
	case 0: // the tracks
		if first > 1 && first != leadOut {
			return badField(6, wholeByte)
		}
		list = []byte{0, 0, 1, 1}
		if first <= 1 {
			list = append(append(list, 0, dataTrack, 1, 0), start[:]...)
		}
		list = append(append(list, 0, dataTrack, leadOut, 0), end[:]...)
	case 1: // the sessions
		list = append([]byte{0, 0, 1, 1, 0, dataTrack, 1, 0}, start[:]...)
	case 2: // the raw TOC, always in minutes, seconds and frames
		start, end = tocAddress(0, true), tocAddress(uint32(lu.blocks.Load()), true)
		list = []byte{
			0, 0, 1, 1,
			1, dataTrack, 0, 0xa0, 0, 0, 0, 0, 1, 0, 0, // the first track
			1, dataTrack, 0, 0xa1, 0, 0, 0, 0, 1, 0, 0, // the last track
			1, dataTrack, 0, 0xa2, 0, 0, 0, 0, end[1], end[2], end[3],
			1, dataTrack, 0, 1, 0, 0, 0, 0, start[1], start[2], start[3],
		}
	default:
		return badField(2, 3)
	}
	binary.BigEndian.PutUint16(list, uint16(len(list)-2))
	return c.reply(list, int(c.operation.length(&c.CDB)))
}

// readDiscInformation is READ DISC INFORMATION, MMC-6 section 6.21.
func readDiscInformation(_ context.Context, _ *LogicalUnit, _ *Nexus, c *Command) answer {
	if c.CDB[1]&0x07 != 0 { // DATA TYPE: the standard disc information
		return badField(1, 2)
	}
	var b [34]byte
	binary.BigEndian.PutUint16(b[:], uint16(len(b)-2))
	b[2] = 0x0e // the last session and the disc are complete
	b[3], b[4], b[5], b[6] = 1, 1, 1, 1
	b[7] = 0x20 // URU: use is not restricted
	return c.reply(b[:], int(c.operation.length(&c.CDB)))
}

// readTrackInformation is READ TRACK INFORMATION, MMC-6 section 6.26.
func readTrackInformation(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	blocks := lu.blocks.Load()
	address := uint64(binary.BigEndian.Uint32(c.CDB[2:]))
	switch c.CDB[1] & 0x03 {
	case 0: // by logical block address
		if address >= blocks {
			return illegal(BlockOutOfRange)
		}
	case 1, 2: // by track or session
		if address != 1 {
			return badField(2, wholeByte)
		}
	default:
		return badField(1, 1)
	}
	var b [36]byte
	binary.BigEndian.PutUint16(b[:], uint16(len(b)-2))
	b[2], b[3] = 1, 1 // track, session
	b[5] = 0x04       // a data track
	b[6] = 0x01       // mode 1
	binary.BigEndian.PutUint32(b[24:], uint32(blocks))
	return c.reply(b[:], int(c.operation.length(&c.CDB)))
}
