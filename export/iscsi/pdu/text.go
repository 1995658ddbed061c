package pdu

// Text is a Text Request; section 11.10.
type Text struct {
	Immediate         bool
	Final             bool // F: the initiator has no more to say; section 11.10.1
	Continue          bool // C: the text goes on in the next request, and Final is 0; section 11.10.2
	TotalAHSLength    int
	DataSegmentLength int // bytes, without padding
	LUN               uint64
	InitiatorTaskTag  uint32 // the same in all requests of a negotiation; section 11.10.3
	TargetTransferTag uint32 // the last response's, or ReservedTag to begin anew; section 11.10.4
	CmdSN             SN
	ExpStatSN         SN
}

// Decode takes the fields out of h, whose opcode is OpText.
func (t *Text) Decode(h *BHS) {
	t.Immediate, t.Final, t.Continue = h.Immediate(), h.Final(), h[1]&flagContinue != 0
	t.TotalAHSLength, t.DataSegmentLength = h.TotalAHSLength(), h.DataSegmentLength()
	t.LUN, t.InitiatorTaskTag, t.TargetTransferTag = h.LUN(), h.InitiatorTaskTag(), h.TargetTransferTag()
	t.CmdSN, t.ExpStatSN = h.CmdSN(), h.ExpStatSN()
}

// Encode makes h the header of t.
func (t *Text) Encode(h *BHS) {
	h.begin(OpText, t.Immediate, bit(t.Final, flagFinal)|bit(t.Continue, flagContinue), t.TotalAHSLength, t.DataSegmentLength)
	h.put64(8, t.LUN)
	h.put32(16, t.InitiatorTaskTag)
	h.put32(20, t.TargetTransferTag)
	h.put32(24, uint32(t.CmdSN))
	h.put32(28, uint32(t.ExpStatSN))
}

// TextResponse answers a Text Request; section 11.11.
type TextResponse struct {
	Final             bool // F: the negotiation is over; section 11.11.1
	Continue          bool // C: the text goes on in the next response, and Final is 0; section 11.11.2
	DataSegmentLength int  // bytes, without padding
	LUN               uint64
	InitiatorTaskTag  uint32
	TargetTransferTag uint32 // ReservedTag where Final, else what the next request is to bear; section 11.11.4
	TargetSN                 // StatSN, ExpCmdSN, MaxCmdSN
}

// Decode takes the fields out of h, whose opcode is OpTextResponse.
func (t *TextResponse) Decode(h *BHS) {
	t.Final, t.Continue, t.DataSegmentLength = h.Final(), h[1]&flagContinue != 0, h.DataSegmentLength()
	t.LUN, t.InitiatorTaskTag, t.TargetTransferTag = h.LUN(), h.InitiatorTaskTag(), h.TargetTransferTag()
	t.decodeSN(h)
}

// Encode makes h the header of t.
func (t *TextResponse) Encode(h *BHS) {
	h.begin(OpTextResponse, false, bit(t.Final, flagFinal)|bit(t.Continue, flagContinue), 0, t.DataSegmentLength)
	h.put64(8, t.LUN)
	h.put32(16, t.InitiatorTaskTag)
	h.put32(20, t.TargetTransferTag)
	t.encodeSN(h)
}
