package file

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"elstore/test/need"
	"elstore/volume"
	"elstore/volume/fault"
)

// openDirectly opens a new raw volume of a shared pool in dir.
func openDirectly(t testing.TB, dir string, size int64) (*direct, string) {
	t.Helper()
	b := openPool(t, Config{Dir: dir, Shared: true})
	id, m := create(t, b, meta(volume.Raw, size), volume.Content{})
	var d volume.Device
	locked(t, b, id, func(h volume.Held) {
		var err error
		if d, err = h.Open(t.Context(), m, false); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { d.Close() })
	x, ok := d.(*direct)
	if !ok {
		t.Fatalf("a volume of a shared pool is opened as %T", d)
	}
	return x, filepath.Join(dir, volumeName(id), "data.img")
}

// places are directories on file systems that differ in what they ask of direct I/O.
func places(t *testing.T, do func(t *testing.T, dir string)) {
	t.Run("here", func(t *testing.T) { do(t, t.TempDir()) })
	t.Run("ext4", func(t *testing.T) { do(t, need.FS(t, "ext4")) })
}

// Whatever is asked of it, aligned or not, the image is what a slice would be.
func TestDirectIsASlice(t *testing.T) {
	t.Parallel()
	places(t, func(t *testing.T, dir string) {
		for _, size := range []int64{512, 4096, 5 * 512, 3*maxBounce + 4096, 2*maxBounce + 3*512} {
			for _, block := range []int64{0, 4096} { // as the file system says, and as of disks with large sectors
				t.Run(fmt.Sprintf("%d bytes, block %d", size, block), func(t *testing.T) {
					d, path := openDirectly(t, dir, size)
					if block > 0 {
						d.block, d.align, d.unit = max(d.block, block), max(d.align, uintptr(block)), max(d.unit, block)
					}
					testSlice(t, d, path, size)
				})
			}
		}
	})
}

func testSlice(t *testing.T, d *direct, path string, size int64) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	model := make([]byte, size)
	span := func() (off, length int64) {
		off, length = r.Int64N(size), 1+r.Int64N(size)
		switch r.IntN(4) {
		case 0:
			off, length = off&^511, length&^511
		case 1:
			off, length = off&^4095, length&^4095
		case 2:
			length = 1 + length%8192
		}
		return off, min(length, size-off)
	}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	noise := rand.NewChaCha8(key)
	fill := func(n int64) []byte {
		b := aligned(int(n)+64, safeAlign)[r.IntN(2)*r.IntN(64):][:n] // memory that is aligned and that isn't
		noise.Read(b)
		return b
	}
	for step := range 80 {
		off, length := span()
		var err error
		what := ""
		switch r.IntN(6) {
		case 0:
			what = "read"
			got := fill(length)
			if _, err = d.ReadAt(got, off); !bytes.Equal(got, model[off:off+length]) {
				t.Fatalf("seed %d, step %d: %d bytes at %d are not what was written", seed, step, length, off)
			}
		case 1, 2:
			what = "write"
			p := fill(length)
			copy(model[off:], p)
			_, err = d.WriteAt(p, off)
		case 3:
			what = "write pieces"
			p := fill(length)
			copy(model[off:], p)
			var pieces [][]byte
			for rest := p; len(rest) > 0; {
				n := min(len(rest), 1+r.IntN(1+len(p)/2))
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			_, err = d.WriteVectorAt(pieces, off)
		case 4:
			what = "zero"
			clear(model[off : off+length])
			err = d.WriteZeroes(off, length, r.IntN(2) == 0)
		case 5:
			what = "discard"
			if err = d.Discard(off, length); err == nil { // which reads as zeros or as before
				_, err = d.ReadAt(model[off:off+length], off)
			}
		}
		if err != nil {
			t.Fatalf("seed %d, step %d: %s of %d bytes at %d: %v", seed, step, what, length, off, err)
		}
	}
	if err := d.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	got, err := os.ReadFile(path) // through the page cache, as others read it
	if err != nil || !bytes.Equal(got, model) {
		t.Errorf("seed %d: the file has %d bytes, want %d: %v", seed, len(got), len(model), err)
	}
}

// Writes of different sectors of one block don't undo each other.
func TestDirectWritersBesideEachOther(t *testing.T) {
	const size = 16 * 4096
	d, path := openDirectly(t, t.TempDir(), size+512) // the last sector is behind the last block
	d.block, d.align, d.unit = max(d.block, 4096), 4096, max(d.unit, 4096)
	var writers sync.WaitGroup
	for sector := range int64(size/512 + 1) {
		writers.Go(func() {
			for round := range byte(20) {
				if _, err := d.WriteAt(bytes.Repeat([]byte{round + byte(sector)}, 512), sector*512); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	got, err := os.ReadFile(path)
	if err != nil || len(got) != size+512 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	for sector := range size/512 + 1 {
		if want := bytes.Repeat([]byte{19 + byte(sector)}, 512); !bytes.Equal(got[sector*512:][:512], want) {
			t.Errorf("sector %d has %d, want %d", sector, got[sector*512], want[0])
		}
	}
}

// Nothing stays in the page cache: neither of what was written nor of what was read.
func TestDirectLeavesThePageCacheAlone(t *testing.T) {
	const size = 4<<20 + 512
	d, path := openDirectly(t, need.FS(t, "ext4"), size)
	d.block, d.align, d.unit = max(d.block, 4096), 4096, max(d.unit, 4096) // so that the last sector is behind the last block
	if d.ReadNow(make([]byte, 512), 0) || d.WritesNow(512) || d.Splice(-1, 0, 512) > 0 {
		t.Error("it says that it need not wait for the storage")
	}
	p := make([]byte, size)
	for i := range p {
		p[i] = 7
	}
	if _, err := d.WriteAt(p[:size-5], 3); err != nil {
		t.Fatal(err)
	}
	if err := d.WriteZeroes(8192, 65536, true); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapped, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Munmap(mapped); err != nil {
			t.Error(err)
		}
	}()
	present, err := resident(mapped)
	if err != nil {
		t.Fatal(err)
	}
	if present > 0 {
		t.Errorf("%d pages of the image are in the page cache", present)
	}
}

func TestDirectNeedsAFileSystemThatCan(t *testing.T) {
	null, err := os.Open("/proc/self/status") // which can't
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := newDirect(newDevice(null, "volume x", true, 512), null); !fault.Is(err, fault.PoolUnavailable) || !strings.Contains(err.Error(), "O_DIRECT") {
		t.Errorf("%v", err)
	}
}

func TestDirectDeviceThatIsClosed(t *testing.T) {
	d, _ := openDirectly(t, t.TempDir(), 4096)
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	p := make([]byte, 512)
	if _, err := d.WriteVectorAt([][]byte{p, p}, 0); err == nil {
		t.Error("written after Close")
	}
	if _, err := d.ReadAt(p, 0); err == nil {
		t.Error("read after Close")
	}
	for name, err := range map[string]error{"discard": d.Discard(0, 512), "zero": d.WriteZeroes(0, 512, true), "flush": d.Flush(t.Context())} {
		if err == nil {
			t.Errorf("%s after Close", name)
		}
	}
}

// resident counts the pages of a mapping that are in the page cache; mincore(2).
func resident(mapped []byte) (n int, err error) {
	pages := make([]byte, (len(mapped)+os.Getpagesize()-1)/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(len(mapped)), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		return 0, errno
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n, nil
}
