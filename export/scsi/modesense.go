package scsi

import (
	"context"
	"encoding/binary"
	"math"
)

// Page control, SPC-4 table 174.
const (
	valuesCurrent    = 0
	valuesChangeable = 1
	valuesDefault    = 2
	valuesSaved      = 3
)

// modeSense is MODE SENSE(6) and (10), SPC-4 sections 6.11 and 6.12.
func modeSense(_ context.Context, lu *LogicalUnit, n *Nexus, c *Command) answer {
	long := len(c.operation.usage) == 10
	pages, a := lu.modeSensePages(c.CDB[2]>>6, c.CDB[2]&0x3f, c.CDB[3])
	if a.status != StatusGood {
		return a
	}
	var descriptor []byte
	if c.CDB[1]&0x08 == 0 && !lu.cfg.CDROM { // DBD; MMC has no block descriptors
		descriptor = lu.blockDescriptor(long && c.CDB[1]&0x10 != 0) // LLBAA
	}
	specific := byte(0)
	if lu.writeProtection(n).status != StatusGood {
		specific |= 0x80 // WP
	}
	if !lu.cfg.CDROM {
		specific |= 0x10 // DPOFUA
	}
	var list []byte
	if long {
		list = []byte{0, 0, 0, specific, byte(len(descriptor) >> 4), 0, 0, byte(len(descriptor))}
	} else {
		list = []byte{0, 0, specific, byte(len(descriptor))}
	}
	list = append(append(list, descriptor...), pages...)
	if long {
		binary.BigEndian.PutUint16(list, uint16(len(list)-2))
	} else {
		list[0] = byte(len(list) - 1)
	}
	return c.reply(list, int(c.operation.length(&c.CDB)))
}

// modeSensePages returns the pages that a code and a subpage code ask for, one behind the other.
func (lu *LogicalUnit) modeSensePages(which, code, subpage byte) ([]byte, answer) {
	if which == valuesSaved {
		return nil, illegal(SavingNotSupported)
	}
	var list []byte
	known := false
	for i := range modePages {
		m := &modePages[i]
		if m.needs&^lu.features != 0 || code != allPages && code != m.code {
			continue
		}
		known = true
		if subpage != allSubpages && subpage != m.subpage {
			continue
		}
		switch which {
		case valuesCurrent:
			list = append(list, m.values(lu, unitState(lu.state.Load()))...)
		case valuesChangeable:
			list = append(list, m.changeable()...)
		case valuesDefault:
			list = append(list, m.values(lu, defaultStates)...)
		}
	}
	switch {
	case !known:
		return nil, badField(2, 5)
	case list == nil || code == allPages && subpage != 0 && subpage != allSubpages:
		return nil, badField(3, wholeByte)
	}
	return list, good
}

// blockDescriptor returns a short or a long LBA mode parameter block descriptor, SBC-3 section 6.5.2.
func (lu *LogicalUnit) blockDescriptor(long bool) []byte {
	blocks := lu.blocks.Load()
	if lu.is(stateEjected) {
		blocks = 0
	}
	if long {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], blocks)
		binary.BigEndian.PutUint32(b[12:], uint32(lu.cfg.BlockSize))
		return b[:]
	}
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], uint32(min(blocks, math.MaxUint32)))
	binary.BigEndian.PutUint32(b[4:], uint32(lu.cfg.BlockSize)) // byte 4 is reserved, and a block is shorter
	return b[:]
}
