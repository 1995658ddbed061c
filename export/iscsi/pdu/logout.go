package pdu

// LogoutReason is what a Logout Request wants closed; section 11.14.1.
type LogoutReason uint8

// The reasons.
const (
	CloseSession     LogoutReason = 0
	CloseConnection  LogoutReason = 1
	RemoveConnection LogoutReason = 2 // for recovery, at ErrorRecoveryLevel 2
)

// Logout is a Logout Request; section 11.14.
type Logout struct {
	Immediate         bool
	Reason            LogoutReason
	TotalAHSLength    int // always 0; section 11.14.2
	DataSegmentLength int // always 0; section 11.14.2
	InitiatorTaskTag  uint32
	CID               uint16 // of the connection to close; reserved for CloseSession; section 11.14.3
	CmdSN             SN
	ExpStatSN         SN
}

// Decode takes the fields out of h, whose opcode is OpLogout.
func (l *Logout) Decode(h *BHS) {
	l.Immediate, l.Reason = h.Immediate(), LogoutReason(h[1]&0x7f)
	l.TotalAHSLength, l.DataSegmentLength = h.TotalAHSLength(), h.DataSegmentLength()
	l.InitiatorTaskTag, l.CID = h.InitiatorTaskTag(), h.get16(20)
	l.CmdSN, l.ExpStatSN = h.CmdSN(), h.ExpStatSN()
}

// Encode makes h the header of l.
func (l *Logout) Encode(h *BHS) {
	h.begin(OpLogout, l.Immediate, flagFinal|byte(l.Reason)&0x7f, l.TotalAHSLength, l.DataSegmentLength)
	h.put32(16, l.InitiatorTaskTag)
	h.put16(20, l.CID)
	h.put32(24, uint32(l.CmdSN))
	h.put32(28, uint32(l.ExpStatSN))
}

// LogoutResult is how a logout ended; section 11.15.1.
type LogoutResult uint8

// The results.
const (
	LogoutClosed               LogoutResult = 0
	LogoutCIDNotFound          LogoutResult = 1
	LogoutRecoveryNotSupported LogoutResult = 2
	LogoutCleanupFailed        LogoutResult = 3
)

// LogoutResponse answers a Logout Request; section 11.15.
type LogoutResponse struct {
	Response         LogoutResult
	InitiatorTaskTag uint32
	TargetSN                // StatSN, ExpCmdSN, MaxCmdSN
	Time2Wait        uint16 // seconds before connections and tasks may be reassigned; section 11.15.3
	Time2Retain      uint16 // seconds after that in which they may; section 11.15.4
}

// Decode takes the fields out of h, whose opcode is OpLogoutResponse.
func (l *LogoutResponse) Decode(h *BHS) {
	l.Response, l.InitiatorTaskTag = LogoutResult(h[2]), h.InitiatorTaskTag()
	l.decodeSN(h)
	l.Time2Wait, l.Time2Retain = h.get16(40), h.get16(42)
}

// Encode makes h the header of l.
func (l *LogoutResponse) Encode(h *BHS) {
	h.begin(OpLogoutResponse, false, flagFinal, 0, 0)
	h[2] = byte(l.Response)
	h.put32(16, l.InitiatorTaskTag)
	l.encodeSN(h)
	h.put16(40, l.Time2Wait)
	h.put16(42, l.Time2Retain)
}
