package pdu

import (
	"bytes"
	"strings"
	"testing"
)

func TestOpcode(t *testing.T) {
	initiators := 0
	for op := range Opcode(64) {
		if op.FromInitiator() {
			initiators++
			if op >= 0x20 {
				t.Errorf("%v is an initiator's", op)
			}
		}
	}
	if initiators != 8 {
		t.Errorf("initiators have %d opcodes, want 8", initiators)
	}
	for op, want := range map[Opcode]string{
		OpNOPOut: "NOP-Out", OpReject: "Reject", OpDataIn: "SCSI Data-In", 0x1c: "opcode 0x1c", 0x3e: "opcode 0x3e", 0xff: "opcode 0xff",
	} {
		if got := op.String(); got != want {
			t.Errorf("%#02x is %q, want %q", uint8(op), got, want)
		}
	}
}

func TestBHS(t *testing.T) {
	h := (*BHS)(unhex(t, `c1 80 00 00  ff 01 02 03
		01 02 03 04 05 06 07 08
		11 12 13 14  21 22 23 24  31 32 33 34  41 42 43 44
		00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00`))
	if h.Opcode() != OpSCSICommand || !h.Immediate() || !h.Final() {
		t.Errorf("opcode %v, I %t, F %t", h.Opcode(), h.Immediate(), h.Final())
	}
	if h.TotalAHSLength() != MaxTotalAHSLength || h.DataSegmentLength() != 0x010203 {
		t.Errorf("AHS %d, data %#x", h.TotalAHSLength(), h.DataSegmentLength())
	}
	if h.LUN() != 0x0102030405060708 || h.InitiatorTaskTag() != 0x11121314 || h.TargetTransferTag() != 0x21222324 {
		t.Errorf("LUN %#x, tags %#x %#x", h.LUN(), h.InitiatorTaskTag(), h.TargetTransferTag())
	}
	if h.CmdSN() != 0x31323334 || h.ExpStatSN() != 0x41424344 {
		t.Errorf("CmdSN %#x, ExpStatSN %#x", h.CmdSN(), h.ExpStatSN())
	}
	for _, n := range []int{0, 1, 255, 256, 65536, MaxDataSegmentLength} {
		if h.SetDataSegmentLength(n); h.DataSegmentLength() != n || h.TotalAHSLength() != MaxTotalAHSLength {
			t.Errorf("set to %d the length is %d", n, h.DataSegmentLength())
		}
	}
	for n, want := range map[int]int{0: 0, 1: 3, 2: 2, 3: 1, 4: 0, 5: 3, MaxDataSegmentLength: 1} {
		if got := Padding(n); got != want {
			t.Errorf("Padding(%d) is %d, want %d", n, got, want)
		}
	}
}

func TestSN(t *testing.T) {
	tests := []struct {
		name         string
		s, t         SN
		less, atMost bool
		since        int
	}{
		{"equal", 5, 5, false, true, 0},
		{"before", 4, 5, true, true, -1},
		{"after", 5, 4, false, false, 1},
		{"across the wrap", 0xffffffff, 0, true, true, -1},
		{"back across the wrap", 0, 0xffffffff, false, false, 1},
		{"as far as it goes", 0, 1<<31 - 1, true, true, -(1<<31 - 1)},
		{"half way round", 0, 1 << 31, false, false, -1 << 31},
		{"half way round from above", 1 << 31, 0, false, false, -1 << 31},
		{"more than half", 0, 1<<31 + 1, false, false, 1<<31 - 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.s.Less(tt.t); got != tt.less {
				t.Errorf("%#x.Less(%#x) is %t", tt.s, tt.t, got)
			}
			if got := tt.s.AtMost(tt.t); got != tt.atMost {
				t.Errorf("%#x.AtMost(%#x) is %t", tt.s, tt.t, got)
			}
			if got := tt.s.Since(tt.t); got != tt.since {
				t.Errorf("%#x.Since(%#x) is %d, want %d", tt.s, tt.t, got, tt.since)
			}
		})
	}
}

func TestSNWindow(t *testing.T) {
	tests := []struct {
		name           string
		s, first, last SN
		want           bool
	}{
		{"the first", 10, 10, 20, true},
		{"the last", 20, 10, 20, true},
		{"before", 9, 10, 20, false},
		{"behind", 21, 10, 20, false},
		{"the only one", 10, 10, 10, true},
		{"a closed window", 10, 10, 9, false},
		{"behind a closed window", 9, 10, 9, false},
		{"across the wrap", 3, 0xfffffff0, 5, true},
		{"before one across the wrap", 0xffffffef, 0xfffffff0, 5, false},
		{"behind one across the wrap", 6, 0xfffffff0, 5, false},
		{"closed at the wrap", 0, 0, 0xffffffff, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.s.In(tt.first, tt.last); got != tt.want {
				t.Errorf("%#x.In(%#x, %#x) is %t", tt.s, tt.first, tt.last, got)
			}
		})
	}
}

// TestDigest has the examples of RFC 7143's appendix A.4, as they are on the wire.
func TestDigest(t *testing.T) {
	rising := make([]byte, 32)
	falling := make([]byte, 32)
	for i := range rising {
		rising[i], falling[i] = byte(i), byte(31-i)
	}
	read := unhex(t, `01 c0 00 00 00 00 00 00 00 00 00 00 00 00 00 00
		14 00 00 00 00 00 04 00 00 00 00 14 00 00 00 18
		28 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00`)
	tests := []struct {
		name string
		p    []byte
		want string
	}{
		{"32 bytes of zeros", make([]byte, 32), "aa 36 91 8a"},
		{"32 bytes of ones", bytes.Repeat([]byte{0xff}, 32), "43 ab a8 62"},
		{"32 bytes of incrementing 00..1f", rising, "4e 79 dd 46"},
		{"32 bytes of decrementing 1f..00", falling, "5c db 3f 11"},
		{"an iSCSI READ(10) command PDU", read, "56 3a 96 d9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, want := AppendDigest(nil, Digest(tt.p)), unhex(t, tt.want); !bytes.Equal(got, want) {
				t.Errorf("digest % x, want % x", got, want)
			}
			if got := UpdateDigest(Digest(tt.p[:7]), tt.p[7:]); got != Digest(tt.p) {
				t.Errorf("in two pieces %#x", got)
			}
		})
	}
}

func TestSense(t *testing.T) {
	tests := []struct {
		name, data string
		want       string
		ok         bool
	}{
		{"none", "", "", true},
		{"sense", "00 02 70 00", "70 00", true},
		{"response data after it", "00 02 70 00 01 02", "70 00", true},
		{"no sense but response data", "00 00 01 02", "", true},
		{"half a length", "00", "", false},
		{"more than there is", "00 03 70 00", "", false},
		{"far more than there is", "ff ff", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Sense(unhex(t, tt.data))
			if !bytes.Equal(got, unhex(t, tt.want)) || ok != tt.ok {
				t.Errorf("sense % x, %t", got, ok)
			}
		})
	}
	if got := AppendSense([]byte{1}, []byte{0x70, 0}); !bytes.Equal(got, []byte{1, 0, 2, 0x70, 0}) {
		t.Errorf("appended % x", got)
	}
}

// TestNames sees to it that every value with a name has its own.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	unique := func(s string) {
		t.Helper()
		if seen[s] || s == "" {
			t.Errorf("%q names two values", s)
		}
		seen[s] = true
	}
	for s := range LoginStatus(0x310) {
		name := s.String()
		unique(name)
		if known := !strings.HasPrefix(name, "login status"); known && s.Class() > 3 {
			t.Errorf("%s has class %d", name, s.Class())
		}
	}
	for r := range Reason(16) {
		unique(r.String())
	}
	for s := range Stage(4) {
		unique(s.String())
	}
	if got := AuthenticationFailure.Class(); got != 2 {
		t.Errorf("class %d, want 2", got)
	}
	if got := LoginStatus(0x0999).String(); got != "login status 0x0999" {
		t.Error(got)
	}
	if got := (ISID{0, 2, 0x3d, 1}).String(); got != "00023d010000" {
		t.Error(got)
	}
}
