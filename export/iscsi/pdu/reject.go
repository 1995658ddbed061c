package pdu

import "fmt"

// Reason is why a target refuses a PDU; section 11.17.1.
type Reason uint8

// The reasons.
const (
	ReasonDataDigest          Reason = 0x02 // may be sent again
	ReasonSNACK               Reason = 0x03 // may be sent again
	ReasonProtocolError       Reason = 0x04
	ReasonNotSupported        Reason = 0x05 // Command not supported: the opcode
	ReasonTooManyImmediate    Reason = 0x06 // may be sent again
	ReasonTaskInProgress      Reason = 0x07
	ReasonInvalidDataACK      Reason = 0x08
	ReasonInvalidField        Reason = 0x09 // Invalid PDU field; may be sent again, put right
	ReasonLongOperation       Reason = 0x0a // no Target Transfer Tag to give; may be sent again
	ReasonWaitingForLogout    Reason = 0x0c
	reasonNegotiationObsolete Reason = 0x0b // Negotiation Reset, deprecated; MUST NOT be used
)

// String is the reason in the RFC's words.
func (r Reason) String() string {
	switch r {
	case ReasonDataDigest:
		return "data digest error"
	case ReasonSNACK:
		return "SNACK reject"
	case ReasonProtocolError:
		return "protocol error"
	case ReasonNotSupported:
		return "command not supported"
	case ReasonTooManyImmediate:
		return "too many immediate commands"
	case ReasonTaskInProgress:
		return "task in progress"
	case ReasonInvalidDataACK:
		return "invalid data ACK"
	case ReasonInvalidField:
		return "invalid PDU field"
	case ReasonLongOperation:
		return "long operation reject"
	case ReasonWaitingForLogout:
		return "waiting for logout"
	case reasonNegotiationObsolete:
		return "negotiation reset"
	}
	return fmt.Sprintf("reason %#02x", uint8(r))
}

// Reject refuses a PDU; section 11.17. Its data segment is the header of that PDU, with its AHS and without
// digests, so a BHS at least; section 11.17.4.
type Reject struct {
	Reason            Reason
	DataSegmentLength int // bytes, without padding
	TargetSN              // StatSN, ExpCmdSN, MaxCmdSN
	DataSN            SN  // DataSN/R2TSN: the next to be expected, for Data-Out and SNACK; section 11.17.2
}

// Decode takes the fields out of h, whose opcode is OpReject.
func (r *Reject) Decode(h *BHS) {
	r.Reason, r.DataSegmentLength = Reason(h[2]), h.DataSegmentLength()
	r.decodeSN(h)
	r.DataSN = SN(h.get32(36))
}

// Encode makes h the header of r.
func (r *Reject) Encode(h *BHS) {
	h.begin(OpReject, false, flagFinal, 0, r.DataSegmentLength)
	h[2] = byte(r.Reason)
	h.put32(16, ReservedTag)
	r.encodeSN(h)
	h.put32(36, uint32(r.DataSN))
}
