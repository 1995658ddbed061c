package qemu

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// vhostBytes puts a message together: numbers, and bytes as they are.
func vhostBytes(parts ...any) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		if err := binary.Write(&b, binary.NativeEndian, p); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func TestVhostMessages(t *testing.T) {
	for name, tc := range map[string]struct{ got, want []byte }{
		"a request":   {appendVhost(nil, vhostGetFeatures, nil), vhostBytes(uint32(1), uint32(1), uint32(0))},
		"a number":    {appendVhost(nil, vhostSetFeatures, vhostNumber(vhostFeatures)), vhostBytes(uint32(2), uint32(1), uint32(8), uint64(1<<32|1<<29|1<<9))},
		"a state":     {vhostState(256), vhostBytes(uint32(0), uint32(256))},
		"the memory":  {vhostTable(1 << 20), vhostBytes(uint32(1), uint32(0), uint64(vhostBase), uint64(1<<20), uint64(vhostBase), uint64(0))},
		"the rings":   {vhostRings(), vhostBytes(uint32(0), uint32(0), uint64(vhostBase), uint64(vhostBase+queueUsed), uint64(vhostBase+4096), uint64(0))},
		"in addition": {appendVhost([]byte("x"), vhostSetOwner, nil), append([]byte("x"), vhostBytes(uint32(3), uint32(1), uint32(0))...)},
	} {
		if !bytes.Equal(tc.got, tc.want) {
			t.Errorf("%s: %x, want %x", name, tc.got, tc.want)
		}
	}
}

func TestParseVhostNumber(t *testing.T) {
	for name, tc := range map[string]struct {
		reply []byte
		want  uint64
		err   string
	}{
		"good":            {vhostBytes(uint32(1), uint32(5), uint32(8), uint64(77)), 77, ""},
		"acknowledged":    {vhostBytes(uint32(1), uint32(5|8), uint32(8), uint64(1)), 1, ""},
		"of another":      {vhostBytes(uint32(2), uint32(5), uint32(8), uint64(77)), 0, "not the reply"},
		"no reply":        {vhostBytes(uint32(1), uint32(1), uint32(8), uint64(77)), 0, "not the reply"},
		"another version": {vhostBytes(uint32(1), uint32(6), uint32(8), uint64(77)), 0, "not the reply"},
		"of no length":    {vhostBytes(uint32(1), uint32(5), uint32(0), uint64(77)), 0, "not the reply"},
		"short":           {vhostBytes(uint32(1), uint32(5), uint32(8), uint32(77)), 0, "16 bytes"},
		"nothing":         {nil, 0, "0 bytes"},
	} {
		got, err := parseVhostNumber(tc.reply, vhostGetFeatures)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

func FuzzVhostNumber(f *testing.F) {
	f.Add(vhostBytes(uint32(1), uint32(5), uint32(8), uint64(77)))
	f.Add(vhostBytes(uint32(1), uint32(5), ^uint32(0), uint64(77)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parseVhostNumber(b, vhostGetFeatures); err == nil && !bytes.Equal(b[vhostHeader:], vhostNumber(n)) {
			t.Fatalf("%x is %d", b, n)
		}
	})
}
