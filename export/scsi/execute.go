package scsi

import (
	"context"
	"time"
)

// Plan is what can be told of a command by its CDB alone.
type Plan struct {
	Kind   Kind
	Offset int64 // of a KindRead or KindWrite: where on the medium it begins, in bytes
	Length int64 // and how many bytes it moves
	In     int64 // bytes that it gives to the initiator, at most
	Out    int64 // bytes that it takes from the initiator, at most
	// Direct says that the transport may read Length bytes at Offset of the Device itself, between Admit and
	// Finish.
	Direct bool
	// Changes says that the command changes the medium or what the unit keeps about it: who may send it is
	// more than a question of reading.
	Changes bool
}

const (
	maximumParameterIn  = 512 << 10 // no answer but blocks is longer
	maximumParameterOut = 64 << 10  // no parameter list may be longer
)

// Plan returns what a CDB will move. For a CDB that Admit refuses it is no more than a guess.
func (lu *LogicalUnit) Plan(cdb *[16]byte) Plan {
	op := lu.find(cdb)
	if op == nil {
		return Plan{}
	}
	s := op.form.decode(cdb)
	p := Plan{Kind: op.kind, Changes: op.is(changes | ordains)}
	n := lu.moves(op, cdb, s)
	if op.is(limited) && s.count > uint64(lu.cfg.Limits.TransferLength) {
		n = 0
	}
	switch op.data {
	case toInitiator:
		p.In = min(n, maximumParameterIn)
	case fromInitiator:
		p.Out = min(n, maximumParameterOut)
	case blocksIn:
		p.In = n
	case blocksOut, blocksVerify, oneBlock, blocksTwice:
		p.Out = n
	case noData:
	}
	if op.kind == KindRead || op.kind == KindWrite {
		p.Offset, p.Length = lu.offset(s.lba), n
	}
	if op.kind == KindRead {
		p.Direct = n > 0 && !forcesUnitAccess(op, cdb) && s.within(lu.blocks.Load()) &&
			p.Offset+n <= lu.device.Size()
	}
	return p
}

// moves returns how many bytes a command moves, by its CDB.
func (lu *LogicalUnit) moves(op *operation, cdb *[16]byte, s span) int64 {
	switch op.data {
	case toInitiator:
		if op.width == 0 {
			return int64(op.at) // a fixed length
		}
		return int64(op.length(cdb))
	case fromInitiator:
		return int64(op.length(cdb))
	case blocksIn, blocksOut:
		return lu.bytes(s.count)
	case blocksVerify:
		switch byteCheck(cdb) {
		case compareAll:
			return lu.bytes(s.count)
		case compareOne:
			return lu.bytes(1)
		case checkMedium, reservedChk:
		}
	case oneBlock:
		if op.form == blocks16 && cdb[1]&0x01 != 0 { // NDOB
			return 0
		}
		return lu.bytes(1)
	case blocksTwice:
		return lu.bytes(2 * s.count)
	case noData:
	}
	return 0
}

// forcesUnitAccess reports whether the CDB has FUA set. READ(6) and WRITE(6) have no such bit.
func forcesUnitAccess(op *operation, cdb *[16]byte) bool {
	return op.form != blocks6 && cdb[1]&0x08 != 0
}

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
