package scsi

import "context"

// write is WRITE, SBC-3 sections 5.32 to 5.35.
func write(ctx context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	length, a := lu.arrived(c, lu.bytes(c.span.count))
	if a.status != StatusGood {
		return a
	}
	if a := lu.store(c, length); a.status != StatusGood {
		return a
	}
	return lu.settle(ctx, c)
}

// arrived returns how many of the wanted bytes the initiator sent. SAM-5 leaves open what a write does whose
// initiator announced less than the CDB says: whole blocks are written, the residual tells it how many; a
// part of a block is refused, and nothing written.
func (lu *LogicalUnit) arrived(c *Command, wanted int64) (int64, answer) {
	got := c.offered()
	if got >= wanted {
		return wanted, good
	}
	if got&(lu.bytes(1)-1) != 0 {
		return 0, illegal(InvalidInformationUnit)
	}
	return got, good
}

// store writes the first length bytes of the data to the span.
func (lu *LogicalUnit) store(c *Command, length int64) answer {
	off := lu.offset(c.span.lba)
	set := lu.regions.set(off, length)
	lu.regions.share(set)
	defer lu.regions.unshare(set)
	return lu.put(c.Out, off, length)
}

// put writes the first length bytes of pieces at off. The regions are locked.
func (lu *LogicalUnit) put(out [][]byte, off, length int64) answer {
	if lu.vector != nil && len(out) > 1 && total(out) == length {
		if n, err := lu.vector.WriteVectorAt(out, off); err != nil {
			return lu.writeError(err, uint64(off+int64(n))>>lu.shift)
		}
		return good
	}
	for _, piece := range out {
		piece = piece[:min(int64(len(piece)), length)]
		if len(piece) == 0 {
			continue
		}
		if n, err := lu.device.WriteAt(piece, off); err != nil {
			return lu.writeError(err, uint64(off+int64(n))>>lu.shift)
		}
		off += int64(len(piece))
		length -= int64(len(piece))
	}
	return good
}

func total(out [][]byte) int64 {
	var n int64
	for _, piece := range out {
		n += int64(len(piece))
	}
	return n
}

// settle puts on stable storage what FUA, or a write cache that is switched off, wants there.
func (lu *LogicalUnit) settle(ctx context.Context, c *Command) answer {
	if !lu.is(stateWriteThrough) && !forcesUnitAccess(c.operation, &c.CDB) {
		return good
	}
	return lu.flush(ctx)
}

func (lu *LogicalUnit) flush(ctx context.Context) answer {
	if err := lu.device.Flush(ctx); err != nil {
		return lu.flushError(err)
	}
	return good
}

// writeAndVerify is WRITE AND VERIFY, SBC-3 sections 5.36 to 5.38. With BYTCHK it compares what it reads back.
func writeAndVerify(ctx context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	compare := byteCheck(&c.CDB)
	if compare > compareAll {
		return badField(1, 2)
	}
	length, a := lu.arrived(c, lu.bytes(c.span.count))
	if a.status != StatusGood {
		return a
	}
	off := lu.offset(c.span.lba)
	set := lu.regions.set(off, length)
	lu.regions.own(set) // else another write in between would be taken for a bad medium
	defer lu.regions.disown(set)
	if a := lu.put(c.Out, off, length); a.status != StatusGood {
		return a
	}
	if a := lu.flush(ctx); a.status != StatusGood { // to verify is to have it on the medium
		return a
	}
	s := span{c.span.lba, uint64(length) >> lu.shift}
	if compare == compareAll {
		return lu.compare(ctx, s, &pieces{rest: c.Out})
	}
	return lu.scan(ctx, s)
}
