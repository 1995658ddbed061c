package scsi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func TestReadForms(t *testing.T) {
	disk := newRAM(1 << 20)
	copy(disk.data, pattern(1, 2048))
	n := attach(t, newUnit(t, Config{Device: disk}), 1)
	tests := []struct {
		name, cdb  string
		lba, count int
	}{
		{"READ(6)", "08 000102 03 00", 0x102, 3},
		{"READ(6) of 256 blocks", "08 000002 00 00", 2, 256},
		{"READ(6) with the bits before its address", "08 e00002 01 00", 2, 1},
		{"READ(10)", "28 00 00000102 00 0003 00", 0x102, 3},
		{"READ(12)", "a8 00 00000102 00000003 00 00", 0x102, 3},
		{"READ(16)", "88 00 0000000000000102 00000003 00 00", 0x102, 3},
		{"DPO and FUA", "28 18 00000102 00 0003 00", 0x102, 3},
		{"a group number", "28 00 00000102 1f 0003 00", 0x102, 3},
		{"nothing", "28 00 00000102 00 0000 00", 0x102, 0},
		{"nothing at the end", "28 00 00000800 00 0000 00", 0x800, 0},
		{"the last block", "28 00 000007ff 00 0001 00", 0x7ff, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := send(t, n, tt.cdb).want(t, "good")
			if want := disk.data[512*tt.lba:][:512*tt.count]; !bytes.Equal(r.data, want) {
				t.Errorf("%d bytes that are not the %d at block %d", len(r.data), len(want), tt.lba)
			}
			if residual, over := r.Residual(); residual != 0 || over {
				t.Errorf("residual %d, over %t", residual, over)
			}
		})
	}
}

func TestWriteForms(t *testing.T) {
	tests := []struct {
		name, cdb  string
		lba, count int
		calls      string
	}{
		{"WRITE(6)", "0a 000102 03 00", 0x102, 3, "write"},
		{"WRITE(10)", "2a 00 00000102 00 0003 00", 0x102, 3, "write"},
		{"WRITE(12)", "aa 00 00000102 00000003 00 00", 0x102, 3, "write"},
		{"WRITE(16)", "8a 00 0000000000000102 00000003 00 00", 0x102, 3, "write"},
		{"DPO", "2a 10 00000102 00 0003 00", 0x102, 3, "write"},
		{"FUA", "2a 08 00000102 00 0003 00", 0x102, 3, "write flush"},
		{"nothing", "2a 00 00000102 00 0000 00", 0x102, 0, ""},
		{"AND VERIFY(10)", "2e 00 00000102 00 0003 00", 0x102, 3, "write flush read"},
		{"AND VERIFY(12), BYTCHK", "ae 02 00000102 00000003 00 00", 0x102, 3, "write flush read"},
		{"AND VERIFY(16)", "8e 00 0000000000000102 00000003 00 00", 0x102, 3, "write flush read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			disk := newRAM(1 << 20)
			n := attach(t, newUnit(t, Config{Device: disk}), 1)
			data := pattern(3, tt.count)
			r := send(t, n, tt.cdb, data).want(t, "good")
			if calls := disk.called(); calls != tt.calls {
				t.Errorf("calls %q, want %q", calls, tt.calls)
			}
			want := make([]byte, 1<<20)
			copy(want[512*tt.lba:], data)
			if !bytes.Equal(disk.data, want) {
				t.Error("the medium is not as it should be")
			}
			if strings.Contains(tt.calls, "flush") && !bytes.Equal(disk.flushed, want) {
				t.Error("not on stable storage")
			}
			if residual, _ := r.Residual(); residual != 0 {
				t.Errorf("residual %d", residual)
			}
		})
	}
}

// TestPieces cuts the same data at every kind of place.
func TestPieces(t *testing.T) {
	cut := func(p []byte, sizes ...int) (out [][]byte) {
		for _, size := range sizes {
			out, p = append(out, p[:size]), p[size:]
		}
		return append(out, p)
	}
	data := pattern(5, 4)
	for name, pieces := range map[string][][]byte{
		"one": {data}, "blocks": cut(data, 512, 512, 512), "odd": cut(data, 1, 700, 3, 512), "empty ones": cut(data, 0, 100, 0, 0),
		"more than is wanted": append(cut(data, 100), []byte("and more")),
	} {
		for kind, cdb := range map[string]string{
			"WRITE": "2a 00 00000008 00 0004 00", "WRITE AND VERIFY": "2e 02 00000008 00 0004 00",
			"ORWRITE": "8b 00 0000000000000008 00000004 00 00",
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				disk := newRAM(1 << 20)
				n := attach(t, newUnit(t, Config{Device: disk}), 1)
				send(t, n, cdb, pieces...).want(t, "good")
				if !bytes.Equal(disk.data[8*512:12*512], data) || !bytes.Equal(disk.data[12*512:], make([]byte, 1<<20-12*512)) {
					t.Error("the medium is not as it should be")
				}
			})
		}
	}
}

// vectorRAM is a ram that takes pieces.
type vectorRAM struct{ *ram }

func (r vectorRAM) WriteVectorAt(pieces [][]byte, off int64) (int, error) {
	r.mu.Lock()
	r.calls = append(r.calls, fmt.Sprintf("vector%d", len(pieces)))
	r.mu.Unlock()
	return r.WriteAt(bytes.Join(pieces, nil), off)
}

func TestVectorWriter(t *testing.T) {
	disk := vectorRAM{newRAM(1 << 20)}
	n := attach(t, newUnit(t, Config{Device: disk}), 1)
	data := pattern(9, 3)
	send(t, n, "2a 00 00000001 00 0003 00", data[:512], data[512:]).want(t, "good")
	if calls := disk.called(); calls != "vector2 write" || !bytes.Equal(disk.data[512:4*512], data) {
		t.Errorf("calls %q", calls)
	}
	// What the initiator sent beyond the transfer length is not written.
	send(t, n, "2a 00 00000001 00 0002 00", data[:512], data[512:]).want(t, "good")
	if calls := disk.called(); strings.Contains(calls, "vector") || !bytes.Equal(disk.data[512:4*512], data) {
		t.Errorf("calls %q", calls)
	}
	disk.fail = failOn("write", syscall.ENOSPC)
	send(t, n, "2a 00 00000001 00 0003 00", data[:512], data[512:]).want(t, "7/27/07")
}

func TestResiduals(t *testing.T) {
	tests := []struct {
		name, cdb      string
		expected, room int
		out            int
		want           string
		residual       int64
		over           bool
	}{
		{"READ, all of it", "28 00 00000000 00 0002 00", 1024, 1024, 0, "good", 0, false},
		{"READ, more room", "28 00 00000000 00 0001 00", 10000, 10000, 0, "good", 10000 - 512, false},
		{"READ, less room", "28 00 00000000 00 0002 00", 512, 512, 0, "good", 512, true},
		{"READ, not a block", "28 00 00000000 00 0001 00", 200, 200, 0, "good", 312, true},
		{"READ, no room", "28 00 00000000 00 0001 00", 0, 0, 0, "good", 512, true},
		{"READ that fails", "28 00 ffffffff 00 0001 00", 512, 512, 0, "5/21/00", 512, false},
		{"WRITE, all of it", "2a 00 00000000 00 0002 00", 1024, 0, 1024, "good", 0, false},
		{"WRITE, more data", "2a 00 00000000 00 0001 00", 10000, 0, 10000, "good", 10000 - 512, false},
		{"WRITE, less data", "2a 00 00000000 00 0002 00", 512, 0, 512, "good", 512, true},
		{"WRITE, not a block", "2a 00 00000000 00 0001 00", 200, 0, 200, "5/0e/03", 312, true},
		{"WRITE, no data", "2a 00 00000000 00 0001 00", 0, 0, 0, "good", 512, true},
		{"ORWRITE, not a block", "8b 00 0000000000000000 00000001 00 00", 200, 0, 200, "5/0e/03", 312, true},
		{"WRITE AND VERIFY, not a block", "2e 02 00000000 00 0001 00", 200, 0, 200, "5/0e/03", 312, true},
		{"VERIFY, less data", "2f 02 00000000 00 0002 00", 512, 0, 512, "good", 512, true},
		{"VERIFY, not a block", "2f 02 00000000 00 0001 00", 200, 0, 200, "5/0e/03", 312, true},
		{"INQUIRY, more room", "12 00 00 00ff 00", 255, 255, 0, "good", 255 - 96, false},
		{"INQUIRY, less allocated", "12 00 00 0024 00", 255, 255, 0, "good", 255 - 36, false},
		{"INQUIRY, less room", "12 00 00 0060 00", 36, 36, 0, "good", 60, true},
		{"TEST UNIT READY", "00", 0, 0, 0, "good", 0, false},
		{"TEST UNIT READY with data", "00", 512, 0, 512, "good", 512, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := attach(t, newUnit(t, Config{}), 1)
			c := &Command{CDB: parseCDB(t, tt.cdb), Expected: int64(tt.expected), In: make([]byte, tt.room)}
			if tt.out > 0 {
				c.Out = [][]byte{make([]byte, tt.out)}
			}
			n.unit.Execute(t.Context(), n, c)
			if got := ending(c); got != tt.want {
				t.Fatalf("ended with %s, want %s", got, tt.want)
			}
			if residual, over := c.Residual(); residual != tt.residual || over != tt.over {
				t.Errorf("residual %d, over %t, want %d, %t", residual, over, tt.residual, tt.over)
			}
		})
	}
}

// TestNothingBeyondTheData writes less than the transfer length says: the rest of the blocks stay.
func TestNothingBeyondTheData(t *testing.T) {
	disk := newRAM(1 << 20)
	n := attach(t, newUnit(t, Config{Device: disk}), 1)
	send(t, n, "2a 00 00000000 00 0002 00", bytes.Repeat([]byte{'a'}, 1024)).want(t, "good")
	send(t, n, "2a 00 00000000 00 0002 00", bytes.Repeat([]byte{'b'}, 512)).want(t, "good")
	if string(disk.data[510:514]) != "bbaa" {
		t.Errorf("around the boundary stands %q", disk.data[510:514])
	}
}

func TestRefusals(t *testing.T) {
	const blocks = "2048 blocks"
	tests := []struct {
		name, cdb string
		cfg       Config
		want      string
		field     string
	}{
		{"READ beyond the end", "28 00 00000800 00 0001 00", Config{}, "5/21/00", ""},
		{"READ over the end", "28 00 000007ff 00 0002 00", Config{}, "5/21/00", ""},
		{"READ of nothing beyond the end", "28 00 00000801 00 0000 00", Config{}, "5/21/00", ""},
		{"READ that wraps around", "88 00 ffffffffffffffff ffffffff 00 00", Config{}, "5/21/00", ""},
		{"READ where an offset overflows", "88 00 0080000000000000 00000001 00 00", Config{}, "5/21/00", ""},
		{"WRITE beyond the end", "8a 00 0000000000000800 00000001 00 00", Config{}, "5/21/00", ""},
		{"WRITE SAME beyond the end", "93 00 0000000000000801 00000000 00 00", Config{}, "5/21/00", ""},
		{"SYNCHRONIZE CACHE beyond the end", "35 00 00000801 00 0000 00", Config{}, "5/21/00", ""},
		{"PRE-FETCH beyond the end", "34 00 00000800 00 0001 00", Config{}, "5/21/00", ""},
		{"GET LBA STATUS at the end", "9e12 0000000000000800 00000018 00 00", Config{}, "5/21/00", ""},
		{"READ that is too long", "28 00 00000000 00 0011 00", Config{Limits: Limits{TransferLength: 16}}, "5/24/00", "c7"},
		{"VERIFY that is too long", "af 02 00000000 00000011 00 00", Config{Limits: Limits{TransferLength: 16}}, "5/24/00", "c6"},
		{"RDPROTECT", "28 20 00000000 00 0001 00", Config{}, "5/24/00", "c1.7"},
		{"WRPROTECT", "8a e0 0000000000000000 00000001 00 00", Config{}, "5/24/00", "c1.7"},
		{"VRPROTECT", "2f 40 00000000 00 0001 00", Config{}, "5/24/00", "c1.7"},
		{"BYTCHK", "2f 04 00000000 00 0001 00", Config{}, "5/24/00", "c1.2"},
		{"BYTCHK of WRITE AND VERIFY", "2e 06 00000000 00 0001 00", Config{}, "5/24/00", "c1.2"},
		{"WRITE SAME, ANCHOR", "41 18 00000000 00 0001 00", Config{Thin: true}, "5/24/00", "c1.4"},
		{"WRITE SAME, UNMAP of a thick unit", "41 08 00000000 00 0001 00", Config{}, "5/24/00", "c1.3"},
		{"WRITE SAME, LBDATA", "41 02 00000000 00 0001 00", Config{}, "5/24/00", "c1.2"},
		{"WRITE SAME that is too long", "41 00 00000000 00 0011 00", Config{Limits: Limits{WriteSameLength: 16}}, "5/24/00", "c7"},
		{"WRITE SAME to the end that is too long", "93 00 0000000000000001 00000000 00 00", Config{Limits: Limits{WriteSameLength: 16}}, "5/24/00", "c10"},
		{"UNMAP, ANCHOR", "42 01 0000 0000 00 0000 00", Config{Thin: true}, "5/24/00", "c1.0"},
		{"COMPARE AND WRITE that is too long", "89 00 0000000000000000 000000 03 00 00", Config{Limits: Limits{CompareAndWrite: 2}}, "5/24/00", "c13"},
		{"WRITE to a read-only unit", "2a 00 00000000 00 0001 00", Config{ReadOnly: true}, "7/27/00", ""},
		{"UNMAP of a read-only unit", "42 00 0000 0000 00 0000 00", Config{ReadOnly: true, Thin: true}, "7/27/00", ""},
		{"ORWRITE to a read-only unit", "8b 00 0000000000000000 00000001 00 00", Config{ReadOnly: true}, "7/27/00", ""},
		{"WRITE SAME to a read-only unit", "41 00 00000000 00 0001 00", Config{ReadOnly: true}, "7/27/00", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			disk := newRAM(1 << 20) // blocks
			tt.cfg.Device = disk
			n := attach(t, newUnit(t, tt.cfg), 1)
			c := &Command{CDB: parseCDB(t, tt.cdb), Out: [][]byte{make([]byte, 1<<16)}, Expected: 512}
			// Admit refuses what it can before the data is there.
			n.unit.Execute(t.Context(), n, c)
			reply{c, nil}.want(t, tt.want).wantField(t, tt.field)
			if calls := disk.called(); calls != "" {
				t.Errorf("the %s of the medium saw %q", blocks, calls)
			}
		})
	}
}

func TestVerify(t *testing.T) {
	disk := newRAM(1 << 20)
	data := pattern(1, 1200)
	copy(disk.data[512:], data)
	n := attach(t, newUnit(t, Config{Device: disk}), 1)
	same := bytes.Repeat(pattern(7, 1), 600)
	copy(disk.data[512*1400:], same)
	changed := func(p []byte, at int) []byte {
		p = bytes.Clone(p)
		p[at] ^= 1
		return p
	}
	tests := []struct {
		name, cdb string
		data      []byte
		want      string
		info      uint32
	}{
		{"of the medium", "2f 00 00000001 00 04b0 00", nil, "good", 0},
		{"of nothing", "2f 02 00000001 00 0000 00", nil, "good", 0},
		{"equal", "2f 02 00000001 00 04b0 00", data, "good", 0},
		{"first byte", "2f 02 00000001 00 04b0 00", changed(data, 0), "e/1d/00", 1},
		{"last byte", "8f 02 0000000000000001 000004b0 00 00", changed(data, 1200*512-1), "e/1d/00", 1200},
		{"in the second chunk", "af 02 00000001 000004b0 00 00", changed(data, 700*512), "e/1d/00", 701},
		{"one block, equal", "2f 06 00000578 00 0258 00", pattern(7, 1), "good", 0},
		{"one block, different", "2f 06 00000577 00 0258 00", pattern(7, 1), "e/1d/00", 0x577},
		{"one block, and only half came", "2f 06 00000578 00 0258 00", pattern(7, 1)[:256], "5/0e/03", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out [][]byte
			if len(tt.data) > 100 {
				out = [][]byte{tt.data[:100], tt.data[100:]}
			}
			r := send(t, n, tt.cdb, out...).want(t, tt.want)
			if tt.info != 0 {
				r.wantInfo(t, tt.info)
			}
		})
	}
}

func TestCompareAndWrite(t *testing.T) {
	old, new := pattern(1, 3), pattern(99, 3)
	const cdb = "89 00 0000000000000010 000000 03 00 00"
	begin := func(t *testing.T) (*ram, *Nexus) {
		disk := newRAM(1 << 20)
		copy(disk.data[16*512:], old)
		return disk, attach(t, newUnit(t, Config{Device: disk}), 1)
	}
	t.Run("equal", func(t *testing.T) {
		disk, n := begin(t)
		send(t, n, cdb, old[:700], old[700:], new[:3], new[3:]).want(t, "good")
		if !bytes.Equal(disk.data[16*512:19*512], new) || disk.called() != "read write write" {
			t.Error("not written")
		}
	})
	t.Run("FUA", func(t *testing.T) {
		disk, n := begin(t)
		send(t, n, "89 08 0000000000000010 000000 03 00 00", old, new).want(t, "good")
		if disk.called() != "read write flush" {
			t.Error("not on stable storage")
		}
	})
	for _, at := range []int{0, 1, 511, 512, 1000, 1535} {
		t.Run(fmt.Sprintf("byte %d differs", at), func(t *testing.T) {
			disk, n := begin(t)
			wrong := bytes.Clone(old)
			wrong[at] ^= 0x80
			send(t, n, cdb, wrong, new).want(t, "e/1d/00").wantInfo(t, uint32(at))
			if !bytes.Equal(disk.data[16*512:19*512], old) {
				t.Error("written")
			}
		})
	}
	t.Run("nothing", func(t *testing.T) {
		_, n := begin(t)
		send(t, n, "89 00 0000000000000010 000000 00 00 00").want(t, "good")
	})
	for name, size := range map[string]int{"too little data": 2*3*512 - 512, "too much": 2*3*512 + 512, "half a block": 2*3*512 - 256} {
		t.Run(name, func(t *testing.T) {
			_, n := begin(t)
			send(t, n, cdb, append(bytes.Clone(old), make([]byte, size-len(old))...)).want(t, "5/24/00").wantField(t, "c13")
		})
	}
}

func TestOrWrite(t *testing.T) {
	disk := newRAM(1 << 20)
	old, data := pattern(1, 1300), pattern(77, 1300)
	copy(disk.data, old)
	n := attach(t, newUnit(t, Config{Device: disk}), 1)
	send(t, n, "8b 00 0000000000000000 00000514 00 00", data[:12345], data[12345:]).want(t, "good")
	for i := range old {
		if disk.data[i] != old[i]|data[i] {
			t.Fatalf("byte %d is %02x, want %02x", i, disk.data[i], old[i]|data[i])
		}
	}
	disk.called()
	send(t, n, "8b 08 0000000000000000 00000001 00 00", data[:512]).want(t, "good")
	if calls := disk.called(); calls != "read write flush" {
		t.Errorf("calls %q", calls)
	}
}

func TestWriteSame(t *testing.T) {
	block, zeros := pattern(1, 1), make([]byte, 512)
	tests := []struct {
		name, cdb  string
		thin       bool
		data       []byte
		lba, count int
		fill       []byte // what the blocks hold then
		calls      string // the first call
	}{
		{"a pattern", "41 00 00000004 00 0258 00", false, block, 4, 600, block, "write"},
		{"a pattern, (16)", "93 00 0000000000000004 00000002 00 00", true, block, 4, 2, block, "write"},
		{"to the end", "41 00 00000700 00 0000 00", false, block, 0x700, 0x100, block, "write"},
		{"at the end", "41 00 00000800 00 0000 00", false, block, 0x800, 0, block, ""},
		{"zeros, thick", "41 00 00000004 00 0258 00", false, zeros, 4, 600, zeros, "zero"},
		{"zeros, thin", "41 00 00000004 00 0258 00", true, zeros, 4, 600, zeros, "unmap"},
		{"UNMAP", "41 08 00000004 00 0258 00", true, zeros, 4, 600, zeros, "unmap"},
		{"UNMAP without data", "93 08 0000000000000004 00000002 00 00", true, nil, 4, 2, zeros, "unmap"},
		{"NDOB", "93 01 0000000000000004 00000002 00 00", false, nil, 4, 2, zeros, "zero"},
		{"NDOB and UNMAP", "93 09 0000000000000004 00000002 00 00", true, nil, 4, 2, zeros, "unmap"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			disk := newRAM(1 << 20)
			copy(disk.data, pattern(33, 2048))
			want := bytes.Clone(disk.data)
			for i := range tt.count {
				copy(want[512*(tt.lba+i):], tt.fill)
			}
			n := attach(t, newUnit(t, Config{Device: disk, Thin: tt.thin}), 1)
			c := &Command{CDB: parseCDB(t, tt.cdb), Expected: int64(len(tt.data)), Out: [][]byte{tt.data}}
			n.unit.Execute(t.Context(), n, c)
			if ending(c) != "good" || !bytes.Equal(disk.data, want) {
				t.Errorf("ended with %s, or the medium is wrong", ending(c))
			}
			if calls := disk.called(); strings.SplitN(calls, " ", 2)[0] != tt.calls {
				t.Errorf("calls %q, want %q", calls, tt.calls)
			}
		})
	}
	for name, size := range map[string]int{"half a block": 256, "two blocks": 1024, "no data": 0} {
		t.Run(name, func(t *testing.T) {
			disk := newRAM(1 << 20)
			n := attach(t, newUnit(t, Config{Device: disk}), 1)
			c := &Command{CDB: parseCDB(t, "41 00 00000004 00 0002 00"), Expected: int64(size), Out: [][]byte{make([]byte, size)}}
			n.unit.Execute(t.Context(), n, c)
			if ending(c) != "5/0e/03" || disk.called() != "" {
				t.Errorf("ended with %s", ending(c))
			}
		})
	}
}

func TestUnmap(t *testing.T) {
	limits := Limits{UnmapBlocks: 100, UnmapDescriptors: 3}
	header := func(descriptors ...string) []byte {
		list := unhex(t, strings.Join(descriptors, ""))
		return append([]byte{0, byte(len(list) + 6), byte(len(list) >> 8), byte(len(list)), 0, 0, 0, 0}, list...)
	}
	const first, second, nothing = "0000000000000004 00000008 00000000", "0000000000000010 00000001 00000000", "0000000000000800 00000000 00000000"
	tests := []struct {
		name   string
		list   []byte
		want   string
		field  string
		ranges [][2]int
	}{
		{"one", header(first), "good", "", [][2]int{{4, 12}}},
		{"two", header(first, second), "good", "", [][2]int{{4, 12}, {16, 17}}},
		{"none", header(), "good", "", nil},
		{"nothing at the end", header(nothing), "good", "", nil},
		{"half a descriptor", header(first, "00000000"), "good", "", [][2]int{{4, 12}}},
		{"no list", nil, "good", "", nil},
		{"half a header", make([]byte, 7), "5/1a/00", "", nil},
		{"less than it says", header(first, second)[:24], "5/1a/00", "", nil},
		{"too many descriptors", header(first, first, first, first), "5/26/00", "p2", nil},
		{"too many blocks", header("0000000000000000 00000064 00000000", second), "5/26/00", "p32", nil},
		{"beyond the end", header(first, "00000000000007ff 00000002 00000000"), "5/21/00", "", nil},
		{"far beyond the end", header("ffffffffffffffff ffffffff 00000000"), "5/21/00", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			disk := newRAM(1 << 20)
			n := attach(t, newUnit(t, Config{Device: disk, Thin: true, Limits: limits}), 1)
			_, _ = disk.WriteAt(pattern(1, 2048), 0)
			send(t, n, fmt.Sprintf("42 00 0000 0000 00 %04x 00", len(tt.list)), tt.list).want(t, tt.want).wantField(t, tt.field)
			for i := range disk.mapped {
				unmapped := false
				for _, r := range tt.ranges {
					unmapped = unmapped || i >= r[0] && i < r[1]
				}
				if disk.mapped[i] == unmapped {
					t.Fatalf("block %d: mapped is %t", i, disk.mapped[i])
				}
			}
		})
	}
	t.Run("the list is longer than the data", func(t *testing.T) {
		n := attach(t, newUnit(t, Config{Thin: true}), 1)
		send(t, n, "42 00 0000 0000 00 0018 00", header(first)[:20]).want(t, "5/1a/00")
	})
}

func TestGetLBAStatus(t *testing.T) {
	disk := newRAM(1 << 20)
	for _, i := range []int{0, 1, 2, 100, 101, 2047} {
		disk.mapped[i] = true
	}
	n := attach(t, newUnit(t, Config{Device: disk}), 1)
	tests := []struct{ name, cdb, want string }{
		{"one", "9e12 0000000000000000 00000018 00 00", "00000014 00000000 0000000000000000 00000003 00000000"},
		{"from within", "9e12 0000000000000001 00000018 00 00", "00000014 00000000 0000000000000001 00000002 00000000"},
		{"all", "9e12 0000000000000002 00001000 00 00", "00000054 00000000" +
			"0000000000000002 00000001 00000000 0000000000000003 00000061 01000000 0000000000000064 00000002 00000000" +
			"0000000000000066 00000799 01000000 00000000000007ff 00000001 00000000"},
		{"no room for a descriptor", "9e12 0000000000000000 0000000c 00 00", "00000014 00000000 00000000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { send(t, n, tt.cdb).wantData(t, tt.want) })
	}
	t.Run("a Device that doesn't know", func(t *testing.T) {
		n := attach(t, newUnit(t, Config{Device: plain{newRAM(1 << 20)}}), 1)
		send(t, n, "9e12 0000000000000010 00001000 00 00").wantData(t, "00000014 00000000 0000000000000010 000007f0 00000000")
	})
	t.Run("blocks that are mapped in part", func(t *testing.T) {
		disk := newRAM(1 << 20)
		disk.mapped[8] = true // the second block of 4096 bytes
		disk.mapped[31] = true
		n := attach(t, newUnit(t, Config{Device: disk, BlockSize: 4096}), 1)
		send(t, n, "9e12 0000000000000000 00000048 00 00").wantData(t, "00000044 00000000"+
			"0000000000000000 00000001 01000000 0000000000000001 00000001 00000000"+
			"0000000000000002 00000001 01000000 0000000000000003 00000001 00000000")
	})
}

// prefetchRAM notes what is prefetched.
type prefetchRAM struct {
	*ram
	off, length int64
}

func (r *prefetchRAM) Prefetch(off, length int64) { r.off, r.length = off, length }

func TestPreFetch(t *testing.T) {
	disk := &prefetchRAM{ram: newRAM(1 << 20)}
	n := attach(t, newUnit(t, Config{Device: disk, Limits: Limits{TransferLength: 64}}), 1)
	tests := []struct {
		cdb         string
		off, length int64
	}{
		{"34 00 00000003 00 0005 00", 3 * 512, 5 * 512},
		{"90 02 0000000000000004 00000006 03 00", 4 * 512, 6 * 512},
		{"34 00 000007fe 00 0000 00", 2046 * 512, 2 * 512},
		{"34 00 00000000 00 0000 00", 0, 64 * 512},
	}
	for _, tt := range tests {
		send(t, n, tt.cdb).want(t, "good")
		if disk.off != tt.off || disk.length != tt.length {
			t.Errorf("%s: %d bytes at %d, want %d at %d", tt.cdb, disk.length, disk.off, tt.length, tt.off)
		}
	}
}

func TestSynchronizeCache(t *testing.T) {
	for _, cdb := range []string{"35 00 00000000 00 0000 00", "35 02 00000010 00 0010 00", "91 00 0000000000000000 00000000 00 00"} {
		disk := newRAM(1 << 20)
		n := attach(t, newUnit(t, Config{Device: disk}), 1)
		send(t, n, "2a 00 00000000 00 0001 00", pattern(1, 1)).want(t, "good")
		send(t, n, cdb).want(t, "good")
		if !bytes.Equal(disk.flushed, disk.data) {
			t.Errorf("%s: not on stable storage", cdb)
		}
	}
}

func TestDeviceErrors(t *testing.T) {
	commands := []struct {
		name, cdb, fails string
		data             []byte
		lba              uint32 // in the INFORMATION field
		medium           string
	}{
		{"READ", "28 00 00000010 00 0002 00", "read", nil, 0x10, "3/11/00"},
		{"READ with FUA", "28 08 00000010 00 0002 00", "flush", nil, 0, "3/0c/00"},
		{"VERIFY", "2f 00 00000010 00 0400 00", "read", nil, 0x10, "3/11/00"},
		{"GET LBA STATUS", "9e12 0000000000000010 00000018 00 00", "extent", nil, 0x10, "3/11/00"},
		{"WRITE", "2a 00 00000010 00 0002 00", "write", pattern(1, 2), 0x10, "3/0c/00"},
		{"WRITE with FUA", "2a 08 00000010 00 0002 00", "flush", pattern(1, 2), 0, "3/0c/00"},
		{"WRITE AND VERIFY that can't write", "2e 00 00000010 00 0002 00", "write", pattern(1, 2), 0x10, "3/0c/00"},
		{"WRITE AND VERIFY that can't flush", "2e 00 00000010 00 0002 00", "flush", pattern(1, 2), 0, "3/0c/00"},
		{"WRITE AND VERIFY that can't read", "2e 00 00000010 00 0002 00", "read", pattern(1, 2), 0x10, "3/11/00"},
		{"COMPARE AND WRITE that can't read", "89 00 0000000000000010 000000 01 00 00", "read", make([]byte, 1024), 0x10, "3/11/00"},
		{"COMPARE AND WRITE that can't write", "89 00 0000000000000010 000000 01 00 00", "write", make([]byte, 1024), 0x10, "3/0c/00"},
		{"ORWRITE that can't read", "8b 00 0000000000000010 00000001 00 00", "read", pattern(1, 1), 0x10, "3/11/00"},
		{"ORWRITE that can't write", "8b 00 0000000000000010 00000001 00 00", "write", pattern(1, 1), 0x10, "3/0c/00"},
		{"WRITE SAME", "41 00 00000010 00 0002 00", "write", pattern(1, 1), 0x10, "3/0c/00"},
		{"WRITE SAME of zeros", "41 00 00000010 00 0002 00", "unmap", make([]byte, 512), 0x10, "3/0c/00"},
		{"UNMAP", "42 00 0000 0000 00 0018 00", "unmap", append([]byte{0, 22, 0, 16, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 1, 0, 0, 0, 0), 0x10, "3/0c/00"},
		{"SYNCHRONIZE CACHE", "35 00 00000000 00 0000 00", "flush", nil, 0, "3/0c/00"},
		{"START STOP UNIT", "1b 00 00 00 00 00", "flush", nil, 0, "3/0c/00"},
	}
	for _, cmd := range commands {
		for _, tt := range []struct {
			name string
			err  error
			want string
		}{
			{"EIO", syscall.EIO, cmd.medium},
			{"anything", errTest, cmd.medium},
			{"ENOSPC", &fs.PathError{Op: "write", Err: syscall.ENOSPC}, "7/27/07"},
			{"EDQUOT", syscall.EDQUOT, "7/27/07"},
			{"EROFS", syscall.EROFS, "7/27/00"},
			{"closed", fs.ErrClosed, "2/04/00"},
			{"ENODEV", syscall.ENODEV, "2/04/00"},
			{"cancelled", context.Canceled, "aborted"},
		} {
			t.Run(cmd.name+" "+tt.name, func(t *testing.T) {
				disk := newRAM(1 << 20)
				n := attach(t, newUnit(t, Config{Device: disk, Thin: true}), 1)
				disk.fail = failOn(cmd.fails, tt.err)
				var out [][]byte
				if cmd.data != nil {
					out = [][]byte{cmd.data}
				}
				r := send(t, n, cmd.cdb, out...).want(t, tt.want)
				if tt.want == cmd.medium && cmd.lba != 0 {
					r.wantInfo(t, cmd.lba)
				}
				if len(r.data) != 0 {
					t.Errorf("it gave %d bytes", len(r.data))
				}
				disk.fail = nil
				send(t, n, "28 00 00000010 00 0002 00").want(t, "good")
			})
		}
	}
}

// shortRAM reads and writes half of what it is asked for before it fails.
type shortRAM struct{ *ram }

func (r shortRAM) ReadAt(p []byte, off int64) (int, error) {
	n, _ := r.ram.ReadAt(p[:len(p)/2], off)
	return n, errors.New("a bad sector")
}

func (r shortRAM) WriteAt(p []byte, off int64) (int, error) {
	n, _ := r.ram.WriteAt(p[:len(p)/2], off)
	return n, errors.New("a bad sector")
}

func TestTheBlockThatIsBad(t *testing.T) {
	n := attach(t, newUnit(t, Config{Device: shortRAM{newRAM(1 << 20)}}), 1)
	send(t, n, "28 00 00000010 00 0008 00").want(t, "3/11/00").wantInfo(t, 0x14)
	send(t, n, "2f 00 00000010 00 0008 00").want(t, "3/11/00").wantInfo(t, 0x14)
	send(t, n, "2a 00 00000010 00 0008 00", pattern(1, 8)).want(t, "3/0c/00").wantInfo(t, 0x14)
	send(t, n, "2a 00 00000010 00 0008 00", pattern(1, 4), pattern(1, 4)).want(t, "3/0c/00").wantInfo(t, 0x12)
	send(t, n, "41 00 00000010 00 0008 00", pattern(1, 1)).want(t, "3/0c/00").wantInfo(t, 0x14)
}

func TestCancelled(t *testing.T) {
	zeros := make([]byte, 512)
	for name, tt := range map[string]struct {
		cdb  string
		data []byte
	}{
		"READ":           {"28 00 00000000 00 0001 00", nil},
		"VERIFY":         {"2f 00 00000000 00 0400 00", nil},
		"WRITE SAME":     {"41 00 00000000 00 0400 00", pattern(1, 1)},
		"zeros":          {"41 00 00000000 00 0400 00", zeros},
		"GET LBA STATUS": {"9e12 0000000000000000 00000018 00 00", nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			disk := newRAM(1 << 20)
			n := attach(t, newUnit(t, Config{Device: disk}), 1)
			c := &Command{CDB: parseCDB(t, tt.cdb), Expected: int64(len(tt.data)), Out: [][]byte{tt.data}}
			n.unit.Execute(ctx, n, c)
			if ending(c) != "aborted" || disk.called() != "" {
				t.Errorf("ended with %s", ending(c))
			}
		})
	}
	// In the middle: the first chunk cancels.
	for name, tt := range map[string]struct {
		cdb, fails string
		data       []byte
	}{
		"VERIFY":     {"2f 00 00000000 00 0800 00", "read", nil},
		"WRITE SAME": {"41 00 00000000 00 0800 00", "write", pattern(1, 1)},
	} {
		t.Run(name+" in the middle", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			disk := newRAM(1 << 20)
			n := attach(t, newUnit(t, Config{Device: disk}), 1)
			disk.fail = func(string, int64, int64) error { cancel(); return nil }
			c := &Command{CDB: parseCDB(t, tt.cdb), Expected: int64(len(tt.data)), Out: [][]byte{tt.data}}
			n.unit.Execute(ctx, n, c)
			if calls := disk.called(); ending(c) != "aborted" || calls != tt.fails {
				t.Errorf("ended with %s after %q", ending(c), calls)
			}
		})
	}
}

func TestBlockSizes(t *testing.T) {
	for _, size := range []int{512, 1024, 2048, 4096} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			disk := newRAM(1 << 20)
			n := attach(t, newUnit(t, Config{Device: disk, BlockSize: size}), 1)
			data := pattern(1, 2*size/512)
			send(t, n, "2a 00 00000003 00 0002 00", data).want(t, "good")
			if !bytes.Equal(disk.data[3*size:5*size], data) {
				t.Error("written to another place")
			}
			if r := send(t, n, "28 00 00000003 00 0002 00").want(t, "good"); !bytes.Equal(r.data, data) {
				t.Error("read from another place")
			}
			send(t, n, "25").wantData(t, fmt.Sprintf("%08x %08x", 1<<20/size-1, size))
		})
	}
}

func TestCapacity(t *testing.T) {
	tests := []struct {
		name, cdb string
		cfg       Config
		want      string
	}{
		{"(10)", "25", Config{}, "000007ff 00000200"},
		{"(10) of an empty medium", "25", Config{Device: newRAM(0)}, "00000000 00000200"},
		{"(10) of 4 TiB", "25", Config{Device: sized(4 << 40)}, "ffffffff 00000200"},
		{"(10) of 2 TiB", "25", Config{Device: sized(2 << 40)}, "ffffffff 00000200"},
		{"(10) of half a block more", "25", Config{Device: sized(1<<20 + 300)}, "000007ff 00000200"},
		{"(16)", "9e10 0000000000000000 00000020 00 00", Config{PhysicalExponent: 3}, "00000000000007ff 00000200 00 03 0000" + strings.Repeat("00", 16)},
		{"(16), thin", "9e10 0000000000000000 00000010 00 00", Config{Thin: true}, "00000000000007ff 00000200 00 00 c000"},
		{"(16) of 4 TiB", "9e10 0000000000000000 0000000c 00 00", Config{Device: sized(4 << 40)}, "00000001ffffffff 00000200"},
		{"(16), cut off", "9e10 0000000000000000 00000001 00 00", Config{}, "00"},
		{"of a CD", "25", Config{Device: newRAM(10*2048 + 512), CDROM: true}, "0000000a 00000800"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { send(t, attach(t, newUnit(t, tt.cfg), 1), tt.cdb).wantData(t, tt.want) })
	}
}

// sized is a Device of which only the size matters.
type sized int64

func (s sized) Size() int64                          { return int64(s) }
func (sized) ReadAt(p []byte, _ int64) (int, error)  { return len(p), nil }
func (sized) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (sized) Flush(context.Context) error            { return nil }
func (sized) WriteZeroes(int64, int64, bool) error   { return nil }

func TestZeroingIsCutIntoStretches(t *testing.T) {
	var calls []int64
	d := zeroCounter{sized: 5 << 30, calls: &calls}
	n := attach(t, newUnit(t, Config{Device: d, Limits: Limits{WriteSameLength: 1 << 30}}), 1)
	c := &Command{CDB: parseCDB(t, "93 01 0000000000000001 00000000 00 00")}
	n.unit.Execute(t.Context(), n, c)
	if ending(c) != "good" || fmt.Sprint(calls) != fmt.Sprint([]int64{1 << 30, 1 << 30, 1 << 30, 1 << 30, 1<<30 - 512}) {
		t.Errorf("ended with %s after %v", ending(c), calls)
	}
}

type zeroCounter struct {
	sized
	calls *[]int64
}

func (z zeroCounter) WriteZeroes(_, length int64, _ bool) error {
	*z.calls = append(*z.calls, length)
	return nil
}

// crumbs is a Device whose extents are all shorter than a block.
type crumbs struct {
	sized
	calls *int
}

func (c crumbs) NextExtent(context.Context, int64) (int64, bool, error) {
	*c.calls++
	return 100, *c.calls%2 == 0, nil
}

func TestExtentsAreNotCountedForever(t *testing.T) {
	calls := 0
	n := attach(t, newUnit(t, Config{Device: crumbs{1 << 40, &calls}}), 1)
	send(t, n, "9e12 0000000000000000 00000018 00 00").wantData(t, "00000014 00000000 0000000000000000 00000100 00000000")
	if calls != maximumExtents {
		t.Errorf("%d calls", calls)
	}
}
