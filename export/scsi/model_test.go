package scsi

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// diskModel is a disk in memory, as a list of what commands do to it.
type diskModel struct{ data []byte }

const (
	modelBlocks = 1500
	modelBlock  = 512
)

func (m *diskModel) at(lba, count int) []byte { return m.data[lba*modelBlock : (lba+count)*modelBlock] }

// TestDiskAgainstModel runs random commands, good and bad ones, from two nexuses and compares what they read
// and how they end with the model.
func TestDiskAgainstModel(t *testing.T) {
	for name, wrap := range map[string]func(*ram) Device{
		"thin":    func(r *ram) Device { return r },
		"vectors": func(r *ram) Device { return vectorRAM{r} },
		"plain":   func(r *ram) Device { return plain{r} },
	} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				disk := newRAM(modelBlocks * modelBlock)
				lu := newUnit(t, Config{Device: wrap(disk), Thin: true, Limits: Limits{TransferLength: 600, WriteSameLength: 700}})
				m := &diskModel{make([]byte, modelBlocks*modelBlock)}
				nexuses := []*Nexus{attach(t, lu, 1), attach(t, lu, 2)}
				random := rand.New(rand.NewPCG(seed, 2))
				for range 400 {
					step(t, random, m, nexuses[random.IntN(2)])
					if !bytes.Equal(m.data, disk.data) {
						t.Fatal("the medium is not the model's")
					}
				}
			})
		}
	}
}

// randomBytes is where random data comes from.
var randomBytes = func() []byte {
	p := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}()

// cdb16 is a CDB of 16 bytes with an address and a length.
func cdb16(code, flags byte, lba, count int) (cdb [16]byte) {
	cdb[0], cdb[1] = code, flags
	binary.BigEndian.PutUint64(cdb[2:], uint64(lba))
	binary.BigEndian.PutUint32(cdb[10:], uint32(count))
	return cdb
}

// step runs one random command on both.
func step(t *testing.T, random *rand.Rand, m *diskModel, n *Nexus) {
	t.Helper()
	lba := random.IntN(modelBlocks)
	count := min(random.IntN(560), modelBlocks-lba)
	if random.IntN(4) == 0 {
		count = min(random.IntN(4), modelBlocks-lba)
	}
	from := random.IntN(len(randomBytes) - count*modelBlock)
	data := bytes.Clone(randomBytes[from : from+count*modelBlock])
	c := &Command{}
	want := "good"
	var expected []byte // of a read
	change := func() {}
	flags := byte(random.IntN(4)) << 3 // DPO, FUA
	switch random.IntN(14) {
	case 0, 1, 2:
		c.CDB = cdb16(0x88, flags, lba, count)
		expected = m.at(lba, count)
	case 3, 4, 5:
		c.CDB = cdb16(0x8a, flags, lba, count)
		change = func() { copy(m.at(lba, count), data) }
	case 6:
		c.CDB = cdb16(0x8e, 0x02, lba, count)
		change = func() { copy(m.at(lba, count), data) }
	case 7:
		c.CDB = cdb16(0x8b, flags, lba, count)
		change = func() {
			for i := range data {
				m.at(lba, count)[i] |= data[i]
			}
		}
	case 8: // WRITE SAME, where a length of zero goes to the end
		c.CDB = cdb16(0x93, 0, lba, count)
		data = bytes.Repeat([]byte{byte(random.IntN(2))}, modelBlock)
		count = cmp.Or(count, modelBlocks-lba)
		if count > 700 {
			want = "5/24/00"
		}
		block := data
		change = func() { copy(m.at(lba, count), bytes.Repeat(block, count)) }
	case 9: // the same with UNMAP
		c.CDB = cdb16(0x93, 0x09, lba, max(count, 1))
		count, data = max(count, 1), nil
		change = func() { clear(m.at(lba, count)) }
	case 10: // UNMAP of two ranges
		second := random.IntN(modelBlocks)
		c.CDB = parseCDB(t, "42 00 0000 0000 00 0028 00")
		data = append([]byte{0, 38, 0, 32, 0, 0, 0, 0}, make([]byte, 32)...)
		binary.BigEndian.PutUint64(data[8:], uint64(lba))
		binary.BigEndian.PutUint32(data[16:], uint32(count))
		binary.BigEndian.PutUint64(data[24:], uint64(second))
		binary.BigEndian.PutUint32(data[32:], 1)
		change = func() { clear(m.at(lba, count)); clear(m.at(second, 1)) }
	case 11: // COMPARE AND WRITE
		count = min(count, 255)
		c.CDB = cdb16(0x89, flags, lba, 0)
		c.CDB[13] = byte(count)
		old, next := bytes.Clone(m.at(lba, count)), bytes.Clone(data[:count*modelBlock])
		if count > 0 && random.IntN(2) == 0 {
			old[random.IntN(len(old))] ^= 0x10
			want = "e/1d/00"
		}
		data = append(old, next...)
		change = func() { copy(m.at(lba, count), next) }
	case 12: // VERIFY
		c.CDB = cdb16(0x8f, 0x02, lba, count)
		data = bytes.Clone(m.at(lba, count))
		if count > 0 && random.IntN(2) == 0 {
			data[random.IntN(len(data))] ^= 0x01
			want = "e/1d/00"
		}
	case 13: // past the end
		code := []byte{0x88, 0x8a, 0x8b, 0x8e, 0x8f, 0x93}[random.IntN(6)]
		c.CDB = cdb16(code, 0, modelBlocks-count, count+1+random.IntN(100))
		want = "5/21/00"
	}
	for rest := data; len(rest) > 0; { // in pieces of any size
		k := min(1+random.IntN(100_000), len(rest))
		c.Out, rest = append(c.Out, rest[:k]), rest[k:]
	}
	c.Expected = max(int64(len(data)), int64(len(expected)))
	c.In = make([]byte, len(expected))
	n.unit.Execute(t.Context(), n, c)
	reply{c, nil}.want(t, want)
	if want == "good" {
		change()
	}
	if expected != nil && !bytes.Equal(c.In[:c.Received], expected) {
		t.Fatalf("READ of %d blocks at %d gave something else", count, lba)
	}
}
