package pdu

// RuleError is a rule of the RFC that a PDU breaks. Those below are all there are, compared by address and never
// changed.
type RuleError struct {
	Reason  Reason // for the Reject
	Section string // of RFC 7143, where the rule stands
	What    string // a sentence for the log

	// Where ASC is not 0, the RFC has the command answered with CHECK CONDITION, ABORTED COMMAND and this
	// additional sense instead; section 11.4.7.2.
	ASC, ASCQ uint8
}

// Error is the rule with its section.
func (v *RuleError) Error() string { return v.What + " (RFC 7143 section " + v.Section + ")" }

// What Check finds.
var (
	ErrOpcode           = &RuleError{Reason: ReasonNotSupported, Section: "11.2.1.2", What: "the opcode is none of an initiator's"}
	ErrLoginAgain       = &RuleError{Reason: ReasonProtocolError, Section: "6.3", What: "a Login Request came in the full feature phase"}
	ErrSNACK            = &RuleError{Reason: ReasonSNACK, Section: "11.16", What: "a SNACK Request came at ErrorRecoveryLevel 0"}
	ErrTooMuchData      = &RuleError{Reason: ReasonProtocolError, Section: "13.12", What: "DataSegmentLength is over MaxRecvDataSegmentLength"}
	ErrUnwantedAHS      = &RuleError{Reason: ReasonInvalidField, Section: "11.2.1.5", What: "TotalAHSLength is not 0 where no AHS is defined"}
	ErrUnwantedData     = &RuleError{Reason: ReasonInvalidField, Section: "11.2.1.6", What: "DataSegmentLength is not 0 where no data is defined"}
	ErrAHS              = &RuleError{Reason: ReasonInvalidField, Section: "11.2.2", What: "an AHS is of no known type, comes twice or does not fit TotalAHSLength"}
	ErrNoTaskTag        = &RuleError{Reason: ReasonInvalidField, Section: "11.2.1.8", What: "the Initiator Task Tag is the reserved value"}
	ErrNOPNotImmediate  = &RuleError{Reason: ReasonProtocolError, Section: "11.18.1", What: "a NOP-Out without a task tag is not immediate"}
	ErrFinalContinues   = &RuleError{Reason: ReasonProtocolError, Section: "11.10.2", What: "a Text Request has F and C set"}
	ErrLogoutReason     = &RuleError{Reason: ReasonInvalidField, Section: "11.14.1", What: "the reason of a Logout Request is reserved"}
	ErrBufferOffset     = &RuleError{Reason: ReasonInvalidField, Section: "11.7.6", What: "a Data-Out ends beyond what a command can transfer"}
	ErrAttribute        = &RuleError{Reason: ReasonInvalidField, Section: "11.3.1", What: "the task attribute is reserved"}
	ErrNotFinalNoWrite  = &RuleError{Reason: ReasonInvalidField, Section: "11.3.1", What: "a SCSI Command has neither F nor W set"}
	ErrLengthNoTransfer = &RuleError{Reason: ReasonInvalidField, Section: "11.3.1", What: "a SCSI Command has neither R nor W set, and an expected length"}
	ErrBidiNotBoth      = &RuleError{Reason: ReasonInvalidField, Section: "11.2.2.4", What: "a SCSI Command has a bidirectional read length, and not R and W set"}
	ErrDataNoWrite      = &RuleError{Reason: ReasonInvalidField, Section: "11.3.6", What: "a SCSI Command carries data, and has W not set"}
	ErrMoreThanExpected = &RuleError{Reason: ReasonInvalidField, Section: "11.3.4", What: "a SCSI Command carries more data than its Expected Data Transfer Length"}
	ErrNothingFollows   = &RuleError{Reason: ReasonInvalidField, Section: "11.3.1", What: "a SCSI Command carries all its data, and has F not set"}

	ErrImmediateData = &RuleError{
		Reason: ReasonProtocolError, Section: "13.11", What: "a SCSI Command carries data, and ImmediateData is No",
		ASC: ascUnsolicited, ASCQ: ascqUnexpectedUnsolicited,
	}
	ErrFirstBurst = &RuleError{
		Reason: ReasonProtocolError, Section: "13.14", What: "the data of a SCSI Command is over FirstBurstLength",
		ASC: ascUnsolicited, ASCQ: ascqUnexpectedUnsolicited,
	}
	ErrUnsolicited = &RuleError{
		Reason: ReasonProtocolError, Section: "13.10", What: "a SCSI Command has F not set, and InitialR2T is Yes",
		ASC: ascUnsolicited, ASCQ: ascqUnexpectedUnsolicited,
	}
)

const (
	ascUnsolicited            = 0x0c
	ascqUnexpectedUnsolicited = 0x0c
)

// Rules are the negotiated parameters that bear on a single PDU.
type Rules struct {
	MaxRecvDataSegmentLength int  // bytes, the target's own; section 13.12
	FirstBurstLength         int  // bytes; section 13.14
	InitialR2T               bool // section 13.10
	ImmediateData            bool // section 13.11
}

// Check returns the first rule that h and its additional header segments break, of those that a target at
// ErrorRecoveryLevel 0 has to check in the full feature phase and that one header alone decides, else nil.
// Reserved bits are not looked at: the RFC has receivers ignore them.
func (r *Rules) Check(h *BHS, ahs []byte) *RuleError {
	op := h.Opcode()
	if !op.FromInitiator() {
		return ErrOpcode
	}
	n := h.DataSegmentLength()
	switch {
	case n > r.MaxRecvDataSegmentLength:
		return ErrTooMuchData
	case len(ahs) > 0 && op != OpSCSICommand:
		return ErrUnwantedAHS
	case n > 0 && (op == OpTaskMgmt || op == OpLogout || op == OpSNACK):
		return ErrUnwantedData
	}
	noTag := h.InitiatorTaskTag() == ReservedTag
	switch op {
	case OpLogin:
		return ErrLoginAgain
	case OpSNACK:
		return ErrSNACK
	case OpNOPOut:
		if noTag && !h.Immediate() {
			return ErrNOPNotImmediate
		}
		return nil
	default:
	}
	if noTag {
		return ErrNoTaskTag
	}
	switch op {
	case OpSCSICommand:
		return r.checkCommand(h, ahs)
	case OpText:
		if h.Final() && h[1]&flagContinue != 0 {
			return ErrFinalContinues
		}
	case OpDataOut:
		if uint64(h.get32(40))+uint64(n) > 1<<32-1 {
			return ErrBufferOffset
		}
	case OpLogout:
		if LogoutReason(h[1]&0x7f) > RemoveConnection {
			return ErrLogoutReason
		}
	default:
	}
	return nil
}

func (r *Rules) checkCommand(h *BHS, ahs []byte) *RuleError {
	final, read, write := h.Final(), h[1]&flagRead != 0, h[1]&flagWrite != 0
	n, expected := uint32(h.DataSegmentLength()), h.get32(20)
	if len(ahs) > 0 {
		var a AHS
		if !a.Decode(ahs) {
			return ErrAHS
		}
		if a.HasBidiRead && (!read || !write) {
			return ErrBidiNotBoth
		}
	}
	switch {
	case Attribute(h[1]&maskAttribute) > ACA:
		return ErrAttribute
	case !final && !write:
		return ErrNotFinalNoWrite
	case !read && !write && expected > 0:
		return ErrLengthNoTransfer
	case n > 0 && !write:
		return ErrDataNoWrite
	case n > expected:
		return ErrMoreThanExpected
	case !final && n == expected:
		return ErrNothingFollows
	case n > 0 && !r.ImmediateData:
		return ErrImmediateData
	case int64(n) > int64(r.FirstBurstLength):
		return ErrFirstBurst
	case !final && r.InitialR2T:
		return ErrUnsolicited
	}
	return nil
}
