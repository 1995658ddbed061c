package pdu

// SNACKType is what a SNACK Request asks for; section 11.16.1.
type SNACKType uint8

// The types.
const (
	SNACKData    SNACKType = 0 // Data/R2T SNACK
	SNACKStatus  SNACKType = 1
	SNACKDataACK SNACKType = 2
	SNACKRData   SNACKType = 3 // R-Data SNACK
)

// SNACK is a SNACK Request, which only ErrorRecoveryLevel 1 and above has; section 11.16.
type SNACK struct {
	Type              SNACKType
	TotalAHSLength    int
	DataSegmentLength int
	LUN               uint64
	InitiatorTaskTag  uint32 // section 11.16.4
	TargetTransferTag uint32 // or SNACK Tag; section 11.16.5
	ExpStatSN         SN
	BegRun            SN     // the first number that is missing; section 11.16.6
	RunLength         uint32 // how many are missing, 0 for all from BegRun on; section 11.16.7
}

// Decode takes the fields out of h, whose opcode is OpSNACK.
func (s *SNACK) Decode(h *BHS) {
	s.Type = SNACKType(h[1] & 0x0f)
	s.TotalAHSLength, s.DataSegmentLength = h.TotalAHSLength(), h.DataSegmentLength()
	s.LUN, s.InitiatorTaskTag, s.TargetTransferTag = h.LUN(), h.InitiatorTaskTag(), h.TargetTransferTag()
	s.ExpStatSN, s.BegRun, s.RunLength = h.ExpStatSN(), SN(h.get32(40)), h.get32(44)
}

// Encode makes h the header of s.
func (s *SNACK) Encode(h *BHS) {
	h.begin(OpSNACK, false, flagFinal|byte(s.Type)&0x0f, s.TotalAHSLength, s.DataSegmentLength)
	h.put64(8, s.LUN)
	h.put32(16, s.InitiatorTaskTag)
	h.put32(20, s.TargetTransferTag)
	h.put32(28, uint32(s.ExpStatSN))
	h.put32(40, uint32(s.BegRun))
	h.put32(44, s.RunLength)
}
