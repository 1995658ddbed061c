package pdu

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// codec is what every kind of PDU has.
type codec[T any] interface {
	*T
	Decode(*BHS)
	Encode(*BHS)
}

// unhex reads a dump: hexadecimal digits, blanks anywhere, and comments from # to the end of a line.
func unhex(t testing.TB, dump string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(dump) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dirty is a header that Encode has to overwrite wholly.
func dirty() *BHS {
	var h BHS
	copy(h[:], bytes.Repeat([]byte{0xa5}, BHSLength))
	return &h
}

// golden checks that the dump decodes to want, and that want encodes to the dump.
func golden[T comparable, P codec[T]](op Opcode, want T, dump string) func(t *testing.T) {
	return func(t *testing.T) {
		wire := unhex(t, dump)
		if len(wire) != BHSLength {
			t.Fatalf("the dump has %d bytes", len(wire))
		}
		h := (*BHS)(wire)
		if h.Opcode() != op {
			t.Errorf("opcode %v, want %v", h.Opcode(), op)
		}
		var got T
		P(&got).Decode(h)
		if got != want {
			t.Errorf("decoded\n%+v\nwant\n%+v", got, want)
		}
		out := dirty()
		P(&want).Encode(out)
		if !bytes.Equal(out[:], wire) {
			t.Errorf("encoded\n% x\nwant\n% x", out[:], wire)
		}
	}
}

// The dumps were made by hand from the layouts of RFC 7143 section 11, with the values that the named
// initiators send.
func TestGolden(t *testing.T) {
	sn := TargetSN{StatSN: 0x11121314, ExpCmdSN: 0x21222324, MaxCmdSN: 0x31323334}
	const snHex = "11 12 13 14  21 22 23 24  31 32 33 34"
	for name, test := range map[string]func(*testing.T){
		"SCSI Command of Linux: READ(10) of 8 blocks": golden(
			OpSCSICommand, SCSICommand{
				Final: true, Read: true, Attr: Simple, InitiatorTaskTag: 0x10000012, ExpectedDataTransferLength: 4096,
				CmdSN: 0x17, ExpStatSN: 0x2c, CDB: [16]byte{0x28, 0, 0, 0, 0x08, 0, 0, 0, 8, 0},
			}, `01 c1 00 00  00 00 00 00   # F R simple, no AHS, no data
				00 00 00 00 00 00 00 00     # LUN 0
				10 00 00 12  00 00 10 00    # tag, expected length
				00 00 00 17  00 00 00 2c    # CmdSN, ExpStatSN
				28 00 00 00 08 00 00 00 08 00 00 00 00 00 00 00`),
		"SCSI Command of Linux: WRITE(16) with all data immediate": golden(
			OpSCSICommand, SCSICommand{
				Final: true, Write: true, Attr: Simple, DataSegmentLength: 4096, InitiatorTaskTag: 0x20000013,
				ExpectedDataTransferLength: 4096, CmdSN: 0x18, ExpStatSN: 0x2d,
				CDB: [16]byte{0x8a, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0},
			}, `01 a1 00 00  00 00 10 00
				00 00 00 00 00 00 00 00
				20 00 00 13  00 00 10 00
				00 00 00 18  00 00 00 2d
				8a 00 00 00 00 01 00 00 00 00 00 00 00 08 00 00`),
		"SCSI Command of Windows: unsolicited data follows, LUN 1, ordered, immediate delivery, AHS": golden(
			OpSCSICommand, SCSICommand{
				Immediate: true, Read: true, Write: true, Attr: Ordered, TotalAHSLength: 8, DataSegmentLength: 0x010203,
				LUN: 0x0001_0000_0000_0000, InitiatorTaskTag: 0xfffffffe, ExpectedDataTransferLength: 0x00100000,
				CmdSN: 0xffffffff, ExpStatSN: 0x80000000, CDB: [16]byte{0x7f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
			}, `41 62 00 00  02 01 02 03
				00 01 00 00 00 00 00 00
				ff ff ff fe  00 10 00 00
				ff ff ff ff  80 00 00 00
				7f 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f`),
		"SCSI Response: CHECK CONDITION with sense": golden(
			OpSCSIResponse, SCSIResponse{
				Underflow: true, Response: CommandCompleted, Status: 2, DataSegmentLength: 20, InitiatorTaskTag: 0x10000012,
				TargetSN: sn, ExpDataSN: 3, ResidualCount: 512,
			}, `21 82 00 02  00 00 00 14
				00 00 00 00 00 00 00 00
				10 00 00 12  00 00 00 00
				`+snHex+`
				00 00 00 03  00 00 00 00  00 00 02 00`),
		"SCSI Response: every flag": golden(
			OpSCSIResponse, SCSIResponse{
				BidiOverflow: true, BidiUnderflow: true, Overflow: true, Underflow: true, Response: TargetFailure, Status: 8,
				InitiatorTaskTag: 1, SNACKTag: 2, TargetSN: sn, ExpDataSN: 4, BidiReadResidualCount: 5, ResidualCount: 6,
			}, `21 9e 01 08  00 00 00 00
				00 00 00 00 00 00 00 00
				00 00 00 01  00 00 00 02
				`+snHex+`
				00 00 00 04  00 00 00 05  00 00 00 06`),
		"Task Management Function Request of Linux: abort task": golden(
			OpTaskMgmt, TaskMgmt{
				Immediate: true, Function: AbortTask, InitiatorTaskTag: 0x30000014, ReferencedTaskTag: 0x20000013,
				CmdSN: 0x19, ExpStatSN: 0x2e, RefCmdSN: 0x18, ExpDataSN: 7,
			}, `42 81 00 00  00 00 00 00
				00 00 00 00 00 00 00 00
				30 00 00 14  20 00 00 13
				00 00 00 19  00 00 00 2e
				00 00 00 18  00 00 00 07  00 00 00 00  00 00 00 00`),
		"Task Management Function Request of VMware: LUN reset": golden(
			OpTaskMgmt, TaskMgmt{
				Immediate: true, Function: LogicalUnitReset, LUN: 0x0005_0000_0000_0000, InitiatorTaskTag: 9,
				ReferencedTaskTag: ReservedTag, CmdSN: 10, ExpStatSN: 11,
			}, `42 85 00 00  00 00 00 00
				00 05 00 00 00 00 00 00
				00 00 00 09  ff ff ff ff
				00 00 00 0a  00 00 00 0b
				00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00`),
		"Task Management Function Response": golden(
			OpTaskMgmtResponse, TaskMgmtResponse{
				Response: FunctionRejected, InitiatorTaskTag: 0x30000014, TargetSN: sn,
			}, `22 80 ff 00  00 00 00 00
				00 00 00 00 00 00 00 00
				30 00 00 14  00 00 00 00
				`+snHex+`
				00 00 00 00  00 00 00 00  00 00 00 00`),
		"Data-Out: unsolicited": golden(
			OpDataOut, DataOut{
				DataSegmentLength: 8192, InitiatorTaskTag: 5, TargetTransferTag: ReservedTag, ExpStatSN: 6,
				BufferOffset: 8192,
			}, `05 00 00 00  00 00 20 00
				00 00 00 00 00 00 00 00
				00 00 00 05  ff ff ff ff
				00 00 00 00  00 00 00 06
				00 00 00 00  00 00 00 00  00 00 20 00  00 00 00 00`),
		"Data-Out: the last of an R2T": golden(
			OpDataOut, DataOut{
				Final: true, DataSegmentLength: 0x040000, LUN: 0x0001_0000_0000_0000, InitiatorTaskTag: 5,
				TargetTransferTag: 0x77, ExpStatSN: 6, DataSN: 2, BufferOffset: 0x00fc0000,
			}, `05 80 00 00  00 04 00 00
				00 01 00 00 00 00 00 00
				00 00 00 05  00 00 00 77
				00 00 00 00  00 00 00 06
				00 00 00 00  00 00 00 02  00 fc 00 00  00 00 00 00`),
		"Data-In: with status": golden(
			OpDataIn, DataIn{
				Final: true, HasStatus: true, Underflow: true, DataSegmentLength: 36, InitiatorTaskTag: 0x10000012,
				TargetTransferTag: ReservedTag, TargetSN: sn, BufferOffset: 0, ResidualCount: 219,
			}, `25 83 00 00  00 00 00 24
				00 00 00 00 00 00 00 00
				10 00 00 12  ff ff ff ff
				`+snHex+`
				00 00 00 00  00 00 00 00  00 00 00 db`),
		"Data-In: every field": golden(
			OpDataIn, DataIn{
				Final: true, Acknowledge: true, Overflow: true, Underflow: true, HasStatus: true, Status: 0x28,
				DataSegmentLength: MaxDataSegmentLength, LUN: 3, InitiatorTaskTag: 4, TargetTransferTag: 5, TargetSN: sn,
				DataSN: 6, BufferOffset: 7, ResidualCount: 8,
			}, `25 c7 00 28  00 ff ff ff
				00 00 00 00 00 00 00 03
				00 00 00 04  00 00 00 05
				`+snHex+`
				00 00 00 06  00 00 00 07  00 00 00 08`),
		"R2T": golden(
			OpR2T, R2T{
				LUN: 0x0001_0000_0000_0000, InitiatorTaskTag: 5, TargetTransferTag: 0x77, TargetSN: sn, R2TSN: 1,
				BufferOffset: 0x10000, DesiredDataTransferLength: 0x40000,
			}, `31 80 00 00  00 00 00 00
				00 01 00 00 00 00 00 00
				00 00 00 05  00 00 00 77
				`+snHex+`
				00 00 00 01  00 01 00 00  00 04 00 00`),
		"Login Request of Linux: the first": golden(
			OpLogin, Login{
				CSG: SecurityNegotiation, NSG: OperationalNegotiation, Transit: true, DataSegmentLength: 0x99,
				ISID: ISID{0x00, 0x02, 0x3d, 0x01, 0x00, 0x00}, InitiatorTaskTag: 0, CID: 0, CmdSN: 1, ExpStatSN: 0,
			}, `43 81 00 00  00 00 00 99
				00 02 3d 01 00 00  00 00    # ISID, TSIH
				00 00 00 00  00 00 00 00    # tag, CID
				00 00 00 01  00 00 00 00
				00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00`),
		"Login Request of Windows: the last": golden(
			OpLogin, Login{
				Transit: true, CSG: OperationalNegotiation, NSG: FullFeaturePhase, DataSegmentLength: 0x14e,
				ISID: ISID{0x40, 0x00, 0x01, 0x37, 0x00, 0x01}, TSIH: 0x1234, InitiatorTaskTag: 0x0a0b0c0d, CID: 1,
				CmdSN: 0x55, ExpStatSN: 0x66,
			}, `43 87 00 00  00 00 01 4e
				40 00 01 37 00 01  12 34
				0a 0b 0c 0d  00 01 00 00
				00 00 00 55  00 00 00 66
				00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00`),
		"Login Request: continued, another version": golden(
			OpLogin, Login{Continue: true, CSG: OperationalNegotiation, VersionMax: 3, VersionMin: 2, DataSegmentLength: 8192},
			`43 44 03 02  00 00 20 00
				00 00 00 00 00 00  00 00
				00 00 00 00  00 00 00 00
				00 00 00 00  00 00 00 00
				00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00`),
		"Login Response: the last": golden(
			OpLoginResponse, LoginResponse{
				Transit: true, CSG: OperationalNegotiation, NSG: FullFeaturePhase, DataSegmentLength: 0x120,
				ISID: ISID{0x40, 0x00, 0x01, 0x37, 0x00, 0x01}, TSIH: 1, InitiatorTaskTag: 0x0a0b0c0d, TargetSN: sn,
			}, `23 87 00 00  00 00 01 20
				40 00 01 37 00 01  00 01
				0a 0b 0c 0d  00 00 00 00
				`+snHex+`
				00 00 00 00  00 00 00 00  00 00 00 00`),
		"Login Response: authentication failed": golden(
			OpLoginResponse, LoginResponse{Status: AuthenticationFailure, InitiatorTaskTag: 1, VersionMax: 2, VersionActive: 1, Continue: true},
			`23 40 02 01  00 00 00 00
				00 00 00 00 00 00  00 00
				00 00 00 01  00 00 00 00
				00 00 00 00  00 00 00 00  00 00 00 00
				02 01 00 00  00 00 00 00  00 00 00 00`),
		"Text Request: SendTargets=All": golden(
			OpText, Text{
				Immediate: true, Final: true, DataSegmentLength: 16, InitiatorTaskTag: 2, TargetTransferTag: ReservedTag,
				CmdSN: 3, ExpStatSN: 4,
			}, `44 80 00 00  00 00 00 10
				00 00 00 00 00 00 00 00
				00 00 00 02  ff ff ff ff
				00 00 00 03  00 00 00 04
				00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00`),
		"Text Response: continued": golden(
			OpTextResponse, TextResponse{
				Continue: true, DataSegmentLength: 8192, LUN: 1, InitiatorTaskTag: 2, TargetTransferTag: 9, TargetSN: sn,
			}, `24 40 00 00  00 00 20 00
				00 00 00 00 00 00 00 01
				00 00 00 02  00 00 00 09
				`+snHex+`
				00 00 00 00  00 00 00 00  00 00 00 00`),
		"Logout Request of Linux: the session": golden(
			OpLogout, Logout{Immediate: true, Reason: CloseSession, InitiatorTaskTag: 7, CmdSN: 8, ExpStatSN: 9},
			`46 80 00 00  00 00 00 00
				00 00 00 00 00 00 00 00
				00 00 00 07  00 00 00 00
				00 00 00 08  00 00 00 09
				00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00`),
		"Logout Request: a connection": golden(
			OpLogout, Logout{Reason: RemoveConnection, InitiatorTaskTag: 7, CID: 0x0102, CmdSN: 8, ExpStatSN: 9},
			`06 82 00 00  00 00 00 00
				00 00 00 00 00 00 00 00
				00 00 00 07  01 02 00 00
				00 00 00 08  00 00 00 09
				00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00`),
		"Logout Response": golden(
			OpLogoutResponse, LogoutResponse{
				Response: LogoutCleanupFailed, InitiatorTaskTag: 7, TargetSN: sn, Time2Wait: 2, Time2Retain: 20,
			}, `26 80 03 00  00 00 00 00
				00 00 00 00 00 00 00 00
				00 00 00 07  00 00 00 00
				`+snHex+`
				00 00 00 00  00 02 00 14  00 00 00 00`),
		"NOP-Out of Linux: a ping": golden(
			OpNOPOut, NOPOut{
				Immediate: true, DataSegmentLength: 5, InitiatorTaskTag: 0x99, TargetTransferTag: ReservedTag, CmdSN: 4, ExpStatSN: 5,
			}, `40 80 00 00  00 00 00 05
				00 00 00 00 00 00 00 00
				00 00 00 99  ff ff ff ff
				00 00 00 04  00 00 00 05
				00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00`),
		"NOP-In: a ping that wants an answer": golden(
			OpNOPIn, NOPIn{LUN: 2, InitiatorTaskTag: ReservedTag, TargetTransferTag: 0x88, TargetSN: sn, DataSegmentLength: 3},
			`20 80 00 00  00 00 00 03
				00 00 00 00 00 00 00 02
				ff ff ff ff  00 00 00 88
				`+snHex+`
				00 00 00 00  00 00 00 00  00 00 00 00`),
		"Asynchronous Message: log out": golden(
			OpAsync, Async{
				LUN: 1, TargetSN: sn, AsyncEvent: AsyncLogoutRequest, AsyncVCode: 9, Parameter1: 0x0102, Parameter2: 0x0304, Parameter3: 10,
			}, `32 80 00 00  00 00 00 00
				00 00 00 00 00 00 00 01
				ff ff ff ff  00 00 00 00
				`+snHex+`
				01 09 01 02  03 04 00 0a  00 00 00 00`),
		"Reject": golden(
			OpReject, Reject{Reason: ReasonInvalidField, DataSegmentLength: BHSLength, TargetSN: sn, DataSN: 5},
			`3f 80 09 00  00 00 00 30
				00 00 00 00 00 00 00 00
				ff ff ff ff  00 00 00 00
				`+snHex+`
				00 00 00 05  00 00 00 00  00 00 00 00`),
		"SNACK Request": golden(
			OpSNACK, SNACK{
				Type: SNACKStatus, LUN: 1, InitiatorTaskTag: ReservedTag, TargetTransferTag: 3, ExpStatSN: 4, BegRun: 5, RunLength: 6,
			}, `10 81 00 00  00 00 00 00
				00 00 00 00 00 00 00 01
				ff ff ff ff  00 00 00 03
				00 00 00 00  00 00 00 04
				00 00 00 00  00 00 00 00  00 00 00 05  00 00 00 06`),
	} {
		t.Run(name, test)
	}
}

// TestGoldenWhole has whole PDUs: with padding, digests and AHS.
func TestGoldenWhole(t *testing.T) {
	ping := NOPOut{Immediate: true, InitiatorTaskTag: 1, TargetTransferTag: ReservedTag, CmdSN: 2, ExpStatSN: 3}
	command := SCSICommand{Final: true, Attr: Simple, CDB: [16]byte{0x7f}}
	ahs := AHS{ExtendedCDB: []byte{1, 2, 3, 4, 5}, ExpectedBidiReadLength: 512, HasBidiRead: true}
	const pingHeader = `40 80 00 00  00 00 00 05
		00 00 00 00 00 00 00 00
		00 00 00 01  ff ff ff ff
		00 00 00 02  00 00 00 03
		00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00`
	const commandHeader = `01 81 00 00  05 00 00 00
		00 00 00 00 00 00 00 00
		00 00 00 00  00 00 00 00
		00 00 00 00  00 00 00 00
		7f 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00
		00 06 01 00  01 02 03 04  05 00 00 00  # an extended CDB, its length with the reserved byte, padded
		00 05 02 00  00 00 02 00`
	tests := []struct {
		name                     string
		encode                   func(*BHS)
		ahs, data                []byte
		headerDigest, dataDigest bool
		want                     string
	}{
		{"no digests", ping.Encode, nil, []byte("hello"), false, false, pingHeader + `68 65 6c 6c 6f 00 00 00`},
		{"both digests", ping.Encode, nil, []byte("hello"), true, true, pingHeader + `c3 f8 04 4b  68 65 6c 6c 6f 00 00 00  b3 ed 03 90`},
		{"additional headers", command.Encode, ahs.Append(nil), nil, false, true, commandHeader},
		{"additional headers under the digest", command.Encode, ahs.Append(nil), nil, true, true, commandHeader + `0b 5b d6 9b`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := dirty()
			tt.encode(h)
			got := Append(nil, h, tt.ahs, tt.data, tt.headerDigest, tt.dataDigest)
			if want := unhex(t, tt.want); !bytes.Equal(got, want) {
				t.Fatalf("encoded\n%s\nwant\n%s", hex.Dump(got), hex.Dump(want))
			}
			r := NewReader(bytes.NewReader(got))
			r.SetLimits(Limits{MaxRecvDataSegmentLength: 8192, HeaderDigest: tt.headerDigest, DataDigest: tt.dataDigest})
			p, err := r.Next()
			if err != nil || *p.BHS != *h || !bytes.Equal(p.AHS, tt.ahs) || !bytes.Equal(p.Data, tt.data) {
				t.Errorf("read %+v, error %v", p, err)
			}
		})
	}
}
