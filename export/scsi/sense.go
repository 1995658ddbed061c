package scsi

import "encoding/binary"

// SenseKey says what kind of thing went wrong, SPC-4 section 4.5.6.
type SenseKey uint8

// Sense keys.
const (
	NoSense        SenseKey = 0x0
	NotReady       SenseKey = 0x2
	MediumError    SenseKey = 0x3
	HardwareError  SenseKey = 0x4
	IllegalRequest SenseKey = 0x5
	UnitAttention  SenseKey = 0x6
	DataProtect    SenseKey = 0x7
	CopyAborted    SenseKey = 0xA
	AbortedCommand SenseKey = 0xB
	Miscompare     SenseKey = 0xE
)

// SenseCode is an additional sense code and its qualifier, 0xCCQQ, SPC-4 annex D.2.
type SenseCode uint16

// Additional sense codes that a unit gives.
const (
	NoAdditionalSense               SenseCode = 0x0000
	NotReadyNoCause                 SenseCode = 0x0400
	SanitizeInProgress              SenseCode = 0x041B
	UnreachableCopyTarget           SenseCode = 0x0804
	CopyTargetNotReachable          SenseCode = 0x0D02
	WriteError                      SenseCode = 0x0C00
	InvalidInformationUnit          SenseCode = 0x0E03
	UnrecoveredReadError            SenseCode = 0x1100
	ParameterListLengthError        SenseCode = 0x1A00
	MiscompareDuringVerify          SenseCode = 0x1D00
	InvalidOperationCode            SenseCode = 0x2000
	BlockOutOfRange                 SenseCode = 0x2100
	InvalidFieldInCDB               SenseCode = 0x2400
	UnitNotSupported                SenseCode = 0x2500
	InvalidFieldInParameters        SenseCode = 0x2600
	InvalidRelease                  SenseCode = 0x2604
	TooManyCopyTargets              SenseCode = 0x2606
	UnsupportedCopyTargetType       SenseCode = 0x2607
	TooManyCopySegments             SenseCode = 0x2608
	UnsupportedCopySegmentType      SenseCode = 0x2609
	InlineDataTooLong               SenseCode = 0x260B
	WriteProtected                  SenseCode = 0x2700
	SoftwareWriteProtected          SenseCode = 0x2702
	SpaceAllocationFailed           SenseCode = 0x2707
	MediumMayHaveChanged            SenseCode = 0x2800
	PowerOnOrReset                  SenseCode = 0x2900
	DeviceReset                     SenseCode = 0x2903
	NexusLoss                       SenseCode = 0x2907
	ModeParametersChanged           SenseCode = 0x2A01
	ReservationsPreempted           SenseCode = 0x2A03
	ReservationsReleased            SenseCode = 0x2A04
	RegistrationsPreempted          SenseCode = 0x2A05
	CapacityDataChanged             SenseCode = 0x2A09
	SanitizeFailed                  SenseCode = 0x3103
	SavingNotSupported              SenseCode = 0x3900
	MediumNotPresent                SenseCode = 0x3A00
	InternalTargetFailure           SenseCode = 0x4400
	InvalidMessage                  SenseCode = 0x4900
	MediumRemovalPrevented          SenseCode = 0x5302
	InsufficientRegistrationStorage SenseCode = 0x5504
)

// pointer is a field pointer, SPC-4 section 4.5.2.4.2.
type pointer struct {
	set   bool
	inCDB bool // else in the parameter list
	bit   int8 // -1: the whole byte
	at    uint16
}

// answer is how a command ended. The zero value is GOOD.
type answer struct {
	status  Status
	key     SenseKey
	code    SenseCode
	hasInfo bool
	info    uint64
	field   pointer
}

var good answer

// check is CHECK CONDITION with a key and a code.
func check(key SenseKey, code SenseCode) answer {
	return answer{status: StatusCheckCondition, key: key, code: code}
}

// illegal is an ILLEGAL REQUEST.
func illegal(code SenseCode) answer { return check(IllegalRequest, code) }

// badField is INVALID FIELD IN CDB at a byte, and at the bit where the field begins (its left one).
func badField(at int, bit int8) answer {
	a := illegal(InvalidFieldInCDB)
	a.field = pointer{set: true, inCDB: true, bit: bit, at: uint16(at)}
	return a
}

// badParameter is INVALID FIELD IN PARAMETER LIST at a byte and a bit.
func badParameter(at int, bit int8) answer {
	a := illegal(InvalidFieldInParameters)
	a.field = pointer{set: true, bit: bit, at: uint16(at)}
	return a
}

const wholeByte = -1

var (
	conflict = answer{status: StatusReservationConflict}
	aborted  = answer{status: StatusTaskAborted}
)

// withInfo adds the INFORMATION field.
func (a answer) withInfo(info uint64) answer {
	a.hasInfo, a.info = true, info
	return a
}

// specific returns the three sense-key specific bytes, and whether there are any.
func (a answer) specific() (b [3]byte, ok bool) {
	switch {
	case a.field.set:
		b[0] = 0x80
		if a.field.inCDB {
			b[0] |= 0x40
		}
		if a.field.bit >= 0 {
			b[0] |= 0x08 | byte(a.field.bit)
		}
		binary.BigEndian.PutUint16(b[1:], a.field.at)
		return b, true
	}
	return b, false
}

const (
	fixedSenseLength   = 18 // SPC-4 table 53
	maximumSenseLength = 28 // a descriptor header, an information and a sense-key specific descriptor
)

// appendFixed appends fixed format sense data, SPC-4 section 4.5.3.
func (a answer) appendFixed(p []byte) []byte {
	var b [fixedSenseLength]byte
	b[0] = 0x70
	b[2] = byte(a.key)
	if a.hasInfo && a.info <= 0xffffffff { // else it does not fit, and VALID stays zero
		b[0] |= 0x80
		binary.BigEndian.PutUint32(b[3:], uint32(a.info))
	}
	b[7] = fixedSenseLength - 8
	binary.BigEndian.PutUint16(b[12:], uint16(a.code))
	if s, ok := a.specific(); ok {
		copy(b[15:], s[:])
	}
	return append(p, b[:]...)
}

// appendDescriptors appends descriptor format sense data, SPC-4 section 4.5.2.
func (a answer) appendDescriptors(p []byte) []byte {
	start := len(p)
	p = append(p, 0x72, byte(a.key), byte(a.code>>8), byte(a.code), 0, 0, 0, 0)
	if a.hasInfo {
		p = append(p, 0x00, 0x0a, 0x80, 0)
		p = binary.BigEndian.AppendUint64(p, a.info)
	}
	if s, ok := a.specific(); ok {
		p = append(p, 0x02, 0x06, 0, 0, s[0], s[1], s[2], 0)
	}
	p[start+7] = byte(len(p) - start - 8)
	return p
}

// appendSense appends sense data in the format that D_SENSE, or REQUEST SENSE, asks for.
func (a answer) appendSense(p []byte, descriptors bool) []byte {
	if descriptors {
		return a.appendDescriptors(p)
	}
	return a.appendFixed(p)
}
