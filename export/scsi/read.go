package scsi

import "context"

// read is READ, SBC-3 sections 5.10 to 5.13. DPO is a hint on a cache that is not ours.
func read(ctx context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	if forcesUnitAccess(c.operation, &c.CDB) && !lu.cfg.ReadOnly {
		// What is read must be on the medium: SBC-3 table 43.
		if err := lu.device.Flush(ctx); err != nil {
			return lu.flushError(err)
		}
	}
	length := lu.bytes(c.span.count)
	c.Transfer = length
	p := c.In[:min(int64(len(c.In)), length)]
	if n, err := lu.readAt(p, lu.offset(c.span.lba)); err != nil {
		return lu.readError(err, c.span.lba+uint64(n)>>lu.shift)
	}
	c.Received = len(p)
	return good
}

// readAt reads from the medium, whose last block on a CD-ROM may be longer than the Device.
func (lu *LogicalUnit) readAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if lu.cfg.CDROM {
		if there := lu.device.Size() - off; there < int64(len(p)) {
			there = max(there, 0)
			clear(p[there:])
			p = p[:there]
			if len(p) == 0 {
				return 0, nil
			}
		}
	}
	return lu.device.ReadAt(p, off)
}
