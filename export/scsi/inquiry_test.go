package scsi

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// ascii returns text as hexadecimal digits.
func ascii(text string) string { return hex.EncodeToString([]byte(text)) }

const zeros22 = "00000000000000000000000000000000000000000000"

func TestStandardInquiry(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"disk", Config{}, "00 00 06 12 5b 18 10 02" + ascii("ELSTORE VIRTUAL DISK    1   ") + zeros22 + "00a0 0960 0460 04c0" + zeros22 + "0000000000000000"},
		{"removable", Config{Removable: true}, "00 80 06 12 5b 18 10 02" + ascii("ELSTORE VIRTUAL DISK    1   ") + zeros22 + "00a0 0960 0460 04c0" + zeros22 + "0000000000000000"},
		{"CD-ROM", Config{CDROM: true}, "05 80 06 12 5b 10 10 02" + ascii("ELSTORE VIRTUAL CD-ROM  1   ") + zeros22 + "00a0 0960 0460 04e0" + zeros22 + "0000000000000000"},
		{"names", Config{Vendor: "VENDOR78", Product: "PRODUCT890123456", Revision: "REV4"}, "00 00 06 12 5b 18 10 02" + ascii("VENDOR78PRODUCT890123456REV4") + zeros22 + "00a0 0960 0460 04c0" + zeros22 + "0000000000000000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			send(t, attach(t, newUnit(t, tt.cfg), 1), "12 00 00 ffff 00").wantData(t, tt.want)
		})
	}
	n := attach(t, newUnit(t, Config{}), 1)
	send(t, n, "12 00 00 0005 00").wantData(t, "00 00 06 12 5b")
	send(t, n, "12 00 01 00ff 00").want(t, "5/24/00").wantField(t, "c2")
	send(t, n, "12 01 ff 00ff 00").want(t, "5/24/00").wantField(t, "c2")
}

func TestVitalProductData(t *testing.T) {
	zero := func(n int) string { return strings.Repeat("00", n) }
	const id = "123456789abcdef00102030405060708"
	naa := hex.EncodeToString(func() []byte { b := testID.naa(); return b[:] }())
	if naa[0] != '3' {
		t.Fatalf("the world wide name %s is not locally assigned", naa)
	}
	disk, thin, cd := Config{}, Config{Thin: true, PhysicalExponent: 4}, Config{CDROM: true}
	eraser := Config{Device: eraserRAM{newRAM(1 << 20)}}
	limits := Config{Thin: true, Limits: Limits{
		TransferLength: 1, OptimalTransfer: 2, UnmapBlocks: 3, UnmapDescriptors: 4, WriteSameLength: 5, CompareAndWrite: 6, UnmapGranularity: 7,
	}}
	tests := []struct {
		name string
		cfg  Config
		page string
		want string
	}{
		{"supported pages", disk, "00", "00 00 0008 00 80 83 86 8f b0 b1 b2"},
		{"supported pages of a CD", cd, "00", "05 00 0004 00 80 83 86"},
		{"unit serial number", disk, "80", "00 80 0020" + ascii(id)},
		{
			"device identification", disk, "83", "00 83 00b8" +
				"01 03 00 08" + naa +
				"02 01 00 28" + ascii("ELSTORE "+id) +
				"01 0a 00 12 1000" + id +
				"51 94 00 04 00000001" +
				"51 95 00 04 00000001" +
				"53 98 00 2c" + ascii(testPort.Name) + zero(4) +
				"53 a8 00 20" + ascii(testPort.Target) + "00",
		},
		{"extended inquiry", disk, "86", "00 86 003c 00 07 01 01" + zero(56)},
		{"third party copy", disk, "8f", "00 8f 000c 0001 0008 07 83 01 00 84 02 00 03"},
		{
			"block limits", disk, "b0", "00 b0 003c 00 ff 0008 00010000 00000800 00000000" +
				zero(16) + "0000000000100000" + zero(20),
		},
		{
			"block limits, thin", thin, "b0", "00 b0 003c 00 ff 0010 00010000 00000800 00000000" +
				"00100000 00000100 00000008 80000000 0000000000100000" + zero(20),
		},
		{
			"block limits, others", limits, "b0", "00 b0 003c 00 06 0007 00000001 00000002 00000000" +
				"00000003 00000004 00000007 80000000 0000000000000005" + zero(20),
		},
		{
			"block limits, without UNMAP", Config{Thin: true, NoUnmap: true}, "b0", "00 b0 003c 00 ff 0008 00010000 00000800 00000000" +
				"00000000 00000000 00000008 80000000 0000000000100000" + zero(20),
		},
		{"block device characteristics", disk, "b1", "00 b1 003c 0001 0000" + zero(56)},
		{"block device characteristics, sanitizing", eraser, "b1", "00 b1 003c 0001 0010" + zero(56)},
		{"provisioning, thick", disk, "b2", "00 b2 0004 00 00 00 00"},
		{"provisioning, thin", thin, "b2", "00 b2 0004 00 e4 02 00"},
		{"provisioning, without UNMAP", Config{Thin: true, NoUnmap: true}, "b2", "00 b2 0004 00 64 02 00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			send(t, attach(t, newUnit(t, tt.cfg), 1), "12 01 "+tt.page+" ffff 00").wantData(t, fixLength(t, tt.want))
		})
	}
	t.Run("a disk's page of a CD", func(t *testing.T) {
		send(t, attach(t, newUnit(t, cd), 1), "12 01 b0 ffff 00").want(t, "5/24/00").wantField(t, "c2")
	})
}

// fixLength puts the page length into a page whose parts are written out.
func fixLength(t *testing.T, page string) string {
	b := unhex(t, page)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	return hex.EncodeToString(b)
}

// TestPageLists: every page that page 00h lists is there, in ascending order.
func TestPageLists(t *testing.T) {
	for name, cfg := range map[string]Config{"disk": {}, "thin": {Thin: true}, "CD-ROM": {CDROM: true}} {
		n := attach(t, newUnit(t, cfg), 1)
		last := -1
		for _, code := range send(t, n, "12 01 00 00ff 00").want(t, "good").data[4:] {
			if int(code) <= last {
				t.Errorf("%s: page %02x after %02x", name, code, last)
			}
			last = int(code)
			page := send(t, n, "12 01 "+hex.EncodeToString([]byte{code})+" 0fff 00").want(t, "good").data
			if page[1] != code || int(binary.BigEndian.Uint16(page[2:])) != len(page)-4 {
				t.Errorf("%s: page %02x begins with %x and has %d bytes", name, code, page[:4], len(page))
			}
		}
	}
}

func TestPadName(t *testing.T) {
	for n := range 300 {
		padded := padName(strings.Repeat("x", n))
		if len(padded)%4 != 0 || len(padded) > 252 || padded[len(padded)-1] != 0 || strings.Count(padded, "x") != min(n, 251) {
			t.Errorf("%d letters become %d bytes", n, len(padded))
		}
	}
}

func TestWorldWideNamesDiffer(t *testing.T) {
	seen := make(map[[8]byte]bool)
	for i := range 256 {
		name := ID{15: byte(i)}.naa()
		if seen[name] || name[0]>>4 != 3 {
			t.Errorf("id %d has the name %x", i, name)
		}
		seen[name] = true
	}
}

func TestConfig(t *testing.T) {
	device := newRAM(1 << 20)
	for name, cfg := range map[string]Config{
		"no device":        {},
		"block size":       {Device: device, BlockSize: 520},
		"CD block size":    {Device: device, CDROM: true, BlockSize: 512},
		"exponent":         {Device: device, PhysicalExponent: 8},
		"long vendor":      {Device: device, Vendor: "NINE CHAR"},
		"long product":     {Device: device, Product: "SEVENTEEN LETTERS"},
		"long revision":    {Device: device, Revision: "FIVE5"},
		"unprintable":      {Device: device, Vendor: "V\x01"},
		"not ASCII":        {Device: device, Product: "DISQUÉ"},
		"broken store":     {Device: device, Reservations: &memoryStore{err: errTest}},
		"unknown type":     {Device: device, Reservations: &memoryStore{saved: &Reservations{Type: 2}}},
		"holder not there": {Device: device, Reservations: &memoryStore{saved: &Reservations{Type: WriteExclusive, Holder: &Registration{}}}},
		"no holder":        {Device: device, Reservations: &memoryStore{saved: &Reservations{Type: WriteExclusive}}},
		"nobody":           {Device: device, Reservations: &memoryStore{saved: &Reservations{Type: WriteExclusiveAllRegistrants}}},
	} {
		if lu, err := New(t.Context(), cfg); err == nil || lu != nil {
			t.Errorf("%s is taken", name)
		}
	}
}
