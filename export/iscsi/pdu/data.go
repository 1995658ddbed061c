package pdu

// DataOut carries data of a write; section 11.7.
type DataOut struct {
	Final             bool   // the last PDU of a sequence: of unsolicited data, or of what one R2T asked for
	DataSegmentLength int    // bytes, without padding; section 11.7.7
	LUN               uint64 // as the R2T had it; reserved in unsolicited data
	InitiatorTaskTag  uint32
	TargetTransferTag uint32 // the R2T's, or ReservedTag in unsolicited data; section 11.7.4
	ExpStatSN         SN
	DataSN            SN     // from 0 in each sequence; section 11.7.5
	BufferOffset      uint32 // bytes from the start of the command's data; section 11.7.6
}

// Decode takes the fields out of h, whose opcode is OpDataOut.
func (d *DataOut) Decode(h *BHS) {
	d.Final, d.DataSegmentLength = h.Final(), h.DataSegmentLength()
	d.LUN, d.InitiatorTaskTag, d.TargetTransferTag = h.LUN(), h.InitiatorTaskTag(), h.TargetTransferTag()
	d.ExpStatSN, d.DataSN, d.BufferOffset = h.ExpStatSN(), SN(h.get32(36)), h.get32(40)
}

// Encode makes h the header of d.
func (d *DataOut) Encode(h *BHS) {
	h.begin(OpDataOut, false, bit(d.Final, flagFinal), 0, d.DataSegmentLength)
	h.put64(8, d.LUN)
	h.put32(16, d.InitiatorTaskTag)
	h.put32(20, d.TargetTransferTag)
	h.put32(28, uint32(d.ExpStatSN))
	h.put32(36, uint32(d.DataSN))
	h.put32(40, d.BufferOffset)
}

const (
	flagAcknowledge = 0x40
	flagStatus      = 0x01
)

// DataIn carries data of a read, and in the last one perhaps the command's end; section 11.7.
type DataIn struct {
	Final             bool   // the last PDU of a sequence of at most MaxBurstLength; section 11.7.1
	Acknowledge       bool   // A: asks for a DataACK, at ErrorRecoveryLevel 1 and above; section 11.7.2
	Overflow          bool   // O; section 11.7.3
	Underflow         bool   // U
	HasStatus         bool   // S: Status, StatSN and ResidualCount are valid, and no SCSI Response follows
	Status            uint8  // where HasStatus; never one that brings sense data
	DataSegmentLength int    // bytes, without padding; section 11.7.7
	LUN               uint64 // valid where TargetTransferTag is
	InitiatorTaskTag  uint32
	TargetTransferTag uint32 // ReservedTag but where Acknowledge
	TargetSN                 // StatSN is reserved unless HasStatus
	DataSN            SN     // from 0 in each command; section 11.7.5
	BufferOffset      uint32 // bytes from the start of the command's data; section 11.7.6
	ResidualCount     uint32 // bytes, where HasStatus
}

// Decode takes the fields out of h, whose opcode is OpDataIn.
func (d *DataIn) Decode(h *BHS) {
	d.Final, d.Acknowledge = h.Final(), h[1]&flagAcknowledge != 0
	d.Overflow, d.Underflow, d.HasStatus = h[1]&flagOverflow != 0, h[1]&flagUnderflow != 0, h[1]&flagStatus != 0
	d.Status, d.DataSegmentLength = h[3], h.DataSegmentLength()
	d.LUN, d.InitiatorTaskTag, d.TargetTransferTag = h.LUN(), h.InitiatorTaskTag(), h.TargetTransferTag()
	d.decodeSN(h)
	d.DataSN, d.BufferOffset, d.ResidualCount = SN(h.get32(36)), h.get32(40), h.get32(44)
}

// Encode makes h the header of d.
func (d *DataIn) Encode(h *BHS) {
	flags := bit(d.Final, flagFinal) | bit(d.Acknowledge, flagAcknowledge) | bit(d.Overflow, flagOverflow) |
		bit(d.Underflow, flagUnderflow) | bit(d.HasStatus, flagStatus)
	h.begin(OpDataIn, false, flags, 0, d.DataSegmentLength)
	h[3] = d.Status
	h.put64(8, d.LUN)
	h.put32(16, d.InitiatorTaskTag)
	h.put32(20, d.TargetTransferTag)
	d.encodeSN(h)
	h.put32(36, uint32(d.DataSN))
	h.put32(40, d.BufferOffset)
	h.put32(44, d.ResidualCount)
}
