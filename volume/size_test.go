package volume

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestGigabytes(t *testing.T) {
	tests := map[string]int64{ // -1 is refused
		`1`:                                   1_000_000_000,
		`4`:                                   4_000_000_000,
		`"100"`:                               100_000_000_000,
		`0.5`:                                 500_000_256,
		`1.5`:                                 1_500_000_256,
		`"2.25"`:                              2_250_000_384,
		`1e2`:                                 100_000_000_000,
		`1E+2`:                                100_000_000_000,
		`0.0000000001`:                        512, // rounded up to a sector
		`0.000000512`:                         512,
		`0.000000513`:                         1024,
		`1.000000001`:                         1_000_000_512,
		`1125899.906842112`:                   MaxSize,
		`1125899.906842113`:                   -1,
		`1125900`:                             -1,
		`0`:                                   -1,
		`-1`:                                  -1,
		`"-1"`:                                -1,
		`1e30`:                                -1,
		`1e999999999`:                         -1,
		`1e-999999999`:                        -1,
		`"NaN"`:                               -1,
		`"Inf"`:                               -1,
		`"0x10"`:                              -1,
		`"1/2"`:                               -1,
		`"1_000"`:                             -1,
		`""`:                                  -1,
		`" 1"`:                                -1,
		`true`:                                -1,
		`null`:                                -1,
		`{}`:                                  -1,
		`"` + strings.Repeat("9", 1000) + `"`: -1,
	}
	for in, want := range tests {
		t.Run(in[:min(len(in), 24)], func(t *testing.T) {
			var g Gigabytes
			err := g.UnmarshalJSON([]byte(in))
			if (err == nil) != (want >= 0) || err == nil && g.Bytes != want {
				t.Fatalf("%s = %d, %v; want %d", in, g.Bytes, err, want)
			}
			if err != nil {
				return
			}
			if data, err := json.Marshal(g); err != nil || string(data) != in {
				t.Errorf("%s is echoed as %s, %v", in, data, err)
			}
		})
	}
}

func TestFromBytes(t *testing.T) {
	for in, want := range map[int64]int64{512: 512, 513: 1024, 1e9: 1e9, 1<<40 + 1: 1<<40 + 512} {
		g := FromBytes(in)
		data, err := json.Marshal(g)
		var back Gigabytes
		if err == nil {
			err = json.Unmarshal(data, &back)
		}
		if err != nil || g.Bytes != want || back.Bytes != want {
			t.Errorf("FromBytes(%d) = %d, written %s, read back %d, %v", in, g.Bytes, data, back.Bytes, err)
		}
	}
}

func FuzzGigabytes(f *testing.F) {
	for _, s := range []string{"1", "0.1", `"5"`, "1e30", "-1", "1e-400", `"`, `""`, "--1", "1.2.3"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var g Gigabytes
		if err := g.UnmarshalJSON(data); err != nil {
			if g != (Gigabytes{}) {
				t.Errorf("%q failed and left %v", data, g)
			}
			return
		}
		if g.Bytes < SectorSize || g.Bytes > MaxSize || g.Bytes%SectorSize != 0 {
			t.Errorf("%q = %d bytes", data, g.Bytes)
		}
	})
}
