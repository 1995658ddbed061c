package scsi

import (
	"bytes"
	"strings"
	"testing"
)

// The mode pages with their default values.
const (
	pageRecovery   = "010a c0 00 00 00 00 00 00 00 0000"
	pageCaching    = "0812 04 00000000000000000000000000000000 00"
	pageControl    = "0a0a 20 10 00 40 00 00 0000 0000"
	pageExtension  = "4a01 001c" + "00000000000000000000000000000000000000000000000000000000"
	pageExceptions = "1c0a 08 00 00 00 00000000 0000"
	pageCD         = "2a16 3b 00 70 00 29 00 2260 0000 0800 2260 0000000000000000"
)

func TestModeSense(t *testing.T) {
	disk, cd := Config{}, Config{CDROM: true, Device: newRAM(2048 * 16)}
	const all = pageRecovery + pageCaching + pageControl + pageExceptions
	const every = pageRecovery + pageCaching + pageControl + pageExtension + pageExceptions
	const short = "00000800 00000200"
	tests := []struct {
		name string
		cfg  Config
		cdb  string
		want string
	}{
		{"one page", disk, "1a 08 08 00 ff 00", "17 00 10 00" + pageCaching},
		{"with a block descriptor", disk, "1a 00 08 00 ff 00", "1f 00 10 08" + short + pageCaching},
		{"all pages", disk, "1a 00 3f 00 ff 00", "43 00 10 08" + short + all},
		{"all pages and subpages", disk, "1a 00 3f ff ff 00", "63 00 10 08" + short + every},
		{"all subpages of a page", disk, "1a 08 0a ff ff 00", "2f 00 10 00" + pageControl + pageExtension},
		{"a subpage", disk, "1a 08 0a 01 ff 00", "23 00 10 00" + pageExtension},
		{"changeable", disk, "1a 08 48 00 ff 00", "17 00 10 00 0812 04 000000000000000000000000000000 0000"},
		{"changeable control", disk, "1a 08 4a 00 ff 00", "0f 00 10 00 0a0a 04 00 08 00 00 00 0000 0000"},
		{"default", disk, "1a 08 8a 00 ff 00", "0f 00 10 00" + pageControl},
		{"cut off", disk, "1a 00 3f 00 04 00", "43 00 10 08"},
		{"(10)", disk, "5a 08 08 00 000000 00ff 00", "001a 00 10 00 00 0000" + pageCaching},
		{"(10) with a block descriptor", disk, "5a 00 08 00 000000 00ff 00", "0022 00 10 00 00 0008" + short + pageCaching},
		{"(10) with a long one", disk, "5a 10 08 00 000000 00ff 00", "002a 00 10 01 00 0010 0000000000000800 00000000 00000200" + pageCaching},
		{"read-only", Config{ReadOnly: true}, "1a 08 1c 00 ff 00", "0f 00 90 00" + pageExceptions},
		{"big", Config{Device: sized(4 << 40)}, "1a 00 1c 00 ff 00", "17 00 10 08 ffffffff 00000200" + pageExceptions},
		{"CD", cd, "5a 00 3f 00 000000 00ff 00", "0042 00 80 00 00 0000" + strings.Replace(pageRecovery, "c0", "00", 1) + pageControl + pageExceptions + pageCD},
		{"CD capabilities", cd, "1a 00 2a 00 ff 00", "1b 00 80 00" + pageCD},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			send(t, attach(t, newUnit(t, tt.cfg), 1), tt.cdb).wantData(t, tt.want)
		})
	}
	n := attach(t, newUnit(t, disk), 1)
	for name, tt := range map[string][3]string{
		"saved values":                {"1a 08 c8 00 ff 00", "5/39/00", ""},
		"unknown page":                {"1a 08 05 00 ff 00", "5/24/00", "c2.5"},
		"a CD's page":                 {"1a 08 2a 00 ff 00", "5/24/00", "c2.5"},
		"unknown subpage":             {"1a 08 0a 02 ff 00", "5/24/00", "c3"},
		"a subpage of all pages":      {"1a 08 3f 01 ff 00", "5/24/00", "c3"},
		"a subpage that is not there": {"5a 08 08 01 000000 00ff 00", "5/24/00", "c3"},
	} {
		t.Run(name, func(t *testing.T) { send(t, n, tt[0]).want(t, tt[1]).wantField(t, tt[2]) })
	}
}

func TestModeSelect(t *testing.T) {
	with := func(page, old, new string) string {
		if !strings.Contains(page, old) {
			t.Fatalf("%s has no %s", page, old)
		}
		return strings.Replace(page, old, new, 1)
	}
	writeThrough := with(pageCaching, "0812 04", "0812 00")
	protected := with(pageControl, "10 00 40", "10 08 40")
	tests := []struct {
		name, cdb, list string
		want, field     string
		state           unitState
		told            bool // the other nexus
	}{
		{"nothing", "15 10 0000 00 00", "", "good", "", 0, false},
		{"a header alone", "15 10 0000 04 00", "00000000", "good", "", 0, false},
		{"no change", "15 10 0000 18 00", "00000000" + pageCaching, "good", "", 0, false},
		{"write cache off", "15 10 0000 18 00", "00000000" + writeThrough, "good", "", stateWriteThrough, true},
		{"(10)", "55 10 0000000000 001c 00", "0000000000000000" + writeThrough, "good", "", stateWriteThrough, true},
		{"software write protect", "15 10 0000 10 00", "00000000" + protected, "good", "", stateWriteProtect, true},
		{"two pages", "15 10 0000 24 00", "00000000" + writeThrough + protected, "good", "", stateWriteThrough | stateWriteProtect, true},
		{"D_SENSE", "15 10 0000 10 00", "00000000" + with(pageControl, "0a0a 20", "0a0a 24"), "good", "", stateDescriptorSense, true},
		{"with PS", "15 10 0000 18 00", "00000000" + with(writeThrough, "08", "88"), "good", "", stateWriteThrough, true},
		{"with a block descriptor", "15 10 0000 20 00", "00000008 00000800 00000200" + writeThrough, "good", "", stateWriteThrough, true},
		{"with one of zero blocks", "15 10 0000 20 00", "00000008 00000000 00000200" + writeThrough, "good", "", stateWriteThrough, true},
		{"with one of as many as fit", "15 10 0000 20 00", "00000008 ffffffff 00000200" + writeThrough, "good", "", stateWriteThrough, true},
		{"with a long one", "55 10 0000000000 002c 00", "0000 00 00 01 00 0010 0000000000000800 00000000 00000200" + writeThrough, "good", "", stateWriteThrough, true},
		{"a subpage", "15 10 0000 24 00", "00000000" + pageExtension, "good", "", 0, false},

		{"SP", "15 11 0000 18 00", "00000000" + writeThrough, "5/24/00", "c1.0", 0, false},
		{"not PF", "15 00 0000 18 00", "00000000" + writeThrough, "5/24/00", "c1.4", 0, false},
		{"half a header", "15 10 0000 03 00", "000000", "5/1a/00", "", 0, false},
		{"half a page", "15 10 0000 17 00", "00000000" + with(writeThrough, "00000000 00", "00000000"), "5/1a/00", "", 0, false},
		{"half a page header", "15 10 0000 05 00", "00000000 08", "5/1a/00", "", 0, false},
		{"half a subpage header", "15 10 0000 07 00", "00000000 4a 01 00", "5/1a/00", "", 0, false},
		{"half a block descriptor", "15 10 0000 08 00", "00000008 00000800", "5/1a/00", "", 0, false},
		{"less data", "15 10 0000 18 00", "00000000 0812", "5/1a/00", "", 0, false},
		{"unknown page", "15 10 0000 06 00", "00000000 0500", "5/26/00", "p4.5", 0, false},
		{"page length", "15 10 0000 18 00", "00000000" + with(writeThrough, "0812", "0811"), "5/26/00", "p5", 0, false},
		{"subpage length", "15 10 0000 24 00", "00000000" + with(pageExtension, "001c", "001b"), "5/26/00", "p6", 0, false},
		{"what can't be changed", "15 10 0000 10 00", "00000000" + with(pageControl, "10 00 40", "10 00 44"), "5/26/00", "p9.2", 0, false},
		{"good, then bad", "15 10 0000 24 00", "00000000" + writeThrough + with(pageControl, "0a0a 20", "0a0a 00"), "5/26/00", "p26.5", 0, false},
		{"another block size", "15 10 0000 0c 00", "00000008 00000800 00001000", "5/26/00", "p9", 0, false},
		{"another capacity", "15 10 0000 0c 00", "00000008 00000801 00000200", "5/26/00", "p4", 0, false},
		{"a long block descriptor that is short", "55 10 0000000000 0010 00", "0000 00 00 01 00 0008 0000000000000800", "5/26/00", "p6", 0, false},
		{"an odd block descriptor", "15 10 0000 08 00", "00000004 00000800", "5/26/00", "p3", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lu := newUnit(t, Config{})
			n, other := attach(t, lu, 1), attach(t, lu, 2)
			send(t, n, tt.cdb, unhex(t, tt.list)).want(t, tt.want).wantField(t, tt.field)
			if state := unitState(lu.state.Load()); state != tt.state {
				t.Errorf("state %b, want %b", state, tt.state)
			}
			send(t, n, "00").want(t, "good")
			if tt.told {
				send(t, other, "00").want(t, "6/2a/01")
			}
			send(t, other, "00").want(t, "good")
		})
	}
}

func TestWriteThrough(t *testing.T) {
	disk := newRAM(1 << 20)
	lu := newUnit(t, Config{Device: disk, Thin: true})
	n := attach(t, lu, 1)
	send(t, n, "2a 00 00000000 00 0001 00", pattern(1, 1)).want(t, "good")
	send(t, n, "15 10 0000 18 00", unhex(t, "00000000 0812 00"+strings.Repeat("00", 17))).want(t, "good")
	if !bytes.Equal(disk.flushed, disk.data) {
		t.Error("what was in the cache is not on stable storage")
	}
	for name, cdb := range map[string]string{
		"WRITE": "2a 00 00000010 00 0001 00", "WRITE SAME": "41 00 00000020 00 0001 00", "ORWRITE": "8b 00 0000000000000030 00000001 00 00",
		"WRITE SAME, UNMAP": "41 08 00000000 00 0001 00",
	} {
		send(t, n, cdb, pattern(2, 1)).want(t, "good")
		if !bytes.Equal(disk.flushed, disk.data) {
			t.Errorf("%s: not on stable storage", name)
		}
	}
	send(t, n, "42 00 0000 0000 00 0018 00", append([]byte{0, 22, 0, 16, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 1, 0, 0, 0, 0)).want(t, "good")
	send(t, n, "89 00 0000000000000040 000000 01 00 00", make([]byte, 512), pattern(1, 1)).want(t, "good")
	if !bytes.Equal(disk.flushed, disk.data) {
		t.Error("not on stable storage")
	}
	lu.Reset(nil)
	n.pending.Store(0)
	disk.called()
	send(t, n, "2a 00 00000000 00 0001 00", pattern(1, 1)).want(t, "good")
	if calls := disk.called(); calls != "write" {
		t.Errorf("after a reset the write cache is on again, and there are the calls %q", calls)
	}
}

// TestWriteThroughThatFails: where the cache can't be written out, writes go through all the same.
func TestWriteThroughThatFails(t *testing.T) {
	disk := newRAM(1 << 20)
	lu := newUnit(t, Config{Device: disk})
	n := attach(t, lu, 1)
	disk.fail = failOn("flush", errTest)
	send(t, n, "15 10 0000 18 00", unhex(t, "00000000 0812 00"+strings.Repeat("00", 17))).want(t, "3/0c/00")
	send(t, n, "2a 00 00000000 00 0001 00", pattern(1, 1)).want(t, "3/0c/00")
}

func TestSoftwareWriteProtect(t *testing.T) {
	lu := newUnit(t, Config{})
	n := attach(t, lu, 1)
	lu.set(stateWriteProtect, true)
	send(t, n, "2a 00 00000000 00 0001 00", pattern(1, 1)).want(t, "7/27/02")
	send(t, n, "28 00 00000000 00 0001 00").want(t, "good")
	send(t, n, "1a 08 1c 00 04 00").wantData(t, "0f 00 90 00")
}

func TestReadOnlyNexus(t *testing.T) {
	lu := newUnit(t, Config{})
	reader, err := lu.Attach(NexusConfig{Initiator: initiatorPort(1), Port: testPort, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	reader.pending.Store(0)
	writer := attach(t, lu, 2)
	send(t, reader, "2a 00 00000000 00 0001 00", pattern(1, 1)).want(t, "7/27/00")
	send(t, reader, "1a 08 1c 00 04 00").wantData(t, "0f 00 90 00")
	send(t, writer, "2a 00 00000000 00 0001 00", pattern(1, 1)).want(t, "good")
	send(t, writer, "1a 08 1c 00 04 00").wantData(t, "0f 00 10 00")
}
