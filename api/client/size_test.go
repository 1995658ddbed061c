package client_test

import (
	"encoding/json"
	"testing"

	"elstore/api/client"
	"elstore/volume"
)

func TestSize(t *testing.T) {
	tests := []struct {
		name string
		size client.Size
		want string
	}{
		{"nothing", 0, "0"},
		{"a byte", 1, "0.000000001"},
		{"a sector", 512, "0.000000512"},
		{"a GB", 1e9, "1"},
		{"ten GB", 10e9, "10"},
		{"half", 1.5e9, "1.5"},
		{"a GiB", 1 << 30, "1.073741824"},
		{"the largest", 1<<50 - 512, "1125899.906842112"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := json.Marshal(tt.size)
			if err != nil || string(got) != tt.want {
				t.Errorf("written as %s, %v; want %s", got, err, tt.want)
			}
		})
	}
	if _, err := json.Marshal(client.Size(-1)); err == nil {
		t.Error("a negative size was written")
	}
}

func TestSizeRead(t *testing.T) {
	tests := []struct {
		text string
		want client.Size // -1: refused
	}{
		{`1`, 1e9},
		{`"100"`, 100e9},
		{`1.5`, 1500000256},
		{`1e2`, 100e9},
		{`0`, 0},
		{`0.0000000001`, 512},
		{`1E-9`, 512},
		{`-1`, -1},
		{`"x"`, -1},
		{`"1/3"`, -1},
		{`"0x10"`, -1},
		{`"inf"`, -1},
		{`1e30`, -1},
		{`1e999999999`, -1},
		{`""`, -1},
		{`true`, -1},
		{`[]`, -1},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			var got client.Size
			err := json.Unmarshal([]byte(tt.text), &got)
			if tt.want < 0 != (err != nil) || err == nil && got != tt.want {
				t.Errorf("read as %d, %v; want %d", got, err, tt.want)
			}
		})
	}
}

// FuzzSize: what we write of whole sectors the server reads as the same bytes.
func FuzzSize(f *testing.F) {
	for _, n := range []int64{1, 2, 1953125, 1 << 40} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		sectors := 1 + int64(uint64(n)%(volume.MaxSize/volume.SectorSize))
		data, err := json.Marshal(client.Size(sectors * client.SectorSize))
		if err != nil {
			t.Fatal(err)
		}
		var server volume.Gigabytes
		if err := json.Unmarshal(data, &server); err != nil || server.Bytes != sectors*volume.SectorSize {
			t.Errorf("%d sectors were written as %s, and the server read %d bytes, %v", sectors, data, server.Bytes, err)
		}
		var back client.Size
		if err := json.Unmarshal(data, &back); err != nil || int64(back) != sectors*client.SectorSize {
			t.Errorf("%s was read back as %d, %v", data, back, err)
		}
	})
}

func FuzzSizeRead(f *testing.F) {
	for _, s := range []string{`1`, `"1.5"`, `1e3`, `-0`, `1e-300`, `"1e+99"`, `.5`, `"5."`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s client.Size
		if s.UnmarshalJSON(data) == nil && (s < 0 || s%client.SectorSize != 0) {
			t.Errorf("%q was read as %d bytes", data, s)
		}
	})
}
