package scsi

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func newCD(t testing.TB, size int) (*ram, *Nexus) {
	t.Helper()
	disc := newRAM(size)
	copy(disc.data, pattern(1, size/512))
	return disc, attach(t, newUnit(t, Config{Device: disc, CDROM: true}), 1)
}

func TestReadTOC(t *testing.T) {
	_, n := newCD(t, 2048*5000)
	const track, leadOut = "00 14 01 00 00000000", "00 14 aa 00 00001388"
	tests := []struct{ name, cdb, want string }{
		{"tracks", "43 00 00 000000 00 0fff 00", "0012 01 01" + track + leadOut},
		{"from track 1", "43 00 00 000000 01 0fff 00", "0012 01 01" + track + leadOut},
		{"lead-out", "43 00 00 000000 aa 0fff 00", "000a 01 01" + leadOut},
		{"in minutes", "43 02 00 000000 00 0fff 00", "0012 01 01 00 14 01 00 00 00 02 00 00 14 aa 00 00 01 08 32"},
		{"cut off", "43 00 00 000000 00 0004 00", "0012 01 01"},
		{"sessions", "43 00 01 000000 00 0fff 00", "000a 01 01" + track},
		{"sessions, as before MMC", "43 00 00 000000 00 0fff 40", "000a 01 01" + track},
		{"raw", "43 02 02 000000 00 0fff 00", "002e 01 01" +
			"01 14 00 a0 000000 00 01 00 00 01 14 00 a1 000000 00 01 00 00" +
			"01 14 00 a2 000000 00 01 08 32 01 14 00 01 000000 00 00 02 00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { send(t, n, tt.cdb).wantData(t, tt.want) })
	}
	send(t, n, "43 00 00 000000 02 0fff 00").want(t, "5/24/00").wantField(t, "c6")
	send(t, n, "43 00 03 000000 00 0fff 00").want(t, "5/24/00").wantField(t, "c2.3")
}

func TestDiscAndTrackInformation(t *testing.T) {
	_, n := newCD(t, 2048*5000)
	send(t, n, "51 00 0000000000 0fff 00").wantData(t, "0020 0e 01 01 01 01 20"+strings.Repeat("00", 26))
	send(t, n, "51 01 0000000000 0fff 00").want(t, "5/24/00").wantField(t, "c1.2")
	track := "0022 01 01 00 04 01 00" + strings.Repeat("00", 16) + "00001388" + strings.Repeat("00", 8)
	for _, cdb := range []string{"52 00 00001387 00 0fff 00", "52 01 00000001 00 0fff 00", "52 02 00000001 00 0fff 00"} {
		send(t, n, cdb).wantData(t, track)
	}
	send(t, n, "52 00 00001388 00 0fff 00").want(t, "5/21/00")
	send(t, n, "52 01 00000002 00 0fff 00").want(t, "5/24/00").wantField(t, "c2")
	send(t, n, "52 03 00000001 00 0fff 00").want(t, "5/24/00").wantField(t, "c1.1")
}

func TestGetConfiguration(t *testing.T) {
	_, n := newCD(t, 2048*5000)
	n.raise(attentionMode) // is neither reported nor cleared by it
	const core = "0001 0b 08 0000000101000000"
	const morphing, removable, random = "0002 07 04 02000000", "0003 0b 04 39000000", "0010 01 08 0000080000010000"
	const cdRead, noDVD, power, timeout = "001e 09 04 00000000", "001f 04 04 00000000", "0100 03 00", "0105 07 04 00000000"
	const profiles = "0000 03 08 00100000 00080100"
	tests := []struct{ name, cdb, want string }{
		{"all", "46 00 0000 000000 0fff 00", "0000 0008" + profiles + core + morphing + removable + random + cdRead + noDVD + power + timeout},
		{"from one on", "46 00 0100 000000 0fff 00", "0000 0008" + power + timeout},
		{"current ones", "46 01 001e 000000 0fff 00", "0000 0008" + cdRead + power + timeout},
		{"one", "46 02 0003 000000 0fff 00", "0000 0008" + removable},
		{"one that is not there", "46 02 0004 000000 0fff 00", "0000 0008"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := unhex(t, tt.want)
			send(t, n, tt.cdb).wantData(t, fmt.Sprintf("%08x%x", len(data), data))
		})
	}
	send(t, n, "46 03 0000 000000 0fff 00").want(t, "5/24/00").wantField(t, "c1.1")
	send(t, n, "46 02 0003 000000 0004 00").wantData(t, "0000000c")
	send(t, n, "00").want(t, "6/2a/01")

	_, dvd := newCD(t, 0)
	dvd.unit.Resized(4 << 30)
	dvd.pending.Store(0)
	send(t, dvd, "46 02 0000 000000 0fff 00").wantData(t, "00000010 0000 0010 0000 03 08 00100100 00080000")
	send(t, dvd, "1b 00 00 00 02 00").want(t, "good")
	send(t, dvd, "46 02 0000 000000 0fff 00").wantData(t, "00000010 0000 0000 0000 03 08 00100000 00080000")
	send(t, dvd, "46 01 0010 000000 0fff 00").wantData(t, "00000010 0000 0000"+power+timeout)
}

func TestEventsAndMechanism(t *testing.T) {
	_, n := newCD(t, 2048*5000)
	send(t, n, "4a 01 0000 10 0000 00ff 00").wantData(t, "0006 04 10 00 02 0000")
	send(t, n, "4a 01 0000 02 0000 00ff 00").wantData(t, "0002 80 10")
	send(t, n, "4a 00 0000 10 0000 00ff 00").want(t, "5/24/00").wantField(t, "c1.0")
	send(t, n, "bd 00 000000000000 00ff 0000").wantData(t, "0000000000000000")
	send(t, n, "1b 00 00 00 02 00").want(t, "good")
	send(t, n, "4a 01 0000 10 0000 00ff 00").wantData(t, "0006 04 10 00 01 0000")
	send(t, n, "bd 00 000000000000 00ff 0000").wantData(t, "0010000000000000")
	send(t, n, "43 00 00 000000 00 0fff 00").want(t, "2/3a/00")
	send(t, n, "28 00 00000000 00 0001 00").want(t, "2/3a/00")
}

// TestLastSector: an image that ends within a sector is read as if zeros followed.
func TestLastSector(t *testing.T) {
	disc, n := newCD(t, 2048*3+512)
	want := append(bytes.Clone(disc.data), make([]byte, 2048-512)...)
	if r := send(t, n, "28 00 00000000 00 0004 00").want(t, "good"); !bytes.Equal(r.data, want) {
		t.Errorf("%d bytes, or others", len(r.data))
	}
	if r := send(t, n, "28 00 00000003 00 0001 00").want(t, "good"); !bytes.Equal(r.data, want[3*2048:]) {
		t.Errorf("%d bytes, or others", len(r.data))
	}
	send(t, n, "28 00 00000004 00 0001 00").want(t, "5/21/00")
	send(t, n, "2f").want(t, "5/20/00")
	cdb := parseCDB(t, "28 00 00000000 00 0004 00")
	if n.unit.Plan(&cdb).Direct {
		t.Error("the Device can't be read there directly")
	}
	cdb = parseCDB(t, "28 00 00000000 00 0003 00")
	if !n.unit.Plan(&cdb).Direct {
		t.Error("the Device can be read there directly")
	}
	// An image that shrank meanwhile reads as zeros at its end.
	disc.data = disc.data[:2048]
	if r := send(t, n, "28 00 00000002 00 0001 00").want(t, "good"); !bytes.Equal(r.data, make([]byte, 2048)) {
		t.Error("not zeros")
	}
}
