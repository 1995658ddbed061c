package scsi

import (
	"context"
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
