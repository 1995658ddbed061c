package scsi

import (
	"context"
	"time"
)

// Admit decides whether a command may run, before its data is transferred. Where it returns false the
// command has ended, with the status and sense data that it has then. Execute looks again, since things may
// have changed.
func (lu *LogicalUnit) Admit(n *Nexus, c *Command) bool {
	c.reset()
	if lu.cfg.Counters != nil || n.cfg.Counters != nil {
		c.start = time.Now()
	}
	if a := lu.admit(n, c); a.status != StatusGood {
		lu.finish(n, c, a)
		return false
	}
	return true
}

// Execute runs a command to its end. A cancelled context ends it early with TASK ABORTED: a transport that
// aborts a task waits for Execute to return.
func (lu *LogicalUnit) Execute(ctx context.Context, n *Nexus, c *Command) {
	if !lu.Admit(n, c) {
		return
	}
	if ctx.Err() != nil {
		lu.finish(n, c, aborted)
		return
	}
	lu.finish(n, c, c.operation.run(ctx, lu, n, c))
}

// Finish ends a READ that Admit let through and whose data the transport read by itself: moved bytes that
// went to the initiator, and the error that ended that early.
func (lu *LogicalUnit) Finish(n *Nexus, c *Command, moved int64, err error) {
	if err != nil {
		lu.finish(n, c, lu.readError(err, c.span.lba+uint64(moved)>>lu.shift))
		return
	}
	c.Transfer = lu.bytes(c.span.count)
	c.end(good, false)
	lu.count(n, c, moved)
}

// admit finds the operation and checks all that does not need the data, in the order of SAM-5 section 5.3.3.
func (lu *LogicalUnit) admit(n *Nexus, c *Command) answer {
	op := lu.find(&c.CDB)
	c.operation = op
	if n.pending.Load() != 0 && (op == nil || !op.is(quiet)) {
		if code, ok := n.takeAttention(); ok {
			return check(UnitAttention, code)
		}
	}
	if op == nil {
		if lu.knowsCode(c.CDB[0]) {
			return badField(1, 4) // the service action
		}
		return illegal(InvalidOperationCode)
	}
	c.span = op.form.decode(&c.CDB)
	size := lu.moves(op, &c.CDB, c.span)
	if op.data != toInitiator && op.data != blocksIn {
		c.Transfer = size
	}
	if control := len(op.usage) - 1; c.CDB[control]&0x04 != 0 {
		return badField(control, 2) // NACA: ACA is not supported
	}
	if c.Attribute == ACA {
		return illegal(InvalidMessage)
	}
	if lu.is(stateSanitizing|stateSanitizeFailed) && !op.is(serves) {
		return lu.sanitizeAnswer()
	}
	if denial(n.denied.Load())&op.conflicts != 0 {
		return conflict
	}
	if op.is(needMedium) && lu.is(stateEjected) {
		return check(NotReady, MediumNotPresent)
	}
	if op.is(changes) {
		if a := lu.writeProtection(n); a.status != StatusGood {
			return a
		}
	}
	if op.is(protection) && c.CDB[1]&0xe0 != 0 {
		return badField(1, 7)
	}
	if op.data == fromInitiator && size > maximumParameterOut {
		return illegal(ParameterListLengthError)
	}
	if op.form == noBlocks {
		return good
	}
	if !c.span.within(lu.blocks.Load()) {
		return illegal(BlockOutOfRange)
	}
	if op.is(limited) && c.span.count > uint64(lu.cfg.Limits.TransferLength) &&
		(op.data != blocksVerify || byteCheck(&c.CDB) == compareAll) {
		return badField(op.form.lengthField(), wholeByte)
	}
	return good
}

// finish stores the answer and counts it.
func (lu *LogicalUnit) finish(n *Nexus, c *Command, a answer) {
	op := c.operation
	if a.status != StatusGood && op != nil && (op.data == toInitiator || op.data == blocksIn) {
		c.Transfer = 0
	}
	if a.status == StatusGood && op.kind != KindOther {
		lu.works()
	}
	c.end(a, lu.is(stateDescriptorSense))
	lu.count(n, c, 0)
}

// count tells the counters of a command that ended.
func (lu *LogicalUnit) count(n *Nexus, c *Command, direct int64) {
	if c.start.IsZero() {
		return
	}
	took := time.Since(c.start)
	c.start = time.Time{}
	kind, moved := KindOther, int64(0)
	if op := c.operation; op != nil {
		kind = op.kind
		if op.data == toInitiator || op.data == blocksIn {
			moved = int64(c.Received) + direct
		} else {
			moved = min(c.Transfer, c.offered())
		}
	}
	if lu.cfg.Counters != nil {
		lu.cfg.Counters.Count(kind, c.Status, moved, took)
	}
	if n.cfg.Counters != nil {
		n.cfg.Counters.Count(kind, c.Status, moved, took)
	}
}
