package scsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// copyTargetOf returns a copy target descriptor of a unit.
func copyTargetOf(lu *LogicalUnit) []byte {
	d := lu.Designators()[0]
	p := make([]byte, copyTargetLength)
	p[0] = copyTargetIdentification
	p[4], p[5], p[7] = d.CodeSet, d.Association<<4|d.Type, byte(len(d.ID))
	copy(p[8:], d.ID)
	binary.BigEndian.PutUint32(p[28:], uint32(lu.cfg.BlockSize))
	return p
}

// copySegmentOf returns a segment descriptor.
func copySegmentOf(from, to uint16, count uint16, sourceLBA, destinationLBA uint64) []byte {
	p := []byte{copyBlockToBlock, 0, 0, copySegmentLength - 4, byte(from >> 8), byte(from), byte(to >> 8), byte(to), 0, 0, byte(count >> 8), byte(count)}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(p, sourceLBA), destinationLBA)
}

// copyListOf returns a parameter list.
func copyListOf(id byte, targets, segments [][]byte) []byte {
	t, s := bytes.Join(targets, nil), bytes.Join(segments, nil)
	p := make([]byte, copyHeaderLength, copyHeaderLength+len(t)+len(s))
	p[0] = id
	binary.BigEndian.PutUint16(p[2:], uint16(len(t)))
	binary.BigEndian.PutUint32(p[8:], uint32(len(s)))
	return append(append(p, t...), s...)
}

func sendCopy(t testing.TB, n *Nexus, list []byte) reply {
	t.Helper()
	return send(t, n, fmt.Sprintf("83 00 0000000000000000 %08x 00 00", len(list)), list)
}

func TestExtendedCopy(t *testing.T) {
	content := pattern(1, 2048)
	tests := []struct {
		name              string
		source, dest, len int
	}{
		{"apart", 0, 1024, 1000},
		{"one block", 5, 6, 1},
		{"nothing", 5, 6, 0},
		{"onto itself", 5, 5, 100},
		{"overlapping, forwards", 0, 100, 1500},
		{"overlapping, backwards", 100, 0, 1500},
	}
	for _, tt := range tests {
		for name, wrap := range map[string]func(*ram) Device{
			"extents": func(r *ram) Device { return r },
			"plain":   func(r *ram) Device { return plain{r} },
			"copier":  func(r *ram) Device { return &copierRAM{ram: r} },
			"halfway": func(r *ram) Device { return &copierRAM{ram: r, stop: 700} },
		} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				disk := newRAM(1 << 20)
				_, _ = disk.WriteAt(content, 0)
				n := attach(t, newUnit(t, Config{Device: wrap(disk)}), 1)
				want := bytes.Clone(content)
				copy(want[512*tt.dest:], bytes.Clone(content[512*tt.source:][:512*tt.len]))
				sendCopy(t, n, copyListOf(1, [][]byte{copyTargetOf(n.unit)}, [][]byte{
					copySegmentOf(0, 0, uint16(tt.len), uint64(tt.source), uint64(tt.dest)),
				})).want(t, "good")
				if !bytes.Equal(disk.data, want) {
					t.Error("the medium is not as it should be")
				}
			})
		}
	}
}

// copierRAM copies by itself, at most stop blocks.
type copierRAM struct {
	*ram
	stop int
}

func (c *copierRAM) CopyRange(_ context.Context, src Device, from, to, length int64) (int64, error) {
	n := length
	if c.stop > 0 {
		n = min(n, int64(512*c.stop))
	}
	p := make([]byte, n)
	if _, err := src.ReadAt(p, from); err != nil {
		return 0, err
	}
	if _, err := c.WriteAt(p, to); err != nil {
		return 0, err
	}
	if n < length {
		return n, fmt.Errorf("the rest: %w", errors.ErrUnsupported)
	}
	return n, nil
}

func TestExtendedCopyKeepsHoles(t *testing.T) {
	disk := newRAM(1 << 20)
	_, _ = disk.WriteAt(pattern(1, 1024), 1024*512) // what is overwritten
	n := attach(t, newUnit(t, Config{Device: disk, Thin: true}), 1)
	sendCopy(t, n, copyListOf(1, [][]byte{copyTargetOf(n.unit)}, [][]byte{copySegmentOf(0, 0, 1024, 0, 1024)})).want(t, "good")
	for i, mapped := range disk.mapped {
		if mapped {
			t.Fatalf("block %d has storage", i)
		}
	}
}

func TestExtendedCopyBetweenUnits(t *testing.T) {
	begin := func(t *testing.T, cfg Config) (from, to *Nexus, source, destination *ram) {
		source, destination = newRAM(1<<20), newRAM(1<<20)
		_, _ = source.WriteAt(pattern(1, 2048), 0)
		cfg.Device = destination
		other := newUnit(t, cfg)
		other.cfg.ID = ID{9}
		to = attach(t, other, 1)
		from = attach(t, newUnit(t, Config{Device: source}), 1)
		from.cfg.CopyTarget = func(d Designator) *Nexus {
			if d == other.Designators()[0] {
				return to
			}
			return nil
		}
		return from, to, source, destination
	}
	list := func(from, to *Nexus, segments ...[]byte) []byte {
		return copyListOf(7, [][]byte{copyTargetOf(from.unit), copyTargetOf(to.unit)}, segments)
	}
	t.Run("there and back", func(t *testing.T) {
		from, to, source, destination := begin(t, Config{})
		sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 10, 1, 2), copySegmentOf(1, 0, 3, 2, 100))).want(t, "good")
		if !bytes.Equal(destination.data[2*512:12*512], source.data[512:11*512]) || !bytes.Equal(source.data[100*512:103*512], source.data[512:4*512]) {
			t.Error("not copied")
		}
		send(t, from, "84 00 07 00000000000000 00000fff 0000").wantData(t, "00000008 01 0002 00 00001a00")
	})
	t.Run("onto bigger blocks", func(t *testing.T) {
		from, to, source, destination := begin(t, Config{BlockSize: 4096})
		sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 16, 3, 1))).want(t, "good")
		if !bytes.Equal(destination.data[4096:4096+16*512], source.data[3*512:19*512]) {
			t.Error("not copied")
		}
		counted := copySegmentOf(0, 1, 2, 3, 1)
		counted[1] = 0x02 // DC
		sendCopy(t, from, list(from, to, counted)).want(t, "good")
		sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 15, 3, 1))).want(t, "a/00/00")
	})
	t.Run("write protected", func(t *testing.T) {
		from, to, _, _ := begin(t, Config{ReadOnly: true})
		sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 1, 0, 0))).want(t, "7/27/00").wantInfo(t, 0)
		sendCopy(t, from, list(from, to, copySegmentOf(1, 0, 1, 0, 0))).want(t, "good")
	})
	t.Run("reserved", func(t *testing.T) {
		from, to, _, _ := begin(t, Config{})
		holder := attach(t, to.unit, 9)
		reserveOutCommand(t, holder, outRegister, 0, 0, 1).want(t, "good")
		reserveOutCommand(t, holder, outReserve, WriteExclusive, 1, 0).want(t, "good")
		sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 1, 0, 0))).want(t, "conflict")
		sendCopy(t, from, list(from, to, copySegmentOf(1, 0, 1, 0, 0))).want(t, "good")
		reserveOutCommand(t, holder, outPreempt, ExclusiveAccess, 1, 1).want(t, "good")
		sendCopy(t, from, list(from, to, copySegmentOf(1, 0, 1, 0, 0))).want(t, "conflict")
	})
	t.Run("no medium", func(t *testing.T) {
		from, to, _, _ := begin(t, Config{Removable: true})
		to.unit.set(stateEjected, true)
		sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 1, 0, 0))).want(t, "a/0d/02")
	})
	t.Run("the second segment fails", func(t *testing.T) {
		from, to, _, _ := begin(t, Config{})
		sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 4, 0, 0), copySegmentOf(0, 1, 4, 0, 2045))).want(t, "a/00/00").wantInfo(t, 1)
		send(t, from, "84 00 07 00000000000000 00000fff 0000").wantData(t, "00000008 02 0001 00 00000800")
	})
	t.Run("write errors", func(t *testing.T) {
		from, to, source, destination := begin(t, Config{})
		destination.fail = failOn("write", errTest)
		sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 4, 0, 0))).want(t, "3/0c/00")
		destination.fail = nil
		for _, op := range []string{"read", "extent"} {
			source.fail = failOn(op, errTest)
			sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 4, 0, 0))).want(t, "3/11/00")
		}
	})
	t.Run("what commands wait for and ask", func(t *testing.T) {
		from, to, source, destination := begin(t, Config{})
		var said []string
		listen := func(name string, n *Nexus) {
			n.cfg.Pace = func(_ context.Context, kind Kind, bytes int64) error {
				said = append(said, fmt.Sprintf("%s pace %v %d", name, kind, bytes))
				return nil
			}
			n.cfg.Visit = func(ctx context.Context, kind Kind) (context.Context, func(), bool) {
				said = append(said, fmt.Sprintf("%s visit %v", name, kind))
				return ctx, func() { said = append(said, name+" leave") }, true
			}
		}
		listen("from", from)
		listen("to", to)
		sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 4, 0, 0), copySegmentOf(1, 1, 2, 0, 8))).want(t, "good")
		want := []string{
			fmt.Sprintf("from pace %v 2048", KindRead), fmt.Sprintf("to pace %v 2048", KindWrite),
			fmt.Sprintf("from visit %v", KindRead), fmt.Sprintf("to visit %v", KindWrite), "to leave", "from leave",
			fmt.Sprintf("to pace %v 1024", KindRead), fmt.Sprintf("to pace %v 1024", KindWrite),
			fmt.Sprintf("to visit %v", KindRead), fmt.Sprintf("to visit %v", KindWrite), "to leave", "to leave",
		}
		if !slices.Equal(said, want) {
			t.Errorf("asked %q, want %q", said, want)
		}
		for kind, n := range map[Kind]*Nexus{KindRead: from, KindWrite: to} {
			source.fail, destination.fail, said = failOn("read", errTest), failOn("write", errTest), nil
			old := n.cfg.Visit
			n.cfg.Visit = func(context.Context, Kind) (context.Context, func(), bool) { return nil, nil, false }
			sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 4, 0, 0))).want(t, "a/0d/02")
			if n == to && said[len(said)-1] != "from leave" {
				t.Errorf("%v refused: %q", kind, said)
			}
			n.cfg.Visit = func(context.Context, Kind) (context.Context, func(), bool) {
				ended, end := context.WithCancel(t.Context())
				end()
				return ended, func() {}, true
			}
			if n == from {
				to.cfg.Visit = nil
			}
			sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 4, 0, 0))).want(t, "a/0d/02")
			listen("to", to)
			n.cfg.Visit = old
		}
		to.cfg.Pace = func(context.Context, Kind, int64) error { return context.Canceled }
		if got := sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 4, 0, 0))); got.Status != StatusTaskAborted {
			t.Errorf("aborted while it waited: %v", got.Status)
		}
	})
	t.Run("write through", func(t *testing.T) {
		from, to, _, destination := begin(t, Config{})
		to.unit.set(stateWriteThrough, true)
		sendCopy(t, from, list(from, to, copySegmentOf(0, 1, 4, 0, 0))).want(t, "good")
		if !bytes.Equal(destination.data, destination.flushed) {
			t.Error("not on stable storage")
		}
	})
}

func TestExtendedCopyRefusals(t *testing.T) {
	n := attach(t, newUnit(t, Config{}), 1)
	target := copyTargetOf(n.unit)
	segment := copySegmentOf(0, 0, 1, 0, 8)
	change := func(p []byte, at int, b byte) []byte {
		p = bytes.Clone(p)
		p[at] = b
		return p
	}
	repeat := func(p []byte, n int) (list [][]byte) {
		for range n {
			list = append(list, p)
		}
		return list
	}
	one := func(target, segment []byte) []byte { return copyListOf(1, [][]byte{target}, [][]byte{segment}) }
	tests := []struct {
		name        string
		list        []byte
		want, field string
	}{
		{"nothing at all", nil, "good", ""},
		{"a header alone", make([]byte, 16), "good", ""},
		{"targets without segments", copyListOf(1, [][]byte{target}, nil), "good", ""},
		{"half a header", make([]byte, 15), "5/1a/00", ""},
		{"a truncated target", one(target, segment)[:16+31], "5/1a/00", ""},
		{"a truncated segment", one(target, segment)[:16+32+27], "5/1a/00", ""},
		{"inline data that is not there", change(one(target, segment), 15, 1), "5/1a/00", ""},
		{"inline data", append(change(one(target, segment), 15, 1), 0), "5/26/0b", ""},
		{"too many targets", copyListOf(1, repeat(target, 9), [][]byte{segment}), "5/26/06", ""},
		{"too many segments", copyListOf(1, [][]byte{target}, repeat(segment, 65)), "5/26/08", ""},
		{"too much of both", copyListOf(1, repeat(target, 9), repeat(segment, 65)), "5/1a/00", ""},
		{"half a target", change(change(one(target, segment), 3, 40), 11, 20), "5/26/00", "p2"},
		{"half a segment", change(one(target, segment), 11, 20), "5/26/00", "p8"},
		{"target type", one(change(target, 0, 0xe0), segment), "5/26/07", ""},
		{"segment type", one(target, change(segment, 0, 0x03)), "5/26/09", ""},
		{"segment length", one(target, change(segment, 3, 23)), "5/26/00", "p50"},
		{"device type", one(change(target, 1, 5), segment), "5/26/00", "p17.4"},
		{"designator length", one(change(target, 7, 21), segment), "5/26/00", "p23"},
		{"unit identification type", one(change(target, 1, 0xc0), segment), "good", ""}, // obsolete in SPC-4
		{"block size", one(change(target, 30, 4), segment), "a/0d/02", ""},
		{"another unit", one(change(target, 9, 0xff), segment), "a/0d/02", ""},
		{"target index", one(target, change(segment, 7, 1)), "a/08/04", ""},
		{"source index", one(target, change(segment, 4, 1)), "a/08/04", ""},
		{"beyond the end", one(target, copySegmentOf(0, 0, 2, 0, 2047)), "a/00/00", ""},
		{"from beyond the end", one(target, copySegmentOf(0, 0, 2, 2047, 0)), "a/00/00", ""},
		{"far beyond the end", one(target, copySegmentOf(0, 0, 2, 1<<63, 0)), "a/00/00", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { sendCopy(t, n, tt.list).want(t, tt.want).wantField(t, tt.field) })
	}
	t.Run("less data than the list has", func(t *testing.T) {
		send(t, n, "83 00 0000000000000000 00000050 00 00", make([]byte, 20)).want(t, "5/1a/00")
	})
	t.Run("another service action", func(t *testing.T) { send(t, n, "83 01").want(t, "5/24/00") })
}

func TestCopyResults(t *testing.T) {
	n := attach(t, newUnit(t, Config{}), 1)
	other := attach(t, n.unit, 2)
	const status = "84 00 01 00000000000000 00000fff 0000"
	send(t, n, status).want(t, "5/24/00").wantField(t, "c2")
	list := copyListOf(1, [][]byte{copyTargetOf(n.unit)}, [][]byte{copySegmentOf(0, 0, 2, 0, 8)})
	discard := bytes.Clone(list)
	discard[1] = 0x10
	sendCopy(t, n, discard).want(t, "good")
	send(t, n, status).want(t, "5/24/00")
	sendCopy(t, n, list).want(t, "good")
	send(t, n, status).wantData(t, "00000008 01 0001 00 00000400")
	send(t, other, status).want(t, "5/24/00") // another's copy
	for id := range keptCopies {
		list[0] = byte(id + 10)
		sendCopy(t, n, list).want(t, "good")
	}
	send(t, n, status).want(t, "5/24/00") // forgotten
	send(t, n, "84 00 0a 00000000000000 00000fff 0000").want(t, "good")

	send(t, n, "84 03 00 00000000000000 00000fff 0000").wantData(t, "0000002a 01 000000 0008 0040 00000800 01fffe00"+
		"00000000 00000000 00000000 0000 ffff ff 09 00 00 000000 02 02 e4")
}

func TestTransferCount(t *testing.T) {
	for bytes, want := range map[uint64]string{0: "0 0", 1<<32 - 1: "0 4294967295", 1 << 32: "1 4194304", 1 << 43: "2 8388608"} {
		if unit, count := transferCount(bytes); fmt.Sprint(unit, count) != want {
			t.Errorf("%d bytes are %d of the unit %d", bytes, count, unit)
		}
	}
}
