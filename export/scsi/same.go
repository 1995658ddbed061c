package scsi

import (
	"bytes"
	"context"
)

// writeSame is WRITE SAME(10) and (16), SBC-3 sections 5.44 and 5.45.
func writeSame(ctx context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	unmap := c.CDB[1]&0x08 != 0
	noData := c.operation.form == blocks16 && c.CDB[1]&0x01 != 0
	switch {
	case c.CDB[1]&0x10 != 0: // ANCHOR: ANC_SUP is zero
		return badField(1, 4)
	case unmap && lu.features&featureThin == 0:
		return badField(1, 3)
	case c.CDB[1]&0x06 != 0: // PBDATA and LBDATA are obsolete
		return badField(1, 2)
	}
	s := c.span
	if s.count == 0 { // WSNZ is zero: to the end of the medium
		s.count = lu.blocks.Load() - min(s.lba, lu.blocks.Load())
	}
	if s.count > uint64(lu.cfg.Limits.WriteSameLength) {
		return badField(c.operation.form.lengthField(), wholeByte)
	}
	var block []byte
	if !noData {
		// A transfer of anything but one block is the initiator's mistake, except that some send none with
		// UNMAP: the blocks read as zeros then, which is what those mean.
		if c.Expected != lu.bytes(1) && (!unmap || c.Expected != 0) {
			return illegal(InvalidInformationUnit)
		}
		if c.Expected != 0 {
			var ok bool
			if block, ok = c.parameters(lu.cfg.BlockSize); !ok {
				return illegal(InvalidInformationUnit)
			}
		}
	}
	if unmap || len(bytes.TrimLeft(block, "\x00")) == 0 {
		// Zeros are what unmapped blocks read as: LBPRZ. On a thin unit they take no storage. With UNMAP the
		// block should be zeros, and if not SBC-3 section 4.7.3.4.3 wants it written; LIO and tgt unmap all
		// the same, and libiscsi's test suite has made that the rule.
		if a := lu.zero(ctx, s, unmap || lu.cfg.Thin); a.status != StatusGood {
			return a
		}
	} else if a := lu.fill(ctx, s, block); a.status != StatusGood {
		return a
	}
	if lu.is(stateWriteThrough) {
		return lu.flush(ctx)
	}
	return good
}

// zeroStretch is how much is zeroed at a time: aborting a command has to wait for no more.
const zeroStretch = 1 << 30

// zero makes blocks read as zeros.
func (lu *LogicalUnit) zero(ctx context.Context, s span, unmap bool) answer {
	for s.count > 0 {
		if ctx.Err() != nil {
			return aborted
		}
		count := min(s.count, zeroStretch>>lu.shift)
		off, length := lu.offset(s.lba), lu.bytes(count)
		set := lu.regions.set(off, length)
		lu.regions.share(set)
		err := lu.device.WriteZeroes(off, length, unmap)
		lu.regions.unshare(set)
		if err != nil {
			return lu.writeError(err, s.lba)
		}
		s.lba, s.count = s.lba+count, s.count-count
	}
	return good
}

// fill writes the same block all over.
func (lu *LogicalUnit) fill(ctx context.Context, s span, block []byte) answer {
	chunk := getChunk()
	defer putChunk(chunk)
	stretch := chunk[:min(chunkSize, lu.bytes(min(s.count, chunkSize)))]
	for at := 0; at < len(stretch); at += len(block) {
		copy(stretch[at:], block)
	}
	for s.count > 0 {
		if ctx.Err() != nil {
			return aborted
		}
		count := min(s.count, chunkSize>>lu.shift)
		off, length := lu.offset(s.lba), lu.bytes(count)
		set := lu.regions.set(off, length)
		lu.regions.share(set)
		n, err := lu.device.WriteAt(stretch[:length], off)
		lu.regions.unshare(set)
		if err != nil {
			return lu.writeError(err, s.lba+uint64(n)>>lu.shift)
		}
		s.lba, s.count = s.lba+count, s.count-count
	}
	return good
}
