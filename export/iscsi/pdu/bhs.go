package pdu

import "encoding/binary"

// Sizes and values that all PDUs share.
const (
	BHSLength            = 48         // bytes
	MaxTotalAHSLength    = 255 * 4    // bytes; the field counts words of four in one byte
	MaxDataSegmentLength = 1<<24 - 1  // bytes; the field has 24 bits
	ReservedTag          = 0xffffffff // an Initiator or Target Task Tag that names nothing
)

// flagFinal is the F bit, or the bit that is always 1 where a PDU has no F.
const (
	flagFinal     = 0x80
	flagImmediate = 0x40 // in the opcode's byte
	flagContinue  = 0x40 // in the flags of Login and Text
)

// BHS is a Basic Header Segment as it is on the wire, in network byte order; section 11.2.1.
type BHS [BHSLength]byte

// Opcode is the kind of PDU; section 11.2.1.2.
func (h *BHS) Opcode() Opcode { return Opcode(h[0] & 0x3f) }

// Immediate is the I bit: deliver now, whatever CmdSN is due; section 11.2.1.1.
func (h *BHS) Immediate() bool { return h[0]&flagImmediate != 0 }

// Final is the F bit; section 11.2.1.3.
func (h *BHS) Final() bool { return h[1]&flagFinal != 0 }

// TotalAHSLength is what follows the BHS before the header digest, in bytes, padding included, a multiple of
// four of at most MaxTotalAHSLength; section 11.2.1.5.
func (h *BHS) TotalAHSLength() int { return int(h[4]) * 4 }

// DataSegmentLength is in bytes, without padding; section 11.2.1.6.
func (h *BHS) DataSegmentLength() int { return int(h[5])<<16 | int(h[6])<<8 | int(h[7]) }

// SetDataSegmentLength sets the field to n, which is 0 to MaxDataSegmentLength.
func (h *BHS) SetDataSegmentLength(n int) {
	h[5], h[6], h[7] = byte(n>>16), byte(n>>8), byte(n)
}

// LUN is the logical unit number as SAM-5 lays it out in eight bytes, most significant first; section 11.2.1.7.
func (h *BHS) LUN() uint64 { return binary.BigEndian.Uint64(h[8:]) }

// InitiatorTaskTag names the task among those of its session; section 11.2.1.8.
func (h *BHS) InitiatorTaskTag() uint32 { return binary.BigEndian.Uint32(h[16:]) }

// TargetTransferTag is the field at byte 20 of Data-Out, Data-In, R2T, Text and NOP; section 11.7.4.
func (h *BHS) TargetTransferTag() uint32 { return binary.BigEndian.Uint32(h[20:]) }

// CmdSN is the field at byte 24 of the requests that are commands: not of Data-Out and SNACK.
func (h *BHS) CmdSN() SN { return SN(binary.BigEndian.Uint32(h[24:])) }

// ExpStatSN is the field at byte 28 of what an initiator sends: all below it is acknowledged.
func (h *BHS) ExpStatSN() SN { return SN(binary.BigEndian.Uint32(h[28:])) }

// Padding is how many zero bytes follow n bytes of data to fill the last word of four; section 11.1.
func Padding(n int) int { return -n & 3 }

// begin makes h a header of opcode op with the given flags, all else zero but the two lengths.
func (h *BHS) begin(op Opcode, immediate bool, flags byte, totalAHSLength, dataSegmentLength int) {
	*h = BHS{byte(op), flags, 0, 0, byte(totalAHSLength / 4)}
	if immediate {
		h[0] |= flagImmediate
	}
	h.SetDataSegmentLength(dataSegmentLength)
}

func (h *BHS) put16(at int, v uint16) { binary.BigEndian.PutUint16(h[at:], v) }
func (h *BHS) put32(at int, v uint32) { binary.BigEndian.PutUint32(h[at:], v) }
func (h *BHS) put64(at int, v uint64) { binary.BigEndian.PutUint64(h[at:], v) }
func (h *BHS) get16(at int) uint16    { return binary.BigEndian.Uint16(h[at:]) }
func (h *BHS) get32(at int) uint32    { return binary.BigEndian.Uint32(h[at:]) }

// bit is flag if on, else 0.
func bit(on bool, flag byte) byte {
	if on {
		return flag
	}
	return 0
}

// TargetSN are the three numbers in everything that a target sends; sections 11.4.9 to 11.4.11.
type TargetSN struct {
	StatSN   SN // of this status on its connection
	ExpCmdSN SN // the next CmdSN that is expected
	MaxCmdSN SN // the highest CmdSN that is taken; ExpCmdSN-1 closes the window
}

func (t *TargetSN) decodeSN(h *BHS) {
	t.StatSN, t.ExpCmdSN, t.MaxCmdSN = SN(h.get32(24)), SN(h.get32(28)), SN(h.get32(32))
}

func (t *TargetSN) encodeSN(h *BHS) {
	h.put32(24, uint32(t.StatSN))
	h.put32(28, uint32(t.ExpCmdSN))
	h.put32(32, uint32(t.MaxCmdSN))
}

// SetTargetSN sets the three numbers of a header that a target sends, whatever its opcode: they may not be known
// before it is sent.
func (h *BHS) SetTargetSN(t TargetSN) { t.encodeSN(h) }
