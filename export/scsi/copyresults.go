package scsi

import (
	"context"
	"encoding/binary"
	"math"
)

// copyState is the copy manager status, SPC-4 table 250.
type copyState uint8

const (
	copyRunning copyState = 0
	copyDone    copyState = 1
	copyFailed  copyState = 2
)

// copyResult is what RECEIVE COPY STATUS tells of an EXTENDED COPY.
type copyResult struct {
	id       byte
	state    copyState
	segments uint16
	bytes    uint64
}

// keptCopies is how many results a nexus holds.
const keptCopies = 16

// keepCopy holds a result in the place of an older one with the same list identifier.
func (n *Nexus) keepCopy(r copyResult) {
	n.unit.mu.Lock()
	defer n.unit.mu.Unlock()
	for i := range n.copies {
		if n.copies[i].id == r.id {
			n.copies[i] = r
			return
		}
	}
	if len(n.copies) == keptCopies {
		n.copies = append(n.copies[:0], n.copies[1:]...)
	}
	n.copies = append(n.copies, r)
}

// transferCount returns a number of bytes as SPC-4 table 251 has it: in the smallest unit in which it fits.
func transferCount(bytes uint64) (unit byte, count uint32) {
	for bytes > math.MaxUint32 {
		bytes >>= 10
		unit++
	}
	return unit, uint32(bytes)
}

// receiveCopyStatus is RECEIVE COPY STATUS(LID1), SPC-4 section 6.28: the nexus' own copies only.
func receiveCopyStatus(_ context.Context, lu *LogicalUnit, n *Nexus, c *Command) answer {
	lu.mu.Lock()
	var found *copyResult
	for _, r := range n.copies {
		if r.id == c.CDB[2] {
			found = &r
		}
	}
	lu.mu.Unlock()
	if found == nil {
		return badField(2, wholeByte)
	}
	var b [12]byte
	binary.BigEndian.PutUint32(b[:], uint32(len(b)-4))
	b[4] = byte(found.state)
	binary.BigEndian.PutUint16(b[5:], found.segments)
	unit, count := transferCount(found.bytes)
	b[7] = unit
	binary.BigEndian.PutUint32(b[8:], count)
	return c.reply(b[:], int(min(c.operation.length(&c.CDB), maximumParameterIn)))
}

// copyParameters is RECEIVE COPY OPERATING PARAMETERS, SPC-4 section 6.27.
func copyParameters(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	var b [46]byte
	binary.BigEndian.PutUint32(b[:], uint32(len(b)-4))
	b[4] = 0x01 // SNLID: the list identifier may be none
	binary.BigEndian.PutUint16(b[8:], maximumCopyTargets)
	binary.BigEndian.PutUint16(b[10:], maximumCopySegments)
	binary.BigEndian.PutUint32(b[12:], maximumCopyList)
	binary.BigEndian.PutUint32(b[16:], uint32(lu.bytes(math.MaxUint16))) // maximum segment length
	binary.BigEndian.PutUint16(b[34:], math.MaxUint16)                   // total concurrent copies
	b[36] = math.MaxUint8                                                // maximum concurrent copies
	b[37] = byte(lu.shift)                                               // data segment granularity
	b[43] = 2
	b[44], b[45] = copyBlockToBlock, copyTargetIdentification
	return c.reply(b[:], int(min(c.operation.length(&c.CDB), maximumParameterIn)))
}
