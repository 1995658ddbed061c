package qemu

import (
	"bytes"
	"encoding/binary"
	"io"
	"os/exec"
	"testing"
	"unicode"

	"elstore/volume/fault"
)

// twoParts is a file of size bytes: head at its beginning, tail at another place, zeros elsewhere. So a fuzzer reaches
// what lies far away in small inputs. It fails the test when more is read at once than may be.
type twoParts struct {
	t          testing.TB
	head, tail []byte
	at, size   int64
}

func (f *twoParts) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || len(p) > maxPiece {
		f.t.Fatalf("read of %d bytes at %d", len(p), off)
	}
	n := int(max(0, min(int64(len(p)), f.size-off)))
	clear(p[:n])
	for _, part := range []struct {
		at   int64
		data []byte
	}{{f.at, f.tail}, {0, f.head}} {
		lo, hi := max(off, part.at), min(off+int64(n), part.at+int64(len(part.data)))
		if lo < hi {
			copy(p[lo-off:hi-off], part.data[lo-part.at:hi-part.at])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func FuzzInspect(f *testing.F) {
	add := func(whole []byte, at int) {
		head := whole[:min(len(whole), 4<<10)]
		f.Add(head, whole[min(at, len(whole)):min(at+4<<10, len(whole))], int64(at), int64(len(whole)))
	}
	add(newQCOW2(nil), 3<<16)
	add(newQCOW2(func(b []byte) {
		binary.BigEndian.PutUint32(b[60:], 1)
		binary.BigEndian.PutUint64(b[64:], 2<<16)
		b[2<<16+5], b[2<<16+39] = 3, 16
	}), 2<<16)
	add(newQCOW2(func(b []byte) { backing(b, 1024, "/etc/passwd") }), 0)
	if _, err := exec.LookPath("qemu-img"); err == nil {
		for _, format := range []Format{QCOW2, VMDK, VDI, VPC} {
			whole := golden(f, image(f, format, 1<<20))
			add(whole, len(whole)-min(len(whole), 4<<10))
		}
	}
	f.Fuzz(func(t *testing.T, head, tail []byte, at, size int64) {
		if at < 0 || size < 0 {
			return
		}
		const most = 1 << 40
		for _, said := range []Format{"", Raw, QCOW2, VMDK, VDI, VPC, VHDX} {
			file := &twoParts{t, head, tail, at, size}
			in, err := Inspect(file, size, InspectOptions{Format: said, MaxSize: most})
			if err != nil {
				if !fault.Is(err, fault.ImageRefused) {
					t.Fatalf("error is %v (%s)", err, fault.CodeOf(err))
				}
				continue
			}
			if !in.Format.valid() || said != "" && in.Format != said || in.VirtualSize <= 0 || in.VirtualSize > most || in.VirtualSize%512 != 0 || in.Snapshots < 0 || in.Snapshots > maxSnapshots {
				t.Fatalf("as %q it passes as %+v", said, in)
			}
			if h, err := Header(file); in.Format == QCOW2 && (err != nil || h.VirtualSize != in.VirtualSize || h.BackingFile != "" || h.DataFile != "") {
				t.Fatalf("it passes with the header %+v, %v", h, err)
			}
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(newQCOW2(nil)[:512])
	f.Add(newQCOW2(func(b []byte) {
		backing(b, uint64(extension(b, 112, extBackingFormat, "raw")), "../elemento-base/a.raw")
	})[:512])
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := Header(bytes.NewReader(data))
		if err != nil {
			if !fault.Is(err, fault.VolumeDamaged) {
				t.Fatalf("error is %v (%s)", err, fault.CodeOf(err))
			}
			return
		}
		if h.VirtualSize < 0 || h.ClusterBits < 9 || h.ClusterBits > 21 || h.RefcountOrder > 6 || len(h.BackingFile) > 1023 || h.Version != 2 && h.Version != 3 {
			t.Fatalf("header is %+v", h)
		}
	})
}

func FuzzVHDXTables(f *testing.F) {
	if _, err := exec.LookPath("qemu-img"); err == nil {
		whole := golden(f, image(f, VHDX, 1<<20))
		regions := whole[vhdxRegions:][:vhdxTableLen]
		_, metadata, err := parseVHDXRegions(regions)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(regions[:256])
		f.Add(whole[metadata.offset:][:512])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		table := make([]byte, vhdxTableLen)
		copy(table, data)
		if items, err := parseVHDXMetadata(table); err == nil && len(items) != len(vhdxNeeded) {
			t.Fatalf("%d items", len(items))
		}
		clear(table[4:8])
		sum := vhdxSum(table)
		binary.LittleEndian.PutUint32(table[4:], sum)
		bat, metadata, err := parseVHDXRegions(table)
		if err == nil && (bat.length == 0 || metadata.length == 0 || bat.offset%vhdxFirst != 0 || metadata.offset%vhdxFirst != 0) {
			t.Fatalf("regions are %+v and %+v", bat, metadata)
		}
	})
}

func FuzzDescriptor(f *testing.F) {
	f.Add("# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\ncreateType=\"monolithicSparse\"\nRW 2048 SPARSE \"a.vmdk\"\n")
	f.Add("RW 1 FLAT \"/etc/passwd\" 0\nRW\t2 SPARSE \"b\"")
	f.Fuzz(func(t *testing.T, text string) {
		if checkDescriptorText(text) == nil && !bytes.Contains([]byte(text), []byte("SPARSE")) {
			t.Fatalf("%q passes", text)
		}
	})
}

func FuzzSaid(f *testing.F) {
	f.Add("qemu-img: Could not open '/mnt/a/vid.1.elimg/data.qcow2': Failed to get \"write\" lock\n")
	f.Add("qemu-img: /mnt/pool/vid.1.elimg/x /mnt/pool/ \x1b\xff")
	f.Fuzz(func(t *testing.T, stderr string) {
		got := said(stderr, []Image{{Path: "/mnt/pool/vid.1.elimg/data.qcow2", Format: QCOW2}})
		if got == "" || len(got) > maxSaid+len("…") {
			t.Fatalf("%d bytes are said", len(got))
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q can't be printed", got)
			}
		}
	})
}
