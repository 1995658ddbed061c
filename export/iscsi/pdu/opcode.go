package pdu

import "fmt"

// Opcode says what kind of PDU a header begins; section 11.2.1.2. Initiators send 0x00 to 0x1f, targets the rest.
type Opcode uint8

// The opcodes of initiators.
const (
	OpNOPOut      Opcode = 0x00
	OpSCSICommand Opcode = 0x01
	OpTaskMgmt    Opcode = 0x02 // SCSI Task Management Function Request
	OpLogin       Opcode = 0x03
	OpText        Opcode = 0x04
	OpDataOut     Opcode = 0x05
	OpLogout      Opcode = 0x06
	OpSNACK       Opcode = 0x10
)

// The opcodes of targets.
const (
	OpNOPIn            Opcode = 0x20
	OpSCSIResponse     Opcode = 0x21
	OpTaskMgmtResponse Opcode = 0x22
	OpLoginResponse    Opcode = 0x23
	OpTextResponse     Opcode = 0x24
	OpDataIn           Opcode = 0x25
	OpLogoutResponse   Opcode = 0x26
	OpR2T              Opcode = 0x31
	OpAsync            Opcode = 0x32
	OpReject           Opcode = 0x3f
)

var opcodeNames = [64]string{
	OpNOPOut:           "NOP-Out",
	OpSCSICommand:      "SCSI Command",
	OpTaskMgmt:         "Task Management Function Request",
	OpLogin:            "Login Request",
	OpText:             "Text Request",
	OpDataOut:          "SCSI Data-Out",
	OpLogout:           "Logout Request",
	OpSNACK:            "SNACK Request",
	OpNOPIn:            "NOP-In",
	OpSCSIResponse:     "SCSI Response",
	OpTaskMgmtResponse: "Task Management Function Response",
	OpLoginResponse:    "Login Response",
	OpTextResponse:     "Text Response",
	OpDataIn:           "SCSI Data-In",
	OpLogoutResponse:   "Logout Response",
	OpR2T:              "R2T",
	OpAsync:            "Asynchronous Message",
	OpReject:           "Reject",
}

// String is the name that the RFC gives the PDU.
func (o Opcode) String() string {
	if int(o) < len(opcodeNames) && opcodeNames[o] != "" {
		return opcodeNames[o]
	}
	return fmt.Sprintf("opcode %#02x", uint8(o))
}

// FromInitiator reports whether o is an opcode that the RFC lets an initiator send.
func (o Opcode) FromInitiator() bool { return o < 0x20 && opcodeNames[o] != "" }
