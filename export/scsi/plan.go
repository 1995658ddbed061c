package scsi

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
	// Stable says that a KindWrite does not end before what it writes is on stable storage.
	Stable bool
	// Changes says that the command changes the medium or what the unit keeps about it: who may send it is
	// more than a question of reading. An EXTENDED COPY is asked that of each of its segments, by NexusConfig.Visit.
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
	if op.kind == KindWrite {
		p.Stable = forcesUnitAccess(op, cdb) || lu.is(stateWriteThrough)
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
