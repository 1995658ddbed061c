package scsi

import (
	"context"
	"errors"
	"math"
	"slices"
)

// copyRequest is an EXTENDED COPY whose descriptors were read.
type copyRequest struct {
	list     copyList
	targets  []copyTarget
	progress copyResult
}

// copyTarget is the other end of a copy descriptor, once somebody asked for it.
type copyTarget struct {
	nexus *Nexus
	known bool
}

// extendedCopy is EXTENDED COPY(LID1), SPC-4 section 6.6. It runs to its end before it answers.
func extendedCopy(ctx context.Context, lu *LogicalUnit, n *Nexus, c *Command) answer {
	length := int(c.operation.length(&c.CDB))
	if length == 0 {
		return good
	}
	data, ok := c.parameters(length)
	if !ok {
		return illegal(ParameterListLengthError)
	}
	list, a := parseCopyList(data)
	if a.status != StatusGood {
		return a
	}
	r := &copyRequest{list: list, targets: make([]copyTarget, len(list.targets)), progress: copyResult{id: list.id}}
	if list.keep {
		n.keepCopy(r.progress)
	}
	a = r.run(ctx, n)
	r.progress.state = copyDone
	if a.status != StatusGood {
		r.progress.state = copyFailed
	}
	if list.keep {
		n.keepCopy(r.progress)
	}
	return a
}

// run copies the segments, one behind the other.
func (r *copyRequest) run(ctx context.Context, n *Nexus) answer {
	for i := range r.list.segments {
		s := &r.list.segments[i]
		source, a := r.target(n, s.source)
		if a.status == StatusGood {
			var destination *Nexus
			if destination, a = r.target(n, s.destination); a.status == StatusGood {
				a = r.segment(ctx, s, source, destination)
			}
		}
		if a.status == StatusCheckCondition {
			a = a.withInfo(uint64(i)) // which segment, SPC-4 section 5.17.7.4
		}
		if a.status != StatusGood {
			return a
		}
		r.progress.segments++
	}
	return good
}

// target returns the nexus through which the initiator may reach a copy target.
func (r *copyRequest) target(n *Nexus, index uint16) (*Nexus, answer) {
	if int(index) >= len(r.targets) {
		return nil, check(CopyAborted, UnreachableCopyTarget)
	}
	t := &r.targets[index]
	if !t.known {
		t.known = true
		t.nexus = n.copyTarget(r.list.targets[index].designator)
	}
	if t.nexus == nil || t.nexus.unit.cfg.BlockSize != r.list.targets[index].blockSize {
		return nil, check(CopyAborted, CopyTargetNotReachable)
	}
	return t.nexus, good
}

// copyTarget finds a unit by its name: the nexus' own, or another that it may reach.
func (n *Nexus) copyTarget(d Designator) *Nexus {
	if slices.Contains(n.unit.Designators(), d) {
		return n
	}
	if n.unit.cfg.CopyTarget == nil {
		return nil
	}
	return n.unit.cfg.CopyTarget(n, d)
}

// segment copies one segment.
func (r *copyRequest) segment(ctx context.Context, s *copySegment, from, to *Nexus) answer {
	source, destination := from.unit, to.unit
	length := source.bytes(uint64(s.count))
	if s.countsDestination {
		length = destination.bytes(uint64(s.count))
	}
	sourceSpan := span{s.sourceLBA, uint64(length) >> source.shift}
	destinationSpan := span{s.destinationLBA, uint64(length) >> destination.shift}
	if source.bytes(sourceSpan.count) != length || destination.bytes(destinationSpan.count) != length ||
		!sourceSpan.within(source.blocks.Load()) || !destinationSpan.within(destination.blocks.Load()) {
		return check(CopyAborted, NoAdditionalSense)
	}
	if denial(from.denied.Load())&asRead != 0 || denial(to.denied.Load())&asWrite != 0 {
		return conflict
	}
	const busy = stateEjected | stateSanitizing | stateSanitizeFailed
	if source.is(busy) || destination.is(busy) {
		return check(CopyAborted, CopyTargetNotReachable)
	}
	if a := destination.writeProtection(to); a.status != StatusGood {
		return a
	}
	a := copyBlocks(ctx, source, destination, sourceSpan, destinationSpan, length)
	if a.status == StatusGood {
		r.progress.bytes += uint64(length)
		if destination.is(stateWriteThrough) {
			return destination.flush(ctx)
		}
	}
	return a
}

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

// copyState is the copy manager status, SPC-4 table 250.
type copyState uint8

const (
	copyRunning copyState = 0
	copyDone    copyState = 1
	copyFailed  copyState = 2
)

// copyResult is what RECEIVE COPY STATUS tells of an EXTENDED COPY.
type copyResult struct {
	id       byte
	state    copyState
	segments uint16
	bytes    uint64
}

// keptCopies is how many results a nexus holds.
const keptCopies = 16

// keepCopy holds a result in the place of an older one with the same list identifier.
func (n *Nexus) keepCopy(r copyResult) {
	n.unit.mu.Lock()
	defer n.unit.mu.Unlock()
	for i := range n.copies {
		if n.copies[i].id == r.id {
			n.copies[i] = r
			return
		}
	}
	if len(n.copies) == keptCopies {
		n.copies = append(n.copies[:0], n.copies[1:]...)
	}
	n.copies = append(n.copies, r)
}

// transferCount returns a number of bytes as SPC-4 table 251 has it: in the smallest unit in which it fits.
func transferCount(bytes uint64) (unit byte, count uint32) {
	for bytes > math.MaxUint32 {
		bytes >>= 10
		unit++
	}
	return unit, uint32(bytes)
}
