package scsi

import (
	"context"
	"encoding/binary"
	"math"
)

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
