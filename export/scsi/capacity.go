package scsi

import (
	"context"
	"encoding/binary"
	"math"
)

// readCapacity10 is READ CAPACITY(10), SBC-3 section 5.14.
func readCapacity10(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], uint32(min(lu.lastBlock(), math.MaxUint32)))
	binary.BigEndian.PutUint32(b[4:], uint32(lu.cfg.BlockSize))
	return c.reply(b[:], len(b))
}

// readCapacity16 is READ CAPACITY(16), SBC-3 section 5.15.
func readCapacity16(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	var b [32]byte
	binary.BigEndian.PutUint64(b[:], lu.lastBlock())
	binary.BigEndian.PutUint32(b[8:], uint32(lu.cfg.BlockSize))
	b[13] = lu.cfg.PhysicalExponent
	if lu.cfg.Thin {
		b[14] = 0xc0 // LBPME, LBPRZ
	}
	return c.reply(b[:], int(min(c.operation.length(&c.CDB), 32)))
}

// lastBlock returns the address of the last block. A medium without any is told as one with one: there is no
// way to say none.
func (lu *LogicalUnit) lastBlock() uint64 { return max(lu.blocks.Load(), 1) - 1 }
