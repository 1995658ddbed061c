package pdu

// Attribute is a task's attribute; section 11.3.1.
type Attribute uint8

// The task attributes of SAM-5. The values above ACA are reserved.
const (
	Untagged Attribute = iota
	Simple
	Ordered
	HeadOfQueue
	ACA
)

const (
	flagRead      = 0x40
	flagWrite     = 0x20
	maskAttribute = 0x07
)

// SCSICommand carries a CDB and perhaps the first data of a write; section 11.3.
type SCSICommand struct {
	Immediate                  bool
	Final                      bool // no unsolicited Data-Out follows
	Read                       bool // data is expected from the target
	Write                      bool // data is to be given to the target
	Attr                       Attribute
	TotalAHSLength             int    // bytes, a multiple of 4; section 11.2.1.5
	DataSegmentLength          int    // bytes of immediate data, without padding
	LUN                        uint64 // section 11.2.1.7
	InitiatorTaskTag           uint32
	ExpectedDataTransferLength uint32 // bytes, of the write where the command goes both ways; section 11.3.4
	CmdSN                      SN
	ExpStatSN                  SN
	CDB                        [16]byte // a longer one goes on in an AHS; section 11.3.5
}

// Decode takes the fields out of h, whose opcode is OpSCSICommand.
func (c *SCSICommand) Decode(h *BHS) {
	c.Immediate = h.Immediate()
	c.Final, c.Read, c.Write = h.Final(), h[1]&flagRead != 0, h[1]&flagWrite != 0
	c.Attr = Attribute(h[1] & maskAttribute)
	c.TotalAHSLength, c.DataSegmentLength = h.TotalAHSLength(), h.DataSegmentLength()
	c.LUN, c.InitiatorTaskTag = h.LUN(), h.InitiatorTaskTag()
	c.ExpectedDataTransferLength = h.get32(20)
	c.CmdSN, c.ExpStatSN = h.CmdSN(), h.ExpStatSN()
	c.CDB = [16]byte(h[32:])
}

// Encode makes h the header of c.
func (c *SCSICommand) Encode(h *BHS) {
	flags := bit(c.Final, flagFinal) | bit(c.Read, flagRead) | bit(c.Write, flagWrite) | byte(c.Attr)&maskAttribute
	h.begin(OpSCSICommand, c.Immediate, flags, c.TotalAHSLength, c.DataSegmentLength)
	h.put64(8, c.LUN)
	h.put32(16, c.InitiatorTaskTag)
	h.put32(20, c.ExpectedDataTransferLength)
	h.put32(24, uint32(c.CmdSN))
	h.put32(28, uint32(c.ExpStatSN))
	copy(h[32:], c.CDB[:])
}

// Response says whether iSCSI brought the command to its end; section 11.4.3. What SCSI says is the Status.
type Response uint8

// The responses. Those of 0x80 and above are the vendor's.
const (
	CommandCompleted Response = 0x00
	TargetFailure    Response = 0x01
)

const (
	flagBidiOverflow  = 0x10 // o
	flagBidiUnderflow = 0x08 // u
	flagOverflow      = 0x04 // O
	flagUnderflow     = 0x02 // U
)

// SCSIResponse ends a command; section 11.4. Its data segment is what AppendSense makes.
type SCSIResponse struct {
	BidiOverflow          bool // o: BidiReadResidualCount bytes more would have come
	BidiUnderflow         bool // u: BidiReadResidualCount bytes of those expected did not come
	Overflow              bool // O: ResidualCount bytes more would have been transferred
	Underflow             bool // U: ResidualCount bytes of those expected were not transferred
	Response              Response
	Status                uint8 // SAM-5's, where Response is CommandCompleted; section 11.4.2
	DataSegmentLength     int   // bytes, without padding
	InitiatorTaskTag      uint32
	SNACKTag              uint32 // section 11.4.4
	TargetSN                     // StatSN, ExpCmdSN, MaxCmdSN
	ExpDataSN             SN     // how many R2T and Data-In PDUs were sent for the command; section 11.4.8
	BidiReadResidualCount uint32 // bytes; section 11.4.6
	ResidualCount         uint32 // bytes; section 11.4.5
}

// Decode takes the fields out of h, whose opcode is OpSCSIResponse.
func (r *SCSIResponse) Decode(h *BHS) {
	r.BidiOverflow, r.BidiUnderflow = h[1]&flagBidiOverflow != 0, h[1]&flagBidiUnderflow != 0
	r.Overflow, r.Underflow = h[1]&flagOverflow != 0, h[1]&flagUnderflow != 0
	r.Response, r.Status = Response(h[2]), h[3]
	r.DataSegmentLength = h.DataSegmentLength()
	r.InitiatorTaskTag, r.SNACKTag = h.InitiatorTaskTag(), h.get32(20)
	r.decodeSN(h)
	r.ExpDataSN = SN(h.get32(36))
	r.BidiReadResidualCount, r.ResidualCount = h.get32(40), h.get32(44)
}

// Encode makes h the header of r.
func (r *SCSIResponse) Encode(h *BHS) {
	flags := flagFinal | bit(r.BidiOverflow, flagBidiOverflow) | bit(r.BidiUnderflow, flagBidiUnderflow) |
		bit(r.Overflow, flagOverflow) | bit(r.Underflow, flagUnderflow)
	h.begin(OpSCSIResponse, false, flags, 0, r.DataSegmentLength)
	h[2], h[3] = byte(r.Response), r.Status
	h.put32(16, r.InitiatorTaskTag)
	h.put32(20, r.SNACKTag)
	r.encodeSN(h)
	h.put32(36, uint32(r.ExpDataSN))
	h.put32(40, r.BidiReadResidualCount)
	h.put32(44, r.ResidualCount)
}

// AppendSense appends sense, at most 65535 bytes, as a SCSI Response and an Asynchronous Message carry it: two
// bytes of SenseLength before it; section 11.4.7.
func AppendSense(dst, sense []byte) []byte {
	return append(append(dst, byte(len(sense)>>8), byte(len(sense))), sense...)
}

// Sense is the sense data in the data segment of a SCSI Response or an Asynchronous Message, a part of it. ok
// is false where SenseLength says more than there is.
func Sense(data []byte) (sense []byte, ok bool) {
	if len(data) < 2 {
		return nil, len(data) == 0
	}
	n := int(data[0])<<8 | int(data[1])
	if n > len(data)-2 {
		return nil, false
	}
	return data[2 : 2+n], true
}
