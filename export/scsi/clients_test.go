package scsi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// These tests send what the drivers of operating systems send, in their order, and look at what those look at.

// exchange is a step of a session.
type exchange struct {
	what, cdb string
	out       []byte
	want      string
	check     func(data []byte) error
}

func replay(t *testing.T, n *Nexus, session []exchange) {
	t.Helper()
	for _, e := range session {
		var out [][]byte
		if e.out != nil {
			out = [][]byte{e.out}
		}
		r := send(t, n, e.cdb, out...)
		if r.String() != e.want {
			t.Fatalf("%s: ended with %s, want %s", e.what, r, e.want)
		}
		if e.check != nil {
			if err := e.check(r.data); err != nil {
				t.Fatalf("%s: %v: %x", e.what, err, r.data)
			}
		}
	}
}

func length(n int) func([]byte) error {
	return func(data []byte) error {
		if len(data) != n {
			return fmt.Errorf("%d bytes, want %d", len(data), n)
		}
		return nil
	}
}

func at(offset int, want ...byte) func([]byte) error {
	return func(data []byte) error {
		if len(data) < offset+len(want) || !bytes.Equal(data[offset:offset+len(want)], want) {
			return fmt.Errorf("at %d not %x", offset, want)
		}
		return nil
	}
}

// lists checks a VPD page 00h.
func lists(codes ...byte) func([]byte) error {
	return func(data []byte) error {
		for _, code := range codes {
			if !bytes.Contains(data[4:], []byte{code}) {
				return fmt.Errorf("page %02x is not listed", code)
			}
		}
		return nil
	}
}

// fresh attaches a nexus with the unit attention of a login.
func fresh(t *testing.T, lu *LogicalUnit) *Nexus {
	t.Helper()
	n, err := lu.Attach(NexusConfig{Initiator: initiatorPort(1), Port: testPort})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLinuxDisk is what scsi_scan and sd send (Linux 6.1), then what blkdiscard and resizing lead to.
func TestLinuxDisk(t *testing.T) {
	disk := newRAM(1 << 20)
	lu := newUnit(t, Config{Device: disk, Thin: true})
	n := fresh(t, lu)
	unmapAll := unhex(t, "0016 0010 00000000 0000000000000000 00000800 00000000")
	replay(t, n, []exchange{
		{"scan", "12 00 00 0024 00", nil, "good", at(2, 0x06)},
		{"scan again", "12 00 00 0060 00", nil, "good", at(7, 0x02)},
		{"VPD pages", "12 01 00 00ff 00", nil, "good", lists(0x80, 0x83, 0x8f, 0xb0, 0xb1, 0xb2)},
		{"identification", "12 01 83 00ff 00", nil, "good", at(4, 0x01, 0x03, 0x00, 0x08)},
		{"serial", "12 01 80 00ff 00", nil, "good", length(36)},
		{"report LUNs", "a000 00 000000 00001000 0000", nil, "good", at(3, 8)},
		{"ready?", "00", nil, "6/29/00", nil},
		{"ready", "00", nil, "good", nil},
		{"capacity", "9e10 0000000000000000 00000020 00 00", nil, "good", at(14, 0xc0)},
		{"mode header", "1a 00 3f 00 04 00", nil, "good", at(2, 0x10)},
		{"caching page header", "1a 00 08 00 04 00", nil, "good", at(3, 8)},
		{"caching page", "1a 00 08 00 20 00", nil, "good", at(12, 0x08, 0x12, 0x04)},
		{"control page", "1a 00 0a 00 0a 00", nil, "good", nil},
		{"block limits", "12 01 b0 0040 00", nil, "good", at(20, 0x00, 0x10, 0x00, 0x00)},
		{"characteristics", "12 01 b1 0040 00", nil, "good", at(4, 0, 1)},
		{"provisioning", "12 01 b2 0008 00", nil, "good", at(5, 0xe4)},
		{"WRITE SAME known?", "a30c 01 93 0000 00000014 00 00", nil, "good", at(1, 0x03)},
		{"SYNCHRONIZE CACHE known?", "a30c 01 35 0000 00000014 00 00", nil, "good", at(1, 0x03)},
		{"port groups", "a32a 00000000 00000080 0000", nil, "good", at(4, 0x10)},
		{"partition table", "28 00 00000000 00 0008 00", nil, "good", length(4096)},
		{"discard", "42 00 0000 0000 00 0018 00", unmapAll, "good", nil},
		{"write zeroes", "93 08 0000000000000000 00000100 00 00", make([]byte, 512), "good", nil},
		{"write with FUA", "8a 08 0000000000000008 00000008 00 00", pattern(1, 8), "good", nil},
		{"flush", "35 00 00000000 00 0000 00", nil, "good", nil},
	})
	if !bytes.Equal(disk.flushed, disk.data) {
		t.Error("not on stable storage")
	}
	disk.grow(2 << 20)
	lu.Resized(2 << 20)
	replay(t, n, []exchange{
		{"told of the growth", "28 00 00000000 00 0008 00", nil, "6/2a/09", nil},
		{"and again", "28 00 00000000 00 0008 00", nil, "good", nil},
		{"rescan", "9e10 0000000000000000 00000020 00 00", nil, "good", at(0, 0, 0, 0, 0, 0, 0, 0x0f, 0xff)},
	})
}

// TestLinuxCDROM is what sr sends.
func TestLinuxCDROM(t *testing.T) {
	image := newRAM(64 << 10)
	copy(image.data[16*2048:], "\x01CD001")
	n := fresh(t, newUnit(t, Config{Device: image, CDROM: true}))
	replay(t, n, []exchange{
		{"scan", "12 00 00 0024 00", nil, "good", at(0, 0x05, 0x80)},
		{"events", "4a 01 0000 10 0000 0008 00", nil, "good", at(5, 0x02)},
		{"ready?", "00", nil, "6/29/00", nil},
		{"ready", "00", nil, "good", nil},
		{"capabilities", "5a 00 2a 00 000000 0080 00", nil, "good", at(8, 0x2a)},
		{"configuration", "46 00 0000 000000 0008 00", nil, "good", at(6, 0x00, 0x08)},
		{"capacity", "25", nil, "good", at(0, 0, 0, 0, 31, 0, 0, 8, 0)},
		{"lock", "1e 00 0000 01 00", nil, "good", nil},
		{"TOC", "43 00 00 000000 00 000c 00", nil, "good", at(2, 1, 1)},
		{"lead-out", "43 00 00 000000 aa 000c 00", nil, "good", at(8, 0, 0, 0, 32)},
		{"volume descriptor", "28 00 00000010 00 0001 00", nil, "good", at(0, []byte("\x01CD001")...)},
		{"eject while locked", "1b 00 00 00 02 00", nil, "5/53/02", nil},
		{"unlock", "1e 00 0000 00 00", nil, "good", nil},
		{"eject", "1b 00 00 00 02 00", nil, "good", nil},
		{"gone", "00", nil, "2/3a/00", nil},
		{"events", "4a 01 0000 10 0000 0008 00", nil, "good", at(5, 0x01)},
		{"load", "1b 00 00 00 03 00", nil, "good", nil},
		{"back", "00", nil, "good", nil},
	})
}

// TestWindowsDisk is what disk.sys, storport and a cluster's validation send.
func TestWindowsDisk(t *testing.T) {
	n := fresh(t, newUnit(t, Config{Thin: true, Reservations: &memoryStore{}}))
	replay(t, n, []exchange{
		{"report LUNs", "a000 00 000000 00001008 0000", nil, "good", length(16)},
		{"inquiry", "12 00 00 00ff 00", nil, "good", length(96)},
		{"VPD pages", "12 01 00 00ff 00", nil, "good", lists(0x80, 0x83)},
		{"serial", "12 01 80 00ff 00", nil, "good", nil},
		{"identification", "12 01 83 00ff 00", nil, "good", nil},
		{"capacity", "25", nil, "6/29/00", nil},
		{"capacity", "25", nil, "good", length(8)},
		{"capacity", "9e10 0000000000000000 00000020 00 00", nil, "good", length(32)},
		{"mode pages", "1a 00 3f 00 c0 00", nil, "good", nil},
		{"caching page", "1a 08 08 00 c0 00", nil, "good", at(6, 0x04)},
		{"informational exceptions", "1a 00 1c 00 c0 00", nil, "good", at(12, 0x1c, 0x0a)},
		{"block limits", "12 01 b0 0040 00", nil, "good", length(64)},
		{"provisioning", "12 01 b2 0040 00", nil, "good", at(6, 0x02)},
		{"write same known?", "a30c 03 41 0000 00000100 00 00", nil, "good", at(1, 0x03)},
		{"keys", "5e 00 0000000000 0008 00", nil, "good", at(4, 0, 0, 0, 0)},
		{"capabilities", "5e 02 0000000000 0008 00", nil, "good", at(2, 0x1d)},
		{"register", "5f 06 00 0000 00000018 00", unhex(t, "0000000000000000 7766554433221100 00000000 00000000"), "good", nil},
		{"reserve", "5f 01 05 0000 00000018 00", unhex(t, "7766554433221100 0000000000000000 00000000 00000000"), "good", nil},
		{"who holds it", "5e 01 0000000000 0100 00", nil, "good", at(8, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00)},
		{"release", "5f 02 05 0000 00000018 00", unhex(t, "7766554433221100 0000000000000000 00000000 00000000"), "good", nil},
		{"ATA pass through", "85 08 0e 00 00 00 01 00 00 00 00 00 00 00 ec 00", nil, "5/20/00", nil},
		{"ODX: known?", "12 01 8f 0400 00", nil, "good", func(data []byte) error {
			for p := data[4:]; len(p) > 4; p = p[4+binary.BigEndian.Uint16(p[2:]):] {
				if binary.BigEndian.Uint16(p) == 0x0000 { // block device ROD limits
					return fmt.Errorf("offers offloaded data transfer")
				}
			}
			return nil
		}},
		{"verify", "2f 00 00000000 00 0100 00", nil, "good", nil},
		{"flush", "35 00 00000000 00 0000 00", nil, "good", nil},
	})
}

// TestVMwareVAAI is how ESXi finds out about and uses its four offloads.
func TestVMwareVAAI(t *testing.T) {
	disk := newRAM(1 << 20)
	n := fresh(t, newUnit(t, Config{Device: disk, Thin: true}))
	n.pending.Store(0)
	lock, taken := make([]byte, 512), pattern(7, 1)
	copyList := copyListOf(0, [][]byte{copyTargetOf(n.unit)}, [][]byte{copySegmentOf(0, 0, 64, 0, 1024)})
	replay(t, n, []exchange{
		{"ATS: how many blocks", "12 01 b0 0040 00", nil, "good", at(5, 0xff)},
		{"ATS: take the lock", "89 00 0000000000000000 000000 01 00 00", append(bytes.Clone(lock), taken...), "good", nil},
		{"ATS: another takes it", "89 00 0000000000000000 000000 01 00 00", append(bytes.Clone(lock), taken...), "e/1d/00", nil},
		{"zero", "93 00 0000000000000400 00000400 00 00", make([]byte, 512), "good", nil},
		{"zero", "93 08 0000000000000400 00000400 00 00", make([]byte, 512), "good", nil},
		{"copy: what can it do", "84 03 00 00000000000000 00000400 0000", nil, "good", at(43, 2, 0x02, 0xe4)},
		{"copy", fmt.Sprintf("83 00 0000000000000000 %08x 00 00", len(copyList)), copyList, "good", nil},
		{"unmap", "42 00 0000 0000 00 0018 00", unhex(t, "0016 0010 00000000 0000000000000400 00000040 00000000"), "good", nil},
		{"ALUA", "a30a 00000000 00000400 0000", nil, "good", at(4, 0x00, 0x01)},
		{"heartbeat", "8a 00 0000000000000001 00000001 00 00", pattern(9, 1), "good", nil},
	})
	if !bytes.Equal(disk.data[:512], taken) {
		t.Error("the lock is not taken")
	}
}

// TestQEMU is what QEMU's block/iscsi.c asks when it opens a unit, and how it reads its map.
func TestQEMU(t *testing.T) {
	disk := newRAM(1 << 20)
	n := fresh(t, newUnit(t, Config{Device: disk, Thin: true}))
	replay(t, n, []exchange{
		{"ready?", "00", nil, "6/29/00", nil},
		{"ready", "00", nil, "good", nil},
		{"inquiry", "12 00 00 0040 00", nil, "good", at(0, 0x00)},
		{"write protected?", "1a 08 3f 00 ff 00", nil, "good", at(2, 0x10)},
		{"capacity", "9e10 0000000000000000 00000010 00 00", nil, "good", length(16)},
		{"VPD pages", "12 01 00 00ff 00", nil, "good", lists(0xb0, 0xb2)},
		{"provisioning", "12 01 b2 00ff 00", nil, "good", at(5, 0xe4)},
		{"block limits", "12 01 b0 00ff 00", nil, "good", length(64)},
		{"write", "2a 00 00000010 00 0008 00", pattern(3, 8), "good", nil},
		{"map from 0", "9e12 0000000000000000 00000028 00 00", nil, "good", at(8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1)},
		{"map from 17", "9e12 0000000000000011 00000028 00 00", nil, "good", at(8, 0, 0, 0, 0, 0, 0, 0, 0x11, 0, 0, 0, 7, 0)},
		{"discard", "42 00 0000 0000 00 0018 00", unhex(t, "0016 0010 00000000 0000000000000010 00000008 00000000"), "good", nil},
		{"map from 17", "9e12 0000000000000011 00000028 00 00", nil, "good", at(20, 1)},
	})
}
