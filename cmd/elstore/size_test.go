package main

import (
	"strings"
	"testing"

	"elstore/api/client"
)

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		want client.Size // -1: refused
	}{
		{"10G", 10e9},
		{"10g", 10e9},
		{"10GB", 10e9},
		{"10Gi", 10 << 30},
		{"10GiB", 10 << 30},
		{"10gib", 10 << 30},
		{"10", 10e9},
		{"1.5", 1500000256},
		{"1.5T", 1.5e12},
		{"500M", 500000256}, // up to a whole sector
		{"512K", 512000},
		{"4Ki", 4096},
		{"1Mi", 1 << 20},
		{"4096B", 4096},
		{"4097b", 4608},
		{"1B", 512},
		{"0.000000001", 512},
		{".5Gi", 1 << 29},
		{"1P", 1000000000000000},
		{"1023.9Ti", 1125789955680256},
		{"1Pi", -1},
		{"0", -1},
		{"0G", -1},
		{"", -1},
		{"G", -1},
		{".", -1},
		{"-1G", -1},
		{"+1G", -1},
		{"1e3G", -1},
		{"1/3G", -1},
		{"0x10", -1},
		{"1_000", -1},
		{"1 G", -1},
		{"1X", -1},
		{"1Gb i", -1},
		{"1iB", -1},
		{"1GG", -1},
		{"1Bi", -1},
		{"inf", -1},
		{"NaN", -1},
		{"1.2.3G", -1},
		{"10Ｇ", -1},
		{strings.Repeat("9", 40), -1},
		{"99999999999999999999999999999999P", -1},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := parseSize(tt.text)
			if tt.want < 0 != (err != nil) || err == nil && got != tt.want {
				t.Errorf("parseSize(%q) = %d, %v; want %d", tt.text, got, err, tt.want)
			}
		})
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"10G", "1.5Ti", "4096B", ".5", "5.", "0.0000000000000001P", "1PiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseSize(s); err == nil && (n <= 0 || n > maxSize || n%client.SectorSize != 0) {
			t.Errorf("%q was read as %d bytes", s, n)
		}
	})
}

func TestHumanSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1 kB", 1536: "1.54 kB", 196672: "196.67 kB", 999_994: "999.99 kB", 999_999: "1 MB",
		10e9: "10 GB", 1.5e12: "1.5 TB", 107374182400: "107.37 GB", 1 << 50: "1.13 PB", 1<<63 - 1: "9.22 EB",
	} {
		if got := humanSize(n); got != want {
			t.Errorf("humanSize(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestHumanDuration(t *testing.T) {
	for s, want := range map[string]string{"24h0m0s": "24h", "1h30m0s": "90m", "0s": "0s", "10m0s": "10m", "1m1s": "1m1s", "soon": "soon"} {
		if got := humanDuration(s); got != want {
			t.Errorf("humanDuration(%s) = %s, want %s", s, got, want)
		}
	}
}
