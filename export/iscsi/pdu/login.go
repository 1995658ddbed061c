package pdu

import "fmt"

// Version is the only version of the protocol: RFC 7143's and RFC 3720's; section 11.12.4.
const Version = 0x00

// Stage is a stage of the login phase, or what follows it; section 11.12.3. The value 2 is reserved.
type Stage uint8

// The stages.
const (
	SecurityNegotiation    Stage = 0
	OperationalNegotiation Stage = 1 // LoginOperationalNegotiation
	FullFeaturePhase       Stage = 3
)

// String is the name that the RFC gives the stage.
func (s Stage) String() string {
	switch s {
	case SecurityNegotiation:
		return "SecurityNegotiation"
	case OperationalNegotiation:
		return "LoginOperationalNegotiation"
	case FullFeaturePhase:
		return "FullFeaturePhase"
	}
	return fmt.Sprintf("stage %d", uint8(s))
}

// ISID is the initiator's part of a session's identifier; section 11.12.5.
type ISID [6]byte

// String is the ISID in hexadecimal digits.
func (i ISID) String() string { return fmt.Sprintf("%x", i[:]) }

// Login is a Login Request; section 11.12. The RFC has it always immediate.
type Login struct {
	Transit           bool // T: the initiator is ready for NSG; section 11.12.1
	Continue          bool // C: the text goes on in the next request; section 11.12.2
	CSG               Stage
	NSG               Stage // valid where Transit
	VersionMax        uint8
	VersionMin        uint8
	TotalAHSLength    int
	DataSegmentLength int // bytes, without padding
	ISID              ISID
	TSIH              uint16 // 0 asks for a new session; section 11.12.6
	InitiatorTaskTag  uint32 // the same in all requests of a login
	CID               uint16 // section 11.12.7
	CmdSN             SN     // the first of the session's commands; section 11.12.8
	ExpStatSN         SN     // valid but in the first request of a login; section 11.12.9
}

// Decode takes the fields out of h, whose opcode is OpLogin.
func (l *Login) Decode(h *BHS) {
	l.Transit, l.Continue = h.Final(), h[1]&flagContinue != 0
	l.CSG, l.NSG = Stage(h[1]>>2&3), Stage(h[1]&3)
	l.VersionMax, l.VersionMin = h[2], h[3]
	l.TotalAHSLength, l.DataSegmentLength = h.TotalAHSLength(), h.DataSegmentLength()
	l.ISID, l.TSIH = ISID(h[8:]), h.get16(14)
	l.InitiatorTaskTag, l.CID = h.InitiatorTaskTag(), h.get16(20)
	l.CmdSN, l.ExpStatSN = h.CmdSN(), h.ExpStatSN()
}

// Encode makes h the header of l.
func (l *Login) Encode(h *BHS) {
	flags := bit(l.Transit, flagFinal) | bit(l.Continue, flagContinue) | byte(l.CSG)&3<<2 | byte(l.NSG)&3
	h.begin(OpLogin, true, flags, l.TotalAHSLength, l.DataSegmentLength)
	h[2], h[3] = l.VersionMax, l.VersionMin
	copy(h[8:], l.ISID[:])
	h.put16(14, l.TSIH)
	h.put32(16, l.InitiatorTaskTag)
	h.put16(20, l.CID)
	h.put32(24, uint32(l.CmdSN))
	h.put32(28, uint32(l.ExpStatSN))
}

// LoginResponse answers a Login Request; section 11.13.
type LoginResponse struct {
	Transit           bool // T: both go on to NSG
	Continue          bool // C: the text goes on in the next response
	CSG               Stage
	NSG               Stage // valid where Transit
	VersionMax        uint8
	VersionActive     uint8
	DataSegmentLength int // bytes, without padding
	ISID              ISID
	TSIH              uint16 // the session's, in the last response of a login that opened one
	InitiatorTaskTag  uint32
	TargetSN          // StatSN, ExpCmdSN, MaxCmdSN; valid where Status is Success
	Status            LoginStatus
}

// Decode takes the fields out of h, whose opcode is OpLoginResponse.
func (l *LoginResponse) Decode(h *BHS) {
	l.Transit, l.Continue = h.Final(), h[1]&flagContinue != 0
	l.CSG, l.NSG = Stage(h[1]>>2&3), Stage(h[1]&3)
	l.VersionMax, l.VersionActive = h[2], h[3]
	l.DataSegmentLength = h.DataSegmentLength()
	l.ISID, l.TSIH = ISID(h[8:]), h.get16(14)
	l.InitiatorTaskTag = h.InitiatorTaskTag()
	l.decodeSN(h)
	l.Status = LoginStatus(h.get16(36))
}

// Encode makes h the header of l.
func (l *LoginResponse) Encode(h *BHS) {
	flags := bit(l.Transit, flagFinal) | bit(l.Continue, flagContinue) | byte(l.CSG)&3<<2 | byte(l.NSG)&3
	h.begin(OpLoginResponse, false, flags, 0, l.DataSegmentLength)
	h[2], h[3] = l.VersionMax, l.VersionActive
	copy(h[8:], l.ISID[:])
	h.put16(14, l.TSIH)
	h.put32(16, l.InitiatorTaskTag)
	l.encodeSN(h)
	h.put16(36, uint16(l.Status))
}
