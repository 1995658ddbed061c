package scsi

import (
	"context"
	"slices"
)

// copyRequest is an EXTENDED COPY whose descriptors were read.
type copyRequest struct {
	nexus    *Nexus // that it came through
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
		return n.mayCopy()
	}
	data, ok := c.parameters(length)
	if !ok {
		return illegal(ParameterListLengthError)
	}
	list, a := parseCopyList(data)
	if a.status != StatusGood {
		return a
	}
	r := &copyRequest{nexus: n, list: list, targets: make([]copyTarget, len(list.targets)), progress: copyResult{id: list.id}}
	if list.keep {
		n.keepCopy(r.progress)
	}
	a = r.run(ctx)
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
func (r *copyRequest) run(ctx context.Context) answer {
	if len(r.list.segments) == 0 {
		return r.nexus.mayCopy()
	}
	for i := range r.list.segments {
		s := &r.list.segments[i]
		source, a := r.target(s.source)
		if a.status == StatusGood {
			var destination *Nexus
			if destination, a = r.target(s.destination); a.status == StatusGood {
				a = r.visit(ctx, s, source, destination)
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
func (r *copyRequest) target(index uint16) (*Nexus, answer) {
	if int(index) >= len(r.targets) {
		return nil, check(CopyAborted, UnreachableCopyTarget)
	}
	t := &r.targets[index]
	if !t.known {
		t.known = true
		t.nexus = r.nexus.copyTarget(r.list.targets[index].designator)
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
	if n.cfg.CopyTarget == nil {
		return nil
	}
	return n.cfg.CopyTarget(d)
}

// visit copies a segment as commands would that came through the nexuses of its two ends, with what those have to wait for and to ask.
func (r *copyRequest) visit(ctx context.Context, s *copySegment, from, to *Nexus) answer {
	source, destination := from.unit, to.unit
	length := source.bytes(uint64(s.count))
	if s.countsDestination {
		length = destination.bytes(uint64(s.count))
	}
	t := transfer{from: span{s.sourceLBA, uint64(length) >> source.shift}, to: span{s.destinationLBA, uint64(length) >> destination.shift}, length: length}
	if source.bytes(t.from.count) != length || destination.bytes(t.to.count) != length ||
		!t.from.within(source.blocks.Load()) || !t.to.within(destination.blocks.Load()) {
		return check(CopyAborted, NoAdditionalSense)
	}
	// First what may take long, while nothing is held.
	if from.pace(ctx, KindRead, length) != nil || to.pace(ctx, KindWrite, length) != nil {
		return aborted
	}
	reading, leave, ok := from.visit(ctx, KindRead)
	if !ok {
		return check(CopyAborted, CopyTargetNotReachable)
	}
	defer leave()
	writing, leave, ok := to.visit(reading, KindWrite)
	if !ok {
		return check(CopyAborted, CopyTargetNotReachable)
	}
	defer leave()
	a := r.segment(writing, t, from, to)
	if writing.Err() != nil && ctx.Err() == nil { // it was not this command that was aborted, but the tasks of an end
		return check(CopyAborted, CopyTargetNotReachable)
	}
	return a
}

// mayCopy says whether reservations let the command itself be: it conflicts as a write does, SPC-4 table 66.
func (n *Nexus) mayCopy() answer {
	if denial(n.denied.Load())&asWrite != 0 {
		return conflict
	}
	return good
}

func (n *Nexus) pace(ctx context.Context, kind Kind, bytes int64) error {
	if n.cfg.Pace == nil {
		return nil
	}
	return n.cfg.Pace(ctx, kind, bytes)
}

func (n *Nexus) visit(ctx context.Context, kind Kind) (visit context.Context, leave func(), ok bool) {
	if n.cfg.Visit == nil {
		return ctx, func() {}, true
	}
	return n.cfg.Visit(ctx, kind)
}

// transfer is what a segment moves.
type transfer struct {
	from, to span
	length   int64 // bytes
}

// segment copies one segment, if what the units and their reservations are allows that.
func (r *copyRequest) segment(ctx context.Context, t transfer, from, to *Nexus) answer {
	source, destination := from.unit, to.unit
	// Not before the visits: the gate of live migration may have moved the reservation just now.
	if a := r.nexus.mayCopy(); a.status != StatusGood {
		return a
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
	a := copyBlocks(ctx, source, destination, t.from, t.to, t.length)
	if a.status == StatusGood {
		r.progress.bytes += uint64(t.length)
		if destination.is(stateWriteThrough) {
			return destination.flush(ctx)
		}
	}
	return a
}
