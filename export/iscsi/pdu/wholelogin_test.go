package pdu

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"testing/iotest"
)

// TestWholeLogins frames and decodes whole logins. The dumps in testdata were made by a script that knows
// nothing of this package, by the rules of the initiators that they name.
func TestWholeLogins(t *testing.T) {
	const target = "iqn.2004-10.cloud.elemento:01:0123456789abcdef0123456789abcdef"
	type request struct {
		login Login
		pairs []Pair
	}
	tests := []struct {
		file string
		want []request
	}{
		{"linux.hex", []request{
			{
				Login{
					Transit: true, CSG: SecurityNegotiation, NSG: OperationalNegotiation, DataSegmentLength: 182,
					ISID: ISID{0x00, 0x02, 0x3d, 0x01}, CmdSN: 1,
				},
				[]Pair{
					{"InitiatorName", "iqn.1993-08.org.debian:01:a3f2b5e5c7d"},
					{"InitiatorAlias", "node1"},
					{"TargetName", target},
					{"SessionType", "Normal"},
					{"AuthMethod", "None"},
				},
			},
			{
				Login{
					Transit: true, CSG: OperationalNegotiation, NSG: FullFeaturePhase, DataSegmentLength: 311,
					ISID: ISID{0x00, 0x02, 0x3d, 0x01}, CmdSN: 1, ExpStatSN: 2,
				},
				[]Pair{
					{"HeaderDigest", "None"},
					{"DataDigest", "None"},
					{"DefaultTime2Wait", "2"},
					{"DefaultTime2Retain", "0"},
					{"IFMarker", "No"},
					{"OFMarker", "No"},
					{"ErrorRecoveryLevel", "0"},
					{"InitialR2T", "No"},
					{"ImmediateData", "Yes"},
					{"MaxBurstLength", "16776192"},
					{"FirstBurstLength", "262144"},
					{"MaxOutstandingR2T", "1"},
					{"MaxConnections", "1"},
					{"DataPDUInOrder", "Yes"},
					{"DataSequenceInOrder", "Yes"},
					{"MaxRecvDataSegmentLength", "262144"},
				},
			},
		}},
		{"windows.hex", []request{
			{
				Login{
					Transit: true, CSG: SecurityNegotiation, NSG: OperationalNegotiation, DataSegmentLength: 54,
					ISID: ISID{0x40, 0x00, 0x01, 0x37}, InitiatorTaskTag: 1, CID: 1, CmdSN: 1, ExpStatSN: 2,
				},
				[]Pair{{"CHAP_N", "vm-1"}, {"CHAP_R", "0x95f272b81ee59bc8c41ea3a7c79e56ca"}},
			},
			{
				Login{
					Transit: true, CSG: OperationalNegotiation, NSG: FullFeaturePhase, DataSegmentLength: 299,
					ISID: ISID{0x40, 0x00, 0x01, 0x37}, InitiatorTaskTag: 1, CID: 1, CmdSN: 1, ExpStatSN: 3,
				},
				[]Pair{
					{"HeaderDigest", "None,CRC32C"},
					{"DataDigest", "None,CRC32C"},
					{"ErrorRecoveryLevel", "2"},
					{"InitialR2T", "No"},
					{"ImmediateData", "Yes"},
					{"MaxRecvDataSegmentLength", "65536"},
					{"MaxBurstLength", "262144"},
					{"FirstBurstLength", "65536"},
					{"MaxConnections", "1"},
					{"DataPDUInOrder", "Yes"},
					{"DataSequenceInOrder", "Yes"},
					{"DefaultTime2Wait", "0"},
					{"DefaultTime2Retain", "60"},
					{"MaxOutstandingR2T", "16"},
				},
			},
		}},
		{"vmware.hex", []request{{
			Login{
				Transit: true, CSG: SecurityNegotiation, NSG: OperationalNegotiation, DataSegmentLength: 199,
				ISID: ISID{0x00, 0x02, 0x3d, 0x00, 0x00, 0x01}, InitiatorTaskTag: 0x0a000000,
			},
			[]Pair{
				{"InitiatorName", "iqn.1998-01.com.vmware:esx1-4b2c0f1e"},
				{"InitiatorAlias", "esx1.example.com"},
				{"TargetName", target},
				{"SessionType", "Normal"},
				{"AuthMethod", "CHAP,None"},
			},
		}}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			dump, err := os.ReadFile("testdata/" + tt.file)
			if err != nil {
				t.Fatal(err)
			}
			wire := unhex(t, string(dump))
			r := NewReader(iotest.HalfReader(bytes.NewReader(wire)))
			defer r.Close()
			var again []byte
			for n, want := range tt.want {
				p, err := r.Next()
				if err != nil {
					t.Fatalf("request %d: %v", n, err)
				}
				var got Login
				if got.Decode(p.BHS); got != want.login {
					t.Errorf("request %d is\n%+v, want\n%+v", n, got, want.login)
				}
				pairs, err := ParseText(p.Data, 32)
				if err != nil || !slices.Equal(pairs, want.pairs) {
					t.Errorf("request %d has %q, want %q: %v", n, pairs, want.pairs, err)
				}
				h := dirty()
				got.Encode(h)
				again = Append(again, h, nil, p.Data, false, false)
			}
			if !bytes.Equal(again, wire) {
				t.Errorf("encoded again it is\n% x, want\n% x", again, wire)
			}
		})
	}
}
