package iso

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"elstore/volume/fault"
)

func TestSystemUseIsBounded(t *testing.T) {
	name := func(n int) (use []byte) {
		for ; n > 0; n -= 200 {
			part := min(n, 200)
			use = append(append(use, 'N', 'M', byte(5+part), 1, 1), make([]byte, part)...)
		}
		return use
	}
	link := func(n int) (use []byte) {
		for ; n > 0; n -= 200 {
			part := min(n, 200)
			use = append(append(use, 'S', 'L', byte(7+part), 1, 1, 1, byte(part)), make([]byte, part)...)
		}
		return use
	}
	elsewhere := func(length int) []byte {
		ce := make([]byte, 28)
		copy(ce, "CE\x1c\x01")
		binary.LittleEndian.PutUint32(ce[20:], uint32(length))
		return ce
	}
	for _, c := range []struct {
		what string
		use  []byte
		long bool
		fail bool
	}{
		{"a name of 255 bytes", name(255), false, false},
		{"a name of 256 bytes", name(256), true, false},
		{"a link of 4000 bytes", link(4000), false, false},
		{"a link of 5000 bytes", link(5000), true, false},
		{"a sector elsewhere", elsewhere(Sector), false, false},
		{"more than a sector elsewhere", elsewhere(Sector + 1), false, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			var x rockRidge
			err := entries(c.use, 0, func(_, _, length uint32) ([]byte, error) { return make([]byte, length), nil }, x.take)
			if x.long != c.long || (err != nil) != c.fail || len(x.name) > maxName || len(x.link) > maxLink {
				t.Errorf("too long: %t, name of %d, link of %d, %v", x.long, len(x.name), len(x.link), err)
			}
		})
	}
}

// FuzzRecords reads any bytes as a directory with system use fields that lead back into it.
func FuzzRecords(f *testing.F) {
	one := make([]byte, 64)
	one[0], one[32] = 60, 3
	copy(one[33:], "ABC")
	copy(one[36:], "NM\x08\x01\x00abcSL\x0a\x01\x00\x00\x03abcCE\x1c\x01")
	f.Add(one)
	f.Add([]byte{255, 0, 0})
	f.Fuzz(func(t *testing.T, dir []byte) {
		read := func(block, off, length uint32) ([]byte, error) {
			from := uint64(block)*Sector + uint64(off)
			if from+uint64(length) > uint64(len(dir)) {
				return nil, errors.New("beyond the end")
			}
			return dir[from : from+uint64(length)], nil
		}
		for off, n := 0, 0; ; n++ {
			r, next, err := nextRecord(dir, off)
			if err != nil || r == nil {
				return
			}
			if next <= off || n > len(dir) {
				t.Fatalf("from %d to %d", off, next)
			}
			off = next
			var x rockRidge
			_ = entries(r.systemUse(), 0, read, x.take)
			plainName(text(r.name()))
			plainName(ucs2(r.name()))
		}
	})
}

// FuzzCatalog reads any bytes as a boot catalog.
func FuzzCatalog(f *testing.F) {
	valid := make([]byte, 4*catalogEntry)
	valid[0], valid[30], valid[31] = 1, 0x55, 0xaa
	valid[28], valid[29] = 0xaa, 0x55 // the checksum
	valid[32], valid[64], valid[65], valid[66], valid[96] = bootable, lastHeader, 0xef, 1, bootable
	if list, err := parseCatalog(valid); err != nil || len(list) != 2 || list[1].Platform != UEFI {
		f.Fatalf("%+v %v", list, err)
	}
	f.Add(valid)
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseCatalog(b)
		if err == nil && len(list) > len(b)/catalogEntry {
			t.Fatalf("%d entries in %d bytes", len(list), len(b))
		}
	})
}

// A listing is bounded in files, in what they are called, and in what is read for it.
func TestWalkIsBounded(t *testing.T) {
	im := &Image{block: Sector, fileSize: 1 << 40, r: zero{}}
	for name, tt := range map[string]struct {
		each func(w *walker) error
		most int // times that go well
	}{
		"files": {func(w *walker) error { return w.count(&File{Path: "x"}) }, maxEntries},
		"paths": {func(w *walker) error {
			return w.count(&File{Path: strings.Repeat("x", 1<<12), Link: strings.Repeat("x", 1<<12)})
		}, maxNames >> 13},
		"directories": {func(w *walker) error {
			_, err := w.im.readBlocks(0, 0, 1<<20)
			return err
		}, maxTree >> 20},
		"pieces": {func(w *walker) error {
			_, err := w.im.readBlocks(0, 0, 1)
			return err
		}, maxTree / Sector},
	} {
		w := newWalker(im, node{}, nil)
		for n := range tt.most {
			if err := tt.each(w); err != nil {
				t.Fatalf("%s: %d: %v", name, n, err)
			}
		}
		if err := tt.each(w); !fault.Is(err, fault.ImageRefused) {
			t.Errorf("%s: one more than %d: %v", name, tt.most, err)
		}
	}
}

// zero is an image without an end.
type zero struct{}

func (zero) ReadAt(p []byte, _ int64) (int, error) { return len(p), nil }
