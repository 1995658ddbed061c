package scsi

import (
	"bytes"
	"math"
	"testing"
)

func TestPiecesNext(t *testing.T) {
	p := &pieces{rest: [][]byte{nil, []byte("abc"), {}, []byte("d"), []byte("efgh"), nil}}
	for _, step := range []struct {
		n    int
		want string
	}{{2, "ab"}, {2, "c"}, {5, "d"}, {0, ""}, {3, "efg"}, {3, "h"}, {3, ""}, {3, ""}} {
		if got := p.next(step.n); string(got) != step.want {
			t.Fatalf("next %d: %q, want %q", step.n, got, step.want)
		}
	}
}

func TestPiecesMismatch(t *testing.T) {
	data := func() *pieces { return &pieces{rest: [][]byte{[]byte("abc"), []byte("defgh")}} }
	for text, want := range map[string]int{"": 0, "abcdefgh": 8, "abcdefghi": 8, "abc": 3, "x": 0, "abx": 2, "abcx": 3, "abcdefgx": 7} {
		if got := data().mismatch([]byte(text)); got != want {
			t.Errorf("%q has %d bytes in common, want %d", text, got, want)
		}
	}
	p := data()
	if p.mismatch([]byte("abcd")) != 4 || p.mismatch([]byte("efgh")) != 4 || p.mismatch([]byte("i")) != 0 {
		t.Error("it does not go on where it stopped")
	}
}

func TestParameters(t *testing.T) {
	for name, out := range map[string][][]byte{
		"one piece": {[]byte("abcdef")}, "two": {[]byte("abc"), []byte("def")}, "more": {{}, []byte("a"), nil, []byte("bcdefgh"), []byte("ij")},
	} {
		c := &Command{Out: out}
		for n := range 7 {
			list, ok := c.parameters(n)
			if !ok || string(list) != "abcdef"[:n] {
				t.Errorf("%s: %d bytes are %q, %t", name, n, list, ok)
			}
		}
		if _, ok := c.parameters(11); ok {
			t.Errorf("%s: there are not that many bytes", name)
		}
	}
	if list, ok := new(Command).parameters(0); !ok || len(list) != 0 {
		t.Error("no bytes are always there")
	}
	if _, ok := new(Command).parameters(1); ok {
		t.Error("there is nothing")
	}
}

func TestSpanWithin(t *testing.T) {
	tests := []struct {
		span   span
		blocks uint64
		want   bool
	}{
		{span{0, 0}, 0, true},
		{span{0, 1}, 0, false},
		{span{0, 1}, 1, true},
		{span{1, 0}, 1, true},
		{span{2, 0}, 1, false},
		{span{1, 1}, 1, false},
		{span{math.MaxUint64, 1}, 10, false},
		{span{math.MaxUint64, math.MaxUint64}, 10, false},
		{span{5, math.MaxUint64 - 4}, 10, false},
		{span{0, 10}, 10, true},
		{span{9, 2}, 10, false},
		{span{math.MaxUint64 - 1, 1}, math.MaxUint64, true},
	}
	for _, tt := range tests {
		if got := tt.span.within(tt.blocks); got != tt.want {
			t.Errorf("%+v within %d blocks: %t", tt.span, tt.blocks, got)
		}
	}
}

func TestDecode(t *testing.T) {
	var cdb [16]byte
	for i := range cdb {
		cdb[i] = byte(0xf0 + i)
	}
	for f, want := range map[form]span{
		noBlocks:      {},
		blocks6:       {0x11f2f3, 0xf4},
		blocks10:      {0xf2f3f4f5, 0xf7f8},
		blocks12:      {0xf2f3f4f5, 0xf6f7f8f9},
		blocks16:      {0xf2f3f4f5f6f7f8f9, 0xfafbfcfd},
		blocksCompare: {0xf2f3f4f5f6f7f8f9, 0xfd},
		blocksStart:   {0xf2f3f4f5f6f7f8f9, 0},
	} {
		if got := f.decode(&cdb); got != want {
			t.Errorf("form %d: %+v, want %+v", f, got, want)
		}
	}
	if got := blocks6.decode(new([16]byte)); got != (span{0, 256}) {
		t.Errorf("a length of zero is %+v", got)
	}
}

func TestCommonPrefix(t *testing.T) {
	a := bytes.Repeat([]byte{1}, 1000)
	for at := range a {
		b := bytes.Clone(a)
		b[at] = 2
		if got := commonPrefix(a, b); got != at {
			t.Fatalf("%d bytes, want %d", got, at)
		}
	}
	if commonPrefix(a, bytes.Clone(a)) != len(a) || commonPrefix(nil, nil) != 0 {
		t.Error("equal ones differ")
	}
}

func TestHighestBit(t *testing.T) {
	for b, want := range map[byte]int8{0: -1, 1: 0, 2: 1, 3: 1, 0x40: 6, 0x80: 7, 0xff: 7} {
		if got := highestBit(b); got != want {
			t.Errorf("%08b: %d, want %d", b, got, want)
		}
	}
}
