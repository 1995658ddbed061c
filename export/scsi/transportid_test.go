package scsi

import (
	"strings"
	"testing"
)

func TestTransportID(t *testing.T) {
	for _, name := range []string{"iqn.a,i,0x000000000001", initiatorPort(3), "iqn.x", strings.Repeat("n", longestISCSIName) + ",i,0xffffffffffff"} {
		p := appendTransportID(nil, name)
		if len(p)%4 != 0 || len(p) < shortestTransportID {
			t.Errorf("%s: %d bytes", name, len(p))
		}
		id, ok := parseTransportID(append(p, 1, 2, 3))
		if !ok || id.length != len(p) {
			t.Fatalf("%s: %x is not read back", name, p)
		}
		if got := id.portName(); got != name && id.name != name {
			t.Errorf("%s is read back as %s", name, got)
		}
	}
}

func TestBadTransportIDs(t *testing.T) {
	const good = "45 00 0018" + "69716e2e612c692c3078303030303030303030303031 0000" // iqn.a,i,0x000000000001
	if _, ok := parseTransportID(unhex(t, good)); !ok {
		t.Fatal("the good one is bad")
	}
	for name, text := range map[string]string{
		"empty":             "",
		"short":             good[:20],
		"another protocol":  strings.Replace(good, "45", "46", 1),
		"format":            strings.Replace(good, "45", "85", 1),
		"length beyond":     strings.Replace(good, "0018", "001c", 1),
		"length too short":  strings.Replace(good, "0018", "0010", 1),
		"length not of 4":   strings.Replace(good, "0018", "0017", 1),
		"not ended":         strings.Replace(good, "0000", "3131", 1)[:len(good)-4] + "3131",
		"no ISID":           "45 00 0014" + "69716e2e61" + strings.Repeat("00", 15),
		"short ISID":        strings.Replace(good, "31 0000", "00 0000", 1),
		"ISID not a number": strings.Replace(good, "31 0000", "7a 0000", 1),
		"no name":           "05 00 0014" + strings.Repeat("00", 20),
		"unprintable":       "05 00 0014 01" + strings.Repeat("00", 19),
	} {
		if id, ok := parseTransportID(unhex(t, text)); ok {
			t.Errorf("%s: read as %+v", name, id)
		}
	}
}

func FuzzTransportID(f *testing.F) {
	f.Add(appendTransportID(nil, initiatorPort(1)))
	f.Add(appendTransportID(nil, "iqn.a"))
	f.Add([]byte{0x45, 0, 0, 20})
	f.Fuzz(func(t *testing.T, p []byte) {
		id, ok := parseTransportID(p)
		if !ok {
			return
		}
		if id.length > len(p) || id.length%4 != 0 || id.name == "" {
			t.Fatalf("%x is read as %+v", p, id)
		}
		name := id.name
		if id.session != "" {
			name = id.portName()
		}
		again, ok := parseTransportID(appendTransportID(nil, name))
		if !ok || again.name != id.name || again.session != id.session {
			t.Fatalf("%+v becomes %+v", id, again)
		}
	})
}
