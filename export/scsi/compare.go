package scsi

import "context"

// compareAndWrite is COMPARE AND WRITE, SBC-3 section 5.2: the data is first what must be there, and then what
// takes its place.
func compareAndWrite(ctx context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	if c.span.count > uint64(lu.cfg.Limits.CompareAndWrite) {
		return badField(13, wholeByte)
	}
	length := lu.bytes(c.span.count)
	if c.Expected != 2*length || c.offered() < 2*length {
		return badField(13, wholeByte) // half of the data would be compared with the wrong blocks
	}
	if length == 0 {
		return good
	}
	a := lu.exchange(ctx, c, length)
	if a.status != StatusGood {
		return a
	}
	return lu.settle(ctx, c)
}

// exchange compares and writes while nobody else writes there.
func (lu *LogicalUnit) exchange(ctx context.Context, c *Command, length int64) answer {
	off := lu.offset(c.span.lba)
	set := lu.regions.set(off, length)
	lu.regions.own(set)
	defer lu.regions.disown(set)

	data := &pieces{rest: c.Out}
	a := lu.walk(ctx, c.span, func(lba uint64, p []byte) answer {
		if same := data.mismatch(p); same < len(p) {
			return check(Miscompare, MiscompareDuringVerify).withInfo(uint64(lu.bytes(lba-c.span.lba)) + uint64(same))
		}
		return good
	})
	if a.status != StatusGood {
		return a
	}
	for length > 0 {
		piece := data.next(int(length))
		if n, err := lu.device.WriteAt(piece, off); err != nil {
			return lu.writeError(err, uint64(off+int64(n))>>lu.shift)
		}
		off += int64(len(piece))
		length -= int64(len(piece))
	}
	return good
}

// orWrite is ORWRITE(16), SBC-3 section 5.7.
func orWrite(ctx context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	length, a := lu.arrived(c, lu.bytes(c.span.count))
	if a.status != StatusGood {
		return a
	}
	if a := lu.or(ctx, c, length); a.status != StatusGood {
		return a
	}
	return lu.settle(ctx, c)
}

func (lu *LogicalUnit) or(ctx context.Context, c *Command, length int64) answer {
	off := lu.offset(c.span.lba)
	set := lu.regions.set(off, length)
	lu.regions.own(set)
	defer lu.regions.disown(set)

	data := &pieces{rest: c.Out}
	s := span{c.span.lba, uint64(length) >> lu.shift}
	return lu.walk(ctx, s, func(lba uint64, p []byte) answer {
		for at := 0; at < len(p); {
			q := data.next(len(p) - at)
			for i := range q {
				p[at+i] |= q[i]
			}
			at += len(q)
		}
		if n, err := lu.device.WriteAt(p, lu.offset(lba)); err != nil {
			return lu.writeError(err, lba+uint64(n)>>lu.shift)
		}
		return good
	})
}
