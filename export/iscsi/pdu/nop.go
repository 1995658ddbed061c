package pdu

// NOPOut is a ping of the initiator, or its answer to one of the target; section 11.18.
type NOPOut struct {
	Immediate         bool
	TotalAHSLength    int
	DataSegmentLength int    // bytes of ping data, without padding; section 11.18.3
	LUN               uint64 // the NOP-In's, where TargetTransferTag is valid
	InitiatorTaskTag  uint32 // ReservedTag where no answer is wanted, and then Immediate; section 11.18.1
	TargetTransferTag uint32 // the NOP-In's that this answers, else ReservedTag; section 11.18.2
	CmdSN             SN
	ExpStatSN         SN
}

// Decode takes the fields out of h, whose opcode is OpNOPOut.
func (n *NOPOut) Decode(h *BHS) {
	n.Immediate = h.Immediate()
	n.TotalAHSLength, n.DataSegmentLength = h.TotalAHSLength(), h.DataSegmentLength()
	n.LUN, n.InitiatorTaskTag, n.TargetTransferTag = h.LUN(), h.InitiatorTaskTag(), h.TargetTransferTag()
	n.CmdSN, n.ExpStatSN = h.CmdSN(), h.ExpStatSN()
}

// Encode makes h the header of n.
func (n *NOPOut) Encode(h *BHS) {
	h.begin(OpNOPOut, n.Immediate, flagFinal, n.TotalAHSLength, n.DataSegmentLength)
	h.put64(8, n.LUN)
	h.put32(16, n.InitiatorTaskTag)
	h.put32(20, n.TargetTransferTag)
	h.put32(24, uint32(n.CmdSN))
	h.put32(28, uint32(n.ExpStatSN))
}

// NOPIn is a ping of the target, or its answer to one of the initiator; section 11.19.
type NOPIn struct {
	DataSegmentLength int    // bytes of the ping data that came back, without padding
	LUN               uint64 // valid where TargetTransferTag is; section 11.19.3
	InitiatorTaskTag  uint32 // the NOP-Out's that this answers, else ReservedTag
	TargetTransferTag uint32 // ReservedTag unless an answer is wanted; section 11.19.1
	TargetSN                 // StatSN is the next one and not advanced where InitiatorTaskTag is ReservedTag; section 11.19.2
}

// Decode takes the fields out of h, whose opcode is OpNOPIn.
func (n *NOPIn) Decode(h *BHS) {
	n.DataSegmentLength = h.DataSegmentLength()
	n.LUN, n.InitiatorTaskTag, n.TargetTransferTag = h.LUN(), h.InitiatorTaskTag(), h.TargetTransferTag()
	n.decodeSN(h)
}

// Encode makes h the header of n.
func (n *NOPIn) Encode(h *BHS) {
	h.begin(OpNOPIn, false, flagFinal, 0, n.DataSegmentLength)
	h.put64(8, n.LUN)
	h.put32(16, n.InitiatorTaskTag)
	h.put32(20, n.TargetTransferTag)
	n.encodeSN(h)
}
