package qemu

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func reportsOf(pieces ...string) []float64 {
	var got []float64
	w := progressWriter{report: func(p float64) { got = append(got, p) }}
	for _, p := range pieces {
		_, _ = w.Write([]byte(p))
	}
	return got
}

func TestProgressWriter(t *testing.T) {
	for name, tc := range map[string]struct {
		pieces []string
		want   []float64
	}{
		"nothing":           {nil, nil},
		"as QEMU writes":    {[]string{"    (0.00/100%)\r    (1.33/100%)\r    (100.00/100%)\r\n"}, []float64{0, 1.33, 100}},
		"cut anywhere":      {[]string{"    (1", "2.5/1", "00%)", "\r", " (13/100%)\r"}, []float64{12.5, 13}},
		"not ended":         {[]string{"    (50.00/100%)"}, nil},
		"never falls":       {[]string{"(50/100%)\r(20/100%)\r(50/100%)\r(51/100%)\r"}, []float64{50, 51}},
		"other lines":       {[]string{"warning: (5/100%) of it\n(6/100%)\n"}, []float64{6}},
		"a long line":       {[]string{strings.Repeat(" ", 100) + "(6/100%)\n(7/100%)\n"}, []float64{7}},
		"over a hundred":    {[]string{"(101/100%)\r"}, nil},
		"below zero":        {[]string{"(-1/100%)\r"}, nil},
		"not a number":      {[]string{"(NaN/100%)\r(+Inf/100%)\r(x/100%)\r(/100%)\r"}, nil},
		"without a bracket": {[]string{"5/100%)\r(5/100%\r"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := reportsOf(tc.pieces...); !slices.Equal(got, tc.want) {
				t.Fatalf("reports are %v, want %v", got, tc.want)
			}
		})
	}
}

func TestShare(t *testing.T) {
	for _, tc := range []struct {
		percent     float64
		total, want int64
	}{
		{0, 1000, 0},
		{50, 1000, 500},
		{100, 1000, 999}, // not before it is on stable storage
		{100, 0, 0},
		{100, math.MaxInt64, math.MaxInt64 - 1},
	} {
		if got := share(tc.percent, tc.total); got != tc.want {
			t.Errorf("%v %% of %d is %d, want %d", tc.percent, tc.total, got, tc.want)
		}
	}
}

func FuzzProgress(f *testing.F) {
	f.Add([]byte("    (0.00/100%)\r    (99.99/100%)\r    (100.00/100%)\r\n"), uint8(3))
	f.Add([]byte("(NaN/100%)\r(1e400/100%)\r(0x1p3/100%)\n"), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		whole := reportsOf(string(data))
		for i, p := range whole {
			if !(p >= 0 && p <= 100) || i > 0 && p <= whole[i-1] {
				t.Fatalf("reports are %v", whole)
			}
		}
		var pieces []string
		for piece := range slices.Chunk(data, int(cut)+1) {
			pieces = append(pieces, string(piece))
		}
		if got := reportsOf(pieces...); !slices.Equal(got, whole) {
			t.Fatalf("cut in pieces of %d: %v, whole: %v", int(cut)+1, got, whole)
		}
	})
}
