package scsi

import "context"

// byteChecking is BYTCHK, SBC-3 section 5.28.
type byteChecking uint8

const (
	checkMedium byteChecking = 0 // the blocks can be read
	compareAll  byteChecking = 1 // and are equal to the data
	reservedChk byteChecking = 2
	compareOne  byteChecking = 3 // and are each equal to the one block of data
)

func byteCheck(cdb *[16]byte) byteChecking { return byteChecking(cdb[1] >> 1 & 3) }

// verify is VERIFY, SBC-3 sections 5.28 to 5.31.
func verify(ctx context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	switch byteCheck(&c.CDB) {
	case checkMedium:
		return lu.scan(ctx, c.span)
	case compareAll:
		length, a := lu.arrived(c, lu.bytes(c.span.count))
		if a.status != StatusGood {
			return a
		}
		return lu.compare(ctx, span{c.span.lba, uint64(length) >> lu.shift}, &pieces{rest: c.Out})
	case compareOne:
		block, ok := c.parameters(lu.cfg.BlockSize)
		if !ok {
			return illegal(InvalidInformationUnit)
		}
		return lu.compareEach(ctx, c.span, block)
	case reservedChk:
	}
	return badField(1, 2)
}

// scan reads blocks to see that they can be read.
func (lu *LogicalUnit) scan(ctx context.Context, s span) answer {
	return lu.walk(ctx, s, func(uint64, []byte) answer { return good })
}

// compare compares blocks with data. The INFORMATION field says which block differs.
func (lu *LogicalUnit) compare(ctx context.Context, s span, data *pieces) answer {
	return lu.walk(ctx, s, func(lba uint64, p []byte) answer {
		if same := data.mismatch(p); same < len(p) {
			return check(Miscompare, MiscompareDuringVerify).withInfo(lba + uint64(same)>>lu.shift)
		}
		return good
	})
}

// compareEach compares every block with one.
func (lu *LogicalUnit) compareEach(ctx context.Context, s span, block []byte) answer {
	return lu.walk(ctx, s, func(lba uint64, p []byte) answer {
		for at := 0; at < len(p); at += len(block) {
			if string(p[at:at+len(block)]) != string(block) {
				return check(Miscompare, MiscompareDuringVerify).withInfo(lba + uint64(at)>>lu.shift)
			}
		}
		return good
	})
}

// walk reads blocks chunk by chunk, and gives each chunk to visit with the address of its first block.
func (lu *LogicalUnit) walk(ctx context.Context, s span, visit func(lba uint64, p []byte) answer) answer {
	chunk := getChunk()
	defer putChunk(chunk)
	for s.count > 0 {
		if ctx.Err() != nil {
			return aborted
		}
		count := min(s.count, chunkSize>>lu.shift)
		p := chunk[:lu.bytes(count)]
		if n, err := lu.readAt(p, lu.offset(s.lba)); err != nil {
			return lu.readError(err, s.lba+uint64(n)>>lu.shift)
		}
		if a := visit(s.lba, p); a.status != StatusGood {
			return a
		}
		s.lba, s.count = s.lba+count, s.count-count
	}
	return good
}
