package scsi

import (
	"context"
	"encoding/binary"
)

// unmap is UNMAP, SBC-3 section 5.27. What it unmaps reads as zeros. All descriptors are checked before the
// first is done, so that a bad list changes nothing.
func unmap(ctx context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	if c.CDB[1]&0x01 != 0 { // ANCHOR
		return badField(1, 0)
	}
	length := int(binary.BigEndian.Uint16(c.CDB[7:]))
	if length == 0 {
		return good
	}
	list, ok := c.parameters(length)
	if !ok || length < 8 {
		return illegal(ParameterListLengthError)
	}
	size := int(binary.BigEndian.Uint16(list[2:])) // of the block descriptors
	if size > length-8 {
		return illegal(ParameterListLengthError)
	}
	descriptors := list[8 : 8+size&^15] // what does not make a whole descriptor is ignored
	if len(descriptors)/16 > int(lu.cfg.Limits.UnmapDescriptors) {
		return badParameter(2, wholeByte)
	}
	blocks := lu.blocks.Load()
	var sum uint64
	for at := 0; at < len(descriptors); at += 16 {
		s := descriptorSpan(descriptors[at:])
		if !s.within(blocks) {
			return illegal(BlockOutOfRange).withInfo(s.lba)
		}
		if sum += s.count; sum > uint64(lu.cfg.Limits.UnmapBlocks) {
			return badParameter(8+at+8, wholeByte)
		}
	}
	for at := 0; at < len(descriptors); at += 16 {
		if a := lu.zero(ctx, descriptorSpan(descriptors[at:]), true); a.status != StatusGood {
			return a
		}
	}
	if lu.is(stateWriteThrough) {
		return lu.flush(ctx)
	}
	return good
}

// descriptorSpan reads an UNMAP block descriptor.
func descriptorSpan(p []byte) span {
	return span{binary.BigEndian.Uint64(p), uint64(binary.BigEndian.Uint32(p[8:]))}
}
