package pdu

import (
	"bytes"
	"strings"
	"testing"
)

func TestAHS(t *testing.T) {
	cdb := "00 05 01 00  a1 a2 a3 a4"
	read := "00 05 02 00  00 00 10 00"
	tests := []struct {
		name, wire string
		want       AHS
		ok         bool
	}{
		{"none", "", AHS{}, true},
		{"a CDB of 20 bytes", cdb, AHS{ExtendedCDB: []byte{0xa1, 0xa2, 0xa3, 0xa4}}, true},
		{"a CDB of 17 bytes, padded", "00 02 01 00 a1 00 00 00", AHS{ExtendedCDB: []byte{0xa1}}, true},
		{"padding of other bytes", "00 02 01 00 a1 ff ff ff", AHS{ExtendedCDB: []byte{0xa1}}, true},
		{"the largest CDB", "00 f5 01 00" + strings.Repeat("ee", 244), AHS{ExtendedCDB: bytes.Repeat([]byte{0xee}, 244)}, true},
		{"a bidirectional read length", read, AHS{HasBidiRead: true, ExpectedBidiReadLength: 4096}, true},
		{"both", read + cdb, AHS{ExtendedCDB: []byte{0xa1, 0xa2, 0xa3, 0xa4}, HasBidiRead: true, ExpectedBidiReadLength: 4096}, true},

		{"half a header", "00 05", AHS{}, false},
		{"a length of 0", "00 00 01 00", AHS{}, false},
		{"a CDB of nothing", "00 01 01 00", AHS{}, false},
		{"a CDB too large", "00 f6 01 00" + strings.Repeat("ee", 248), AHS{}, false},
		{"more than there is", "00 06 01 00 a1 a2 a3 a4", AHS{}, false},
		{"far more than there is", "ff ff 01 00 a1 a2 a3 a4", AHS{}, false},
		{"an unknown type", "00 05 03 00 00 00 00 00", AHS{}, false},
		{"type 0", "00 05 00 00 00 00 00 00", AHS{}, false},
		{"a read length of 3 bytes", "00 04 02 00 00 00 10 00", AHS{}, false},
		{"a read length of 5 bytes", "00 06 02 00 00 00 10 00 00 00 00 00", AHS{}, false},
		{"two CDBs", cdb + cdb, AHS{}, false},
		{"two read lengths", read + read, AHS{}, false},
		{"something after it", cdb + "00 00 00 00", AHS{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			a := AHS{ExtendedCDB: []byte("old"), ExpectedBidiReadLength: 1, HasBidiRead: true}
			if ok := a.Decode(wire); ok != tt.ok {
				t.Fatalf("decoded %t: %+v", ok, a)
			}
			if !tt.ok {
				return
			}
			if !bytes.Equal(a.ExtendedCDB, tt.want.ExtendedCDB) || a.HasBidiRead != tt.want.HasBidiRead || a.ExpectedBidiReadLength != tt.want.ExpectedBidiReadLength {
				t.Errorf("decoded %+v, want %+v", a, tt.want)
			}
			var again AHS
			if !again.Decode(a.Append(nil)) || !bytes.Equal(again.ExtendedCDB, a.ExtendedCDB) || again.ExpectedBidiReadLength != a.ExpectedBidiReadLength {
				t.Errorf("decoded again %+v", again)
			}
		})
	}
}
