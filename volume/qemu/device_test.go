package qemu

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"elstore/test/need"
	"elstore/volume/fault"
)

// realOpener returns an Opener that runs the real qemu-storage-daemon.
func realOpener(t testing.TB, c OpenerConfig) *Opener {
	t.Helper()
	need.Program(t, "qemu-storage-daemon", "qemu-img")
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	o, err := NewOpener(c)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// openDevice opens a Device that is closed when the test ends, if it was not before.
func openDevice(t testing.TB, o *Opener, options OpenOptions, inherit ...*os.File) *Device {
	t.Helper()
	options.Name = "test"
	d, err := o.Open(t.Context(), options, inherit...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// newDevice opens a new qcow2 image of size bytes.
func newDevice(t testing.TB, size int64) (d *Device, path string) {
	t.Helper()
	path = image(t, QCOW2, size)
	return openDevice(t, realOpener(t, OpenerConfig{}), OpenOptions{Image: Image{Path: path, Format: QCOW2}}), path
}

// closeDevice closes a Device before it is looked at what it left.
func closeDevice(t testing.TB, d *Device) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// wantImage fails the test unless the qcow2 image, which is not open, is sound and holds data.
func wantImage(t testing.TB, path string, data []byte) {
	t.Helper()
	wantSound(t, path)
	qemuImg(t, "compare", "-f", "raw", "-F", "qcow2", writeFile(t, "want.raw", data), path)
}

// wantSound fails the test if the image is corrupt. Clusters that nothing refers to are no harm: a daemon that was killed
// leaves some.
func wantSound(t testing.TB, path string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "qemu-img", "check", "-f", "qcow2", path).CombinedOutput()
	const leaks = 3
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != leaks) {
		t.Fatalf("qemu-img check: %v: %s", err, out)
	}
}

// wantRead fails the test unless the Device holds data at off.
func wantRead(t testing.TB, d *Device, off int64, data []byte) {
	t.Helper()
	got := make([]byte, len(data))
	if n, err := d.ReadAt(got, off); err != nil || n != len(got) {
		t.Fatalf("read %d bytes at %d: %d, %v", len(got), off, n, err)
	}
	if !bytes.Equal(got, data) {
		t.Fatalf("the %d bytes at %d are not what they should be", len(data), off)
	}
}

func mustWrite(t testing.TB, d *Device, off int64, data []byte) {
	t.Helper()
	if n, err := d.WriteAt(data, off); err != nil || n != len(data) {
		t.Fatalf("write %d bytes at %d: %d, %v", len(data), off, n, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDevice(t *testing.T) {
	const size = 64 << 20
	for name, tc := range map[string]struct {
		format Format
		direct bool
	}{
		"qcow2":        {QCOW2, false},
		"qcow2 direct": {QCOW2, true},
		"raw":          {Raw, false},
		"raw direct":   {Raw, true},
		"vmdk":         {VMDK, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := image(t, tc.format, size)
			d := openDevice(t, realOpener(t, OpenerConfig{}), OpenOptions{Image: Image{Path: path, Format: tc.format}, Direct: tc.direct})
			if d.Size() != size {
				t.Fatalf("size %d", d.Size())
			}
			want := make([]byte, size)
			data := pattern(20 << 20) // more than one request takes
			put := func(off int64, b []byte) { copy(want[off:], b) }

			mustWrite(t, d, 4096, data[:4096])
			put(4096, data[:4096])
			mustWrite(t, d, size-1, []byte{1}) // the last byte, and odd ones
			put(size-1, []byte{1})
			mustWrite(t, d, 12345, data[:777])
			put(12345, data[:777])
			mustWrite(t, d, 1<<20, data)
			put(1<<20, data)
			if n, err := d.WriteVectorAt([][]byte{data[:512], {}, data[512:513], data[513:4096]}, 30<<20); err != nil || n != 4096 {
				t.Fatalf("vector: %d, %v", n, err)
			}
			put(30<<20, data[:4096])
			if n, err := d.WriteVectorAt([][]byte{data[:17<<20], data[17<<20:]}, 40<<20); err != nil || n != len(data) {
				t.Fatalf("long vector: %d, %v", n, err)
			}
			put(40<<20, data)
			wantRead(t, d, 0, want)
			must(t, d.WriteZeroes(1<<20+100, 1<<20, false))
			clear(want[1<<20+100 : 2<<20+100])
			must(t, d.WriteZeroes(3<<20, 1<<20, true))
			clear(want[3<<20 : 4<<20])
			must(t, d.Flush(t.Context()))
			wantRead(t, d, 0, want)
			must(t, d.Discard(5<<20, 1<<20)) // it reads as before or as zeros
			got := make([]byte, 1<<20)
			if _, err := d.ReadAt(got, 5<<20); err != nil {
				t.Fatal(err)
			}
			if !zeros(got) && !bytes.Equal(got, want[5<<20:6<<20]) {
				t.Fatal("what was discarded is neither zeros nor as before")
			}
			put(5<<20, got)
			closeDevice(t, d)
			qemuImg(t, "compare", "-f", "raw", "-F", string(tc.format), writeFile(t, "want.raw", want), path)
		})
	}
}

func TestDeviceRefuses(t *testing.T) {
	d, path := newDevice(t, 1<<20)
	p := make([]byte, 1024)
	for name, err := range map[string]error{
		"read past the end":    second(d.ReadAt(p, 1<<20-512)),
		"read before":          second(d.ReadAt(p, -512)),
		"read far":             second(d.ReadAt(p, 1<<63-1)),
		"write past the end":   second(d.WriteAt(p, 1<<20-512)),
		"write before":         second(d.WriteAt(p, -1)),
		"vector past the end":  second(d.WriteVectorAt([][]byte{p[:512], p[512:]}, 1<<20-512)),
		"discard past the end": d.Discard(1<<20-512, 1024),
		"discard backwards":    d.Discard(512, -512),
		"zero past the end":    d.WriteZeroes(0, 1<<63-1, true),
		"extents past the end": second(d.Extents(t.Context(), 512, 1<<20)),
	} {
		if !fault.Is(err, fault.BadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := d.NextExtent(t.Context(), 1<<20+1); !fault.Is(err, fault.BadRequest) {
		t.Errorf("extent past the end: %v", err)
	}
	for name, err := range map[string]error{ // nothing is nothing
		"read": second(d.ReadAt(nil, 1<<20)), "write": second(d.WriteAt(nil, 0)), "vector": second(d.WriteVectorAt(nil, 0)),
		"discard": d.Discard(0, 0), "zero": d.WriteZeroes(1<<20, 0, false), "flush": d.Flush(t.Context()),
	} {
		if err != nil {
			t.Errorf("%s of nothing: %v", name, err)
		}
	}
	mustWrite(t, d, 0, p)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("flush with a context that ended: %v", err)
	}
	if _, _, err := d.NextExtent(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("extents with a context that ended: %v", err)
	}
	closeDevice(t, d)
	for name, err := range map[string]error{
		"read": second(d.ReadAt(p, 0)), "write": second(d.WriteAt(p, 0)), "flush": d.Flush(t.Context()), "discard": d.Discard(0, 512),
		"resize": d.Resize(t.Context(), 2<<20), "grow": d.Grow(1 << 20),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	wantImage(t, path, make([]byte, 1<<20))
}

func second[T any](_ T, err error) error { return err }

func TestDeviceReadOnly(t *testing.T) {
	data := pattern(1 << 20)
	path := filled(t, QCOW2, data)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	d := openDevice(t, realOpener(t, OpenerConfig{}), OpenOptions{Image: Image{Path: path, Format: QCOW2}, ReadOnly: true})
	wantRead(t, d, 0, data)
	for name, err := range map[string]error{
		"write": second(d.WriteAt(data[:512], 0)), "vector": second(d.WriteVectorAt([][]byte{data[:512]}, 0)),
		"discard": d.Discard(0, 512), "zero": d.WriteZeroes(0, 512, false), "resize": d.Resize(t.Context(), 2<<20),
	} {
		if !fault.Is(err, fault.VolumeReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, d.Flush(t.Context()))
	closeDevice(t, d)
	wantImage(t, path, data)
}

// Two overlays of one base are open at the same time. What their own headers say of the base does not count.
func TestDeviceOverlay(t *testing.T) {
	data := pattern(4 << 20)
	base := filled(t, QCOW2, data)
	o := realOpener(t, OpenerConfig{})
	for range 2 {
		path := filepath.Join(t.TempDir(), "overlay.qcow2")
		qemuImg(t, "create", "-q", "-f", "qcow2", "-u", "-b", "/nonexistent/base", "-F", "raw", path, "4M")
		d := openDevice(t, o, OpenOptions{Image: Image{Path: path, Format: QCOW2}, Base: &Image{Path: base, Format: QCOW2}})
		wantRead(t, d, 0, data)
		mine := bytes.Clone(data)
		copy(mine[100000:], "changed")
		mustWrite(t, d, 100000, []byte("changed"))
		wantRead(t, d, 0, mine)
		if length, mapped, err := d.NextExtent(t.Context(), 1<<20); err != nil || !mapped || length < 512 {
			t.Errorf("what is in the base: %d bytes, mapped %t, %v", length, mapped, err)
		}
	}
	// One that stands alone does not get a base by its header's word.
	path := filepath.Join(t.TempDir(), "overlay.qcow2")
	qemuImg(t, "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", path, "4M")
	d := openDevice(t, o, OpenOptions{Image: Image{Path: path, Format: QCOW2}})
	wantRead(t, d, 0, make([]byte, 4<<20))
}

func TestDeviceExtents(t *testing.T) {
	d, _ := newDevice(t, 16<<20)
	mustWrite(t, d, 1<<20, bytes.Repeat([]byte{1}, 1<<20))
	mustWrite(t, d, 4<<20, bytes.Repeat([]byte{1}, 1<<20))
	must(t, d.WriteZeroes(4<<20, 1<<20, false))
	var got []Extent
	for off := int64(0); off < d.Size(); {
		extents, err := d.Extents(t.Context(), off, d.Size()-off)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range extents {
			off += e.Length
			if n := len(got); n > 0 && got[n-1].Hole == e.Hole && got[n-1].Zero == e.Zero {
				got[n-1].Length += e.Length
				continue
			}
			got = append(got, e)
		}
	}
	// QEMU says of clusters that are zeros but have storage that they are holes.
	want := []Extent{{1 << 20, true, true}, {1 << 20, false, false}, {14 << 20, true, true}}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	for off, want := range map[int64]struct {
		length int64
		mapped bool
	}{0: {1 << 20, false}, 1<<20 + 512: {1<<20 - 512, true}, 2 << 20: {14 << 20, false}} {
		if length, mapped, err := d.NextExtent(t.Context(), off); err != nil || length != want.length || mapped != want.mapped {
			t.Errorf("at %d: %d bytes, mapped %t, %v; want %v", off, length, mapped, err, want)
		}
	}
	if length, mapped, err := d.NextExtent(t.Context(), 16<<20); err != nil || length != 0 || mapped {
		t.Errorf("at the end: %d, %t, %v", length, mapped, err)
	}
}

// Unmapped storage is given back to the file system.
func TestDeviceGivesBack(t *testing.T) {
	for name, give := range map[string]func(d *Device) error{
		"discard":     func(d *Device) error { return d.Discard(0, 16<<20) },
		"zero, unmap": func(d *Device) error { return d.WriteZeroes(0, 16<<20, true) },
	} {
		t.Run(name, func(t *testing.T) {
			d, path := newDevice(t, 16<<20)
			mustWrite(t, d, 0, bytes.Repeat([]byte{1}, 16<<20))
			must(t, d.Flush(t.Context()))
			blocks := func() int64 {
				var st syscall.Stat_t
				if err := syscall.Stat(path, &st); err != nil {
					t.Fatal(err)
				}
				return st.Blocks * 512
			}
			before := blocks()
			must(t, give(d))
			must(t, d.Flush(t.Context()))
			if after := blocks(); before < 16<<20 || after > 1<<20 {
				t.Errorf("%d bytes before, %d after", before, after)
			}
		})
	}
}

// A read or write takes no memory that is not used again, after a flush, and what goes over NBD little.
func TestDeviceAllocates(t *testing.T) {
	d, _ := newDevice(t, 16<<20)
	p := make([]byte, 4096)
	n := 0
	flush := func(err error) error {
		if n++; n%64 == 0 {
			err = errors.Join(err, d.Flush(t.Context()))
		}
		return err
	}
	for name, tc := range map[string]struct {
		do   func() error
		most float64
	}{
		"read":  {func() error { return second(d.ReadAt(p, 4096)) }, 0},
		"write": {func() error { return flush(second(d.WriteAt(p, 4096))) }, 1},
		"zero":  {func() error { return flush(d.WriteZeroes(8192, 4096, true)) }, 10},
	} {
		if n := testing.AllocsPerRun(1000, func() { must(t, tc.do()) }); n > tc.most+dropped {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
