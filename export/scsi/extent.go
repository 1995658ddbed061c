package scsi

import (
	"context"
	"encoding/binary"
	"math"
)

// Provisioning status of a LBA status descriptor, SBC-3 table 51.
const (
	provisionedMapped      = 0x0
	provisionedDeallocated = 0x1
)

// maximumExtents bounds how long one GET LBA STATUS looks around.
const maximumExtents = 256

// getLBAStatus is GET LBA STATUS, SBC-3 section 5.4.
func getLBAStatus(ctx context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	blocks := lu.blocks.Load()
	lba := c.span.lba
	if lba >= blocks {
		return illegal(BlockOutOfRange)
	}
	allocation := int(min(c.operation.length(&c.CDB), maximumParameterIn))
	room := min(max((allocation-8)/16, 1), maximumExtents)
	list := make([]byte, 8, 8+16*room)
	for range room {
		if ctx.Err() != nil {
			return aborted
		}
		count, mapped, err := lu.extent(ctx, span{lba, blocks - lba})
		if err != nil {
			return lu.readError(err, lba)
		}
		status := byte(provisionedMapped)
		if !mapped {
			status = provisionedDeallocated
		}
		count = min(count, math.MaxUint32)
		list = binary.BigEndian.AppendUint64(list, lba)
		list = binary.BigEndian.AppendUint32(list, uint32(count))
		list = append(list, status, 0, 0, 0)
		if lba += count; lba >= blocks {
			break
		}
	}
	binary.BigEndian.PutUint32(list, uint32(len(list)-4))
	return c.reply(list, allocation)
}

// extent returns how many blocks from the beginning of s on are all mapped or all not, or fewer where they are
// in many pieces. A block that is mapped in part counts as mapped.
func (lu *LogicalUnit) extent(ctx context.Context, s span) (count uint64, mapped bool, err error) {
	reader, ok := lu.device.(ExtentReader)
	if !ok {
		return s.count, true, nil
	}
	for range maximumExtents {
		length, m, err := reader.NextExtent(ctx, lu.offset(s.lba+count))
		if err != nil {
			return 0, false, err
		}
		n := uint64(max(length, 0)) >> lu.shift
		if n == 0 { // the extent ends within this block
			n, m = 1, true
		}
		if count > 0 && !m {
			break
		}
		mapped = m
		count = min(count+n, s.count)
		if !m || n > 1 || count == s.count { // else what follows may belong to it
			break
		}
	}
	return count, mapped, nil
}
