package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"elstore/volume/fault"
)

// newQCOW2 returns an empty qcow2 image of 1 GiB as QEMU makes it, header extensions aside, changed by change.
func newQCOW2(change func(b []byte)) []byte {
	const cluster = 64 << 10
	b := make([]byte, 4*cluster)
	be := binary.BigEndian
	be.PutUint32(b, qcow2Magic)
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], 16)
	be.PutUint64(b[24:], 1<<30)
	be.PutUint32(b[36:], 2)         // L1 entries
	be.PutUint64(b[40:], 3*cluster) // where they are
	be.PutUint64(b[48:], cluster)   // reference count table
	be.PutUint32(b[56:], 1)
	be.PutUint32(b[96:], 4)
	be.PutUint32(b[100:], 112)
	if change != nil {
		change(b)
	}
	return b
}

// extension writes a header extension at off and returns where the next one goes.
func extension(b []byte, off int, kind uint32, data string) int {
	binary.BigEndian.PutUint32(b[off:], kind)
	binary.BigEndian.PutUint32(b[off+4:], uint32(len(data)))
	copy(b[off+8:], data)
	return off + 8 + (len(data)+7)&^7
}

// backing writes a backing file's name at off.
func backing(b []byte, off uint64, name string) {
	binary.BigEndian.PutUint64(b[8:], off)
	binary.BigEndian.PutUint32(b[16:], uint32(len(name)))
	copy(b[off:], name)
}

func TestHeader(t *testing.T) {
	for name, tc := range map[string]struct {
		image []byte
		want  QCOW2Header // exported fields
	}{
		"empty": {newQCOW2(nil), QCOW2Header{Version: 3, VirtualSize: 1 << 30, ClusterBits: 16, RefcountOrder: 4}},
		"an overlay": {newQCOW2(func(b []byte) {
			off := extension(b, 112, extBackingFormat, "raw")
			off = extension(b, off, 0x6803f857, strings.Repeat("feature name", 32))
			off = extension(b, off, extEnd, "")
			backing(b, uint64(off), "../elemento-base/a.raw")
		}), QCOW2Header{Version: 3, VirtualSize: 1 << 30, ClusterBits: 16, RefcountOrder: 4, BackingFile: "../elemento-base/a.raw", BackingFormat: "raw"}},
		"its name ends the extensions": {newQCOW2(func(b []byte) {
			backing(b, uint64(extension(b, 112, extBackingFormat, "qcow2")), "b.qcow2")
		}), QCOW2Header{Version: 3, VirtualSize: 1 << 30, ClusterBits: 16, RefcountOrder: 4, BackingFile: "b.qcow2", BackingFormat: "qcow2"}},
		"its name far away": {newQCOW2(func(b []byte) {
			backing(b, 60<<10, "b.qcow2")
		}), QCOW2Header{Version: 3, VirtualSize: 1 << 30, ClusterBits: 16, RefcountOrder: 4, BackingFile: "b.qcow2"}},
		"version 2": {newQCOW2(func(b []byte) {
			binary.BigEndian.PutUint32(b[4:], 2)
			clear(b[72:])
			backing(b, uint64(extension(b, 72, extBackingFormat, "raw")), "b")
		}), QCOW2Header{Version: 2, VirtualSize: 1 << 30, ClusterBits: 16, RefcountOrder: 4, BackingFile: "b", BackingFormat: "raw"}},
		"zstd, dirty, bitmaps": {newQCOW2(func(b []byte) {
			b[79], b[87], b[95], b[104] = 1|8, 1, 1, 1
		}), QCOW2Header{Version: 3, VirtualSize: 1 << 30, ClusterBits: 16, RefcountOrder: 4, Incompatible: IncompatibleDirty | IncompatibleCompression, Compatible: 1, Autoclear: 1, Compression: 1}},
		"a data file": {newQCOW2(func(b []byte) {
			b[79] = 4
			extension(b, 112, extDataFile, "data.raw")
		}), QCOW2Header{Version: 3, VirtualSize: 1 << 30, ClusterBits: 16, RefcountOrder: 4, Incompatible: IncompatibleDataFile, DataFile: "data.raw"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Header(bytes.NewReader(tc.image))
			if err != nil {
				t.Fatal(err)
			}
			got.length, got.hasBacking, got.l1Size, got.l1Offset, got.refcountOffset, got.refcountTables = 0, false, 0, 0, 0, 0
			if got != tc.want {
				t.Fatalf("header is\n%+v, want\n%+v", got, tc.want)
			}
		})
	}
}

func TestHeaderDamaged(t *testing.T) {
	for name, tc := range map[string]struct {
		image []byte
		want  string
	}{
		"empty":          {nil, "cut off"},
		"short":          {newQCOW2(nil)[:71], "cut off"},
		"short, 3":       {newQCOW2(nil)[:103], "cut off"},
		"short, type":    {newQCOW2(nil)[:104], "cut off"},
		"another format": {make([]byte, 4096), "does not begin"},
		"qcow":           {newQCOW2(func(b []byte) { b[7] = 1 }), "version"},
		"version 4":      {newQCOW2(func(b []byte) { b[7] = 4 }), "version"},
		"tiny clusters":  {newQCOW2(func(b []byte) { b[23] = 8 }), "clusters have"},
		"huge clusters":  {newQCOW2(func(b []byte) { b[23] = 22 }), "clusters have"},
		"too large":      {newQCOW2(func(b []byte) { b[24] = 0x80 }), "virtual size"},
		"short header":   {newQCOW2(func(b []byte) { b[103] = 96 }), "header is said"},
		"odd header":     {newQCOW2(func(b []byte) { b[103] = 109 }), "header is said"},
		"long header":    {newQCOW2(func(b []byte) { b[101] = 2 }), "header is said"},
		"wide counts":    {newQCOW2(func(b []byte) { b[99] = 7 }), "reference counts"},
		"zstd unnamed":   {newQCOW2(func(b []byte) { b[104] = 1 }), "contradicts"},
		"named, no zstd": {newQCOW2(func(b []byte) { b[79] = 8 }), "contradicts"},
		"a long backing": {newQCOW2(func(b []byte) { backing(b, 1024, strings.Repeat("b", 1024)) }), "first cluster"},
		"backing past the cluster": {newQCOW2(func(b []byte) {
			backing(b, 64<<10-1, "bb")
		}), "first cluster"},
		"backing in the header": {newQCOW2(func(b []byte) {
			binary.BigEndian.PutUint64(b[8:], 8)
			binary.BigEndian.PutUint32(b[16:], 8)
		}), "first cluster"},
		"a backing cut off":   {newQCOW2(func(b []byte) { backing(b, 8000, "b") })[:8000], "cut off"},
		"a long extension":    {newQCOW2(func(b []byte) { extension(b, 112, 1, ""); b[117] = 1 }), "longer than its place"},
		"a long name":         {newQCOW2(func(b []byte) { extension(b, 112, extDataFile, strings.Repeat("d", 1024)) }), "too long"},
		"a name cut off":      {newQCOW2(func(b []byte) { extension(b, 112, extDataFile, strings.Repeat("d", 1000)) })[:1000], "cut off"},
		"endless extensions":  {newQCOW2(func(b []byte) { b[23] = 17; extension(b, 112, 1, strings.Repeat("x", 64<<10)) }), "header extensions take"},
		"extensions, cut off": {newQCOW2(func(b []byte) { extension(b, 112, 1, strings.Repeat("x", 4000)) })[:4096], "cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Header(bytes.NewReader(tc.image))
			wantCode(t, err, fault.VolumeDamaged)
			if !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error is %q, want %q", err, tc.want)
			}
			// From outside it is refused for the same.
			_, err = Inspect(bytes.NewReader(tc.image), int64(len(tc.image)), InspectOptions{Format: QCOW2})
			wantCode(t, err, fault.ImageRefused)
		})
	}
}

// counted counts the reads, and fails them with err.
type counted struct {
	r     io.ReaderAt
	err   error
	reads int
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	if c.err != nil {
		return 0, c.err
	}
	return c.r.ReadAt(p, off)
}

// A start reads 100,000 headers.
func TestHeaderIsOneRead(t *testing.T) {
	f, err := os.Open(image(t, QCOW2, 1<<30, "-u", "-b", "../elemento-base/"+strings.Repeat("a", 64)+".qcow2", "-F", "qcow2"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := counted{r: f}
	h, err := Header(&c)
	if err != nil || h.BackingFormat != "qcow2" || len(h.BackingFile) < 64 {
		t.Fatalf("header is %+v, %v", h, err)
	}
	if c.reads != 1 {
		t.Fatalf("it took %d reads", c.reads)
	}
}

func TestReadErrors(t *testing.T) {
	failing := &counted{err: &os.PathError{Op: "read", Path: "/mnt/secret", Err: syscall.EIO}}
	_, err := Header(failing)
	wantCode(t, err, fault.PoolUnavailable)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("%q names the path", err)
	}
	_, err = Inspect(failing, 1<<20, InspectOptions{})
	wantCode(t, err, fault.PoolUnavailable)

	// A file that is shorter than it was said is cut off; one that gives nothing and no reason is not its fault.
	_, err = Inspect(bytes.NewReader(make([]byte, 100)), 1<<20, InspectOptions{})
	wantCode(t, err, fault.ImageRefused)
	_, err = newSource(silent{}, 100).at(0, 10, "it")
	if !errors.Is(err, io.ErrNoProgress) {
		t.Fatalf("a silent reader: %v", err)
	}
}

// silent breaks the contract of io.ReaderAt.
type silent struct{}

func (silent) ReadAt([]byte, int64) (int, error) { return 0, nil }

func TestSource(t *testing.T) {
	s := newSource(bytes.NewReader(make([]byte, 5000)), 5000)
	for name, tc := range map[string]struct {
		off, n int64
		ok     bool
	}{
		"the beginning":  {0, 10, true},
		"read before":    {4000, 96, true},
		"partly before":  {4000, 1000, true},
		"nothing":        {5000, 0, true},
		"past the end":   {4999, 2, false},
		"far past it":    {1 << 62, 1 << 19, false},
		"before":         {-1, 1, false},
		"less than none": {0, -1, false},
		"too much":       {0, maxPiece + 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := s.at(tc.off, tc.n, "it")
			if (err == nil) != tc.ok || tc.ok && int64(len(b)) != tc.n {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
		})
	}
	for name, tc := range map[string]struct {
		off, count, entry uint64
		ok                bool
	}{
		"all of it":       {512, 4488, 1, true},
		"none":            {512, 0, 8, true},
		"in the header":   {511, 1, 1, false},
		"past the end":    {512, 4489, 1, false},
		"offset too high": {1 << 63, 1, 1, false},
		"overflow":        {512, 1 << 62, 8, false},
		"just overflow":   {512, 1 << 61, 8, false},
	} {
		t.Run("inside, "+name, func(t *testing.T) {
			if err := s.inside("it", tc.off, tc.count, tc.entry, 512); (err == nil) != tc.ok {
				t.Fatalf("error is %v", err)
			}
		})
	}
}
