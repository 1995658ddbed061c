package scsi

import (
	"context"
	"errors"
)

// copyBlocks copies length bytes, by the Device where it can, through memory where not. What is not mapped at
// the source is not written.
func copyBlocks(ctx context.Context, source, destination *LogicalUnit, from, to span, length int64) answer {
	sourceOffset, offset := source.offset(from.lba), destination.offset(to.lba)
	backwards := source == destination && offset > sourceOffset && offset < sourceOffset+length
	if copier, ok := destination.device.(RangeCopier); ok && !backwards {
		set := destination.regions.set(offset, length)
		destination.regions.share(set)
		n, err := copier.CopyRange(ctx, source.device, sourceOffset, offset, length)
		destination.regions.unshare(set)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return destination.writeError(err, uint64(offset+n)>>destination.shift)
		}
		if err == nil {
			return good
		}
		sourceOffset, offset, length = sourceOffset+n, offset+n, length-n
	}
	chunk := getChunk()
	defer putChunk(chunk)
	for length > 0 {
		if ctx.Err() != nil {
			return aborted
		}
		size := min(length, chunkSize)
		at := int64(0)
		if backwards { // the ranges overlap: what is still to be read must not be written
			at = length - size
		}
		if a := copyChunk(ctx, source, destination, sourceOffset+at, offset+at, chunk[:size]); a.status != StatusGood {
			return a
		}
		length -= size
		if !backwards {
			sourceOffset, offset = sourceOffset+size, offset+size
		}
	}
	return good
}

// copyChunk copies as many bytes as p has.
func copyChunk(ctx context.Context, source, destination *LogicalUnit, from, to int64, p []byte) answer {
	lba := uint64(from) >> source.shift
	blocks := uint64(len(p)) >> source.shift
	count, mapped, err := source.extent(ctx, span{lba, blocks})
	if err != nil {
		return source.readError(err, lba)
	}
	if !mapped && count == blocks {
		return destination.zero(ctx, span{uint64(to) >> destination.shift, uint64(len(p)) >> destination.shift}, destination.cfg.Thin)
	}
	if n, err := source.readAt(p, from); err != nil {
		return source.readError(err, uint64(from+int64(n))>>source.shift)
	}
	set := destination.regions.set(to, int64(len(p)))
	destination.regions.share(set)
	defer destination.regions.unshare(set)
	if n, err := destination.device.WriteAt(p, to); err != nil {
		return destination.writeError(err, uint64(to+int64(n))>>destination.shift)
	}
	return good
}
