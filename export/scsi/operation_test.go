package scsi

import (
	"encoding/binary"
	"testing"
)

// cdbLengths are those of the groups of operation codes, SPC-4 table 12.
var cdbLengths = [8]int{6, 10, 10, 0, 16, 12, 0, 0}

func TestTable(t *testing.T) {
	names := make(map[string]bool)
	for code, operations := range index {
		for _, op := range operations {
			t.Run(op.name, func(t *testing.T) {
				if names[op.name] {
					t.Error("the name is there twice")
				}
				names[op.name] = true
				if int(op.code) != code || op.usage[0] != op.code {
					t.Errorf("operation code %02x, and %02x in the CDB usage data", op.code, op.usage[0])
				}
				if want := cdbLengths[code>>5]; len(op.usage) != want {
					t.Errorf("the CDB usage data have %d bytes, want %d", len(op.usage), want)
				}
				if op.service && op.usage[1]&0x1f != op.action {
					t.Errorf("service action %02x, and %02x in the CDB usage data", op.action, op.usage[1]&0x1f)
				}
				if op.usage[len(op.usage)-1]&0x04 == 0 {
					t.Error("NACA is looked at, and not in the CDB usage data")
				}
				if op.run == nil {
					t.Error("there is no function")
				}
				if op.is(changes) && op.conflicts != asWrite {
					t.Error("changes the medium, and a reservation of another lets it")
				}
				if int(op.at)+int(op.width) > len(op.usage)-1 {
					t.Error("the length field is beyond the CDB")
				}
				for i := range op.width {
					if op.usage[op.at+i] != 0xff {
						t.Error("the length field is not in the CDB usage data")
					}
				}
			})
		}
	}
	if len(names) < 60 {
		t.Errorf("only %d operations", len(names))
	}
}

// TestUsageShowsTheSpan sets the bits of the usage data one by one: those of the address and length change
// what a command is about, and no others do.
func TestUsageShowsTheSpan(t *testing.T) {
	for _, operations := range index {
		for _, op := range operations {
			if op.form == noBlocks {
				continue
			}
			var none [16]byte
			for bit := range 8 * len(op.usage) {
				var cdb [16]byte
				cdb[bit/8] |= 0x80 >> (bit % 8)
				moved := op.form.decode(&cdb) != op.form.decode(&none)
				if shown := op.usage[bit/8]&(0x80>>(bit%8)) != 0; moved && !shown {
					t.Errorf("%s: bit %d of byte %d counts, and is not in the usage data", op.name, 7-bit%8, bit/8)
				}
			}
		}
	}
}

func TestReportOperationCodes(t *testing.T) {
	disk := attach(t, newUnit(t, Config{}), 1)
	thin := attach(t, newUnit(t, Config{Thin: true, Removable: true}), 1)
	cd := attach(t, newUnit(t, Config{CDROM: true}), 1)
	tests := []struct {
		name  string
		nexus *Nexus
		cdb   string
		want  string
	}{
		{"a command", disk, "a30c 01 28 0000 00000fff 00 00", "0003 000a 2818ffffffff00ffff04"},
		{"with timeouts", disk, "a30c 81 00 0000 00000fff 00 00", "0083 0006 000000000004 000a 0000 00000000 00000000"},
		{"cut off", disk, "a30c 01 28 0000 00000005 00 00", "0003 000a 28"},
		{"a service action", disk, "a30c 02 9e 0010 00000fff 00 00", "0003 0010 9e10 0000000000000000 ffffffff 0004"},
		{"one or the other", disk, "a30c 03 9e 0012 00000fff 00 00", "0003 0010 9e12 ffffffffffffffff ffffffff 0004"},
		{"the other", disk, "a30c 03 28 0000 00000fff 00 00", "0003 000a 2818ffffffff00ffff04"},
		{"no such service action of either", disk, "a30c 03 28 0001 00000fff 00 00", "0001 0000"},
		{"unknown", disk, "a30c 01 c0 0000 00000fff 00 00", "0001 0000"},
		{"unknown service action", disk, "a30c 02 9e 001f 00000fff 00 00", "0001 0000"},
		{"no UNMAP of a thick unit", disk, "a30c 01 42 0000 00000fff 00 00", "0001 0000"},
		{"UNMAP of a thin unit", thin, "a30c 01 42 0000 00000fff 00 00", "0003 000a 42000000000000ffff04"},
		{"WRITE SAME of a thick unit", disk, "a30c 01 41 0000 00000fff 00 00", "0003 000a 4100ffffffff00ffff04"},
		{"WRITE SAME of a thin unit", thin, "a30c 01 41 0000 00000fff 00 00", "0003 000a 4108ffffffff00ffff04"},
		{"no tray", disk, "a30c 01 1b 0000 00000fff 00 00", "0003 0006 1b000000f504"},
		{"a tray", thin, "a30c 01 1b 0000 00000fff 00 00", "0003 0006 1b000000f704"},
		{"no SANITIZE", disk, "a30c 02 48 0002 00000fff 00 00", "0001 0000"},
		{"no WRITE to a CD", cd, "a30c 01 2a 0000 00000fff 00 00", "0001 0000"},
		{"a CD's own", cd, "a30c 01 43 0000 00000fff 00 00", "0003 000a 43020f000000ffffffc4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { send(t, tt.nexus, tt.cdb).wantData(t, tt.want) })
	}
	for name, cdb := range map[string]string{
		"service actions where there are some": "a30c 01 9e 0010 00000fff 00 00",
		"none where there are none":            "a30c 02 28 0000 00000fff 00 00",
		"reporting options":                    "a30c 04 28 0000 00000fff 00 00",
	} {
		t.Run(name, func(t *testing.T) { send(t, disk, cdb).want(t, "5/24/00").wantField(t, "c2.2") })
	}
}

func TestReportAllOperationCodes(t *testing.T) {
	for name, cfg := range map[string]Config{"disk": {}, "thin": {Thin: true, Removable: true}, "CD-ROM": {CDROM: true}} {
		for timeouts, cdb := range map[int]string{8: "a30c 00 00 0000 0000ffff 00 00", 20: "a30c 80 00 0000 0000ffff 00 00"} {
			n := attach(t, newUnit(t, cfg), 1)
			list := send(t, n, cdb).want(t, "good").data
			if int(binary.BigEndian.Uint32(list)) != len(list)-4 || (len(list)-4)%timeouts != 0 {
				t.Fatalf("%s: %d bytes, and the header says %d", name, len(list), binary.BigEndian.Uint32(list))
			}
			for at := 4; at < len(list); at += timeouts {
				var one [16]byte
				one[0], one[1] = list[at], list[at+3]&0x1f
				op := n.unit.find(&one)
				if op == nil {
					t.Fatalf("%s: %x is listed, and unknown", name, list[at:at+8])
				}
				if want := timeouts == 20; list[at+5]&0x02 != 0 != want || (list[at+5]&0x01 != 0) != op.service || int(list[at+7]) != len(op.usage) {
					t.Errorf("%s: %s has the descriptor %x", name, op.name, list[at:at+8])
				}
			}
		}
	}
}

func TestUnknownCommands(t *testing.T) {
	disk := attach(t, newUnit(t, Config{}), 1)
	cd := attach(t, newUnit(t, Config{CDROM: true}), 1)
	tests := []struct {
		name  string
		nexus *Nexus
		cdb   string
		want  string
		field string
	}{
		{"operation code", disk, "c0", "5/20/00", ""},
		{"WRITE ATOMIC", disk, "9c", "5/20/00", ""},
		{"SET TARGET PORT GROUPS", disk, "a40a", "5/20/00", ""},
		{"service action", disk, "9e 11", "5/24/00", "c1.4"},
		{"PERSISTENT RESERVE IN", disk, "5e 04", "5/24/00", "c1.4"},
		{"UNMAP of a thick unit", disk, "42", "5/20/00", ""},
		{"SANITIZE of what can't promise it", disk, "48 02", "5/20/00", ""},
		{"READ TOC of a disk", disk, "43", "5/20/00", ""},
		{"WRITE to a CD", cd, "2a", "5/20/00", ""},
		{"NACA", disk, "00 0000 00 00 04", "5/24/00", "c5.2"},
		{"NACA of 16 bytes", disk, "88 00 0000000000000000 00000001 00 04", "5/24/00", "c15.2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { send(t, tt.nexus, tt.cdb).want(t, tt.want).wantField(t, tt.field) })
	}
	t.Run("ACA", func(t *testing.T) {
		c := &Command{Attribute: ACA}
		if disk.unit.Execute(t.Context(), disk, c); ending(c) != "5/49/00" {
			t.Errorf("ended with %s", ending(c))
		}
	})
}
