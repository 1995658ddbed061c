package pdu

// R2T is Ready To Transfer: it asks for a part of a write's data; section 11.8.
type R2T struct {
	LUN                       uint64
	InitiatorTaskTag          uint32
	TargetTransferTag         uint32 // what the Data-Out PDUs are to bear, never ReservedTag; section 11.8.5
	TargetSN                         // StatSN is the next one, and is not advanced; section 11.8.3
	R2TSN                     SN     // from 0 in each command; section 11.8.2
	BufferOffset              uint32 // bytes from the start of the command's data; section 11.8.4
	DesiredDataTransferLength uint32 // bytes, 1 to MaxBurstLength; section 11.8.4
}

// Decode takes the fields out of h, whose opcode is OpR2T.
func (r *R2T) Decode(h *BHS) {
	r.LUN, r.InitiatorTaskTag, r.TargetTransferTag = h.LUN(), h.InitiatorTaskTag(), h.TargetTransferTag()
	r.decodeSN(h)
	r.R2TSN, r.BufferOffset, r.DesiredDataTransferLength = SN(h.get32(36)), h.get32(40), h.get32(44)
}

// Encode makes h the header of r.
func (r *R2T) Encode(h *BHS) {
	h.begin(OpR2T, false, flagFinal, 0, 0)
	h.put64(8, r.LUN)
	h.put32(16, r.InitiatorTaskTag)
	h.put32(20, r.TargetTransferTag)
	r.encodeSN(h)
	h.put32(36, uint32(r.R2TSN))
	h.put32(40, r.BufferOffset)
	h.put32(44, r.DesiredDataTransferLength)
}
