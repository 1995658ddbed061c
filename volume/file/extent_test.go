package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"elstore/volume"
	"elstore/volume/fault"
)

func TestNextExtent(t *testing.T) {
	const unit = 64 << 10 // whole blocks everywhere
	path := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(8 * unit); err != nil {
		t.Fatal(err)
	}
	opened, err := OpenImage(f, "image", false)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	d := opened.(volume.ExtentReader)
	for _, off := range []int64{2 * unit, 3 * unit, 6 * unit} {
		if _, err := opened.WriteAt(make([]byte, unit), off); err != nil { // zeros are data too
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		off, length int64
		mapped      bool
	}{
		{0, 2 * unit, false},
		{unit + 512, unit - 512, false},
		{2 * unit, 2 * unit, true},
		{3*unit + 512, unit - 512, true},
		{4 * unit, 2 * unit, false},
		{6 * unit, unit, true},
		{7 * unit, unit, false},
		{8*unit - 512, 512, false},
	} {
		if length, mapped, err := d.NextExtent(t.Context(), tt.off); err != nil || length != tt.length || mapped != tt.mapped {
			t.Errorf("at %d: %d bytes, mapped %t, %v; want %d, %t", tt.off, length, mapped, err, tt.length, tt.mapped)
		}
	}
	if err := opened.Discard(2*unit, unit); err != nil {
		t.Fatal(err)
	}
	if length, mapped, err := d.NextExtent(t.Context(), 0); err != nil || length != 3*unit || mapped {
		t.Errorf("after a discard: %d bytes, mapped %t, %v", length, mapped, err)
	}
	for _, off := range []int64{-1, 8 * unit} {
		if _, _, err := d.NextExtent(t.Context(), off); !fault.Is(err, fault.BadRequest) {
			t.Errorf("at %d: %v", off, err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := d.NextExtent(gone, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("for who is gone: %v", err)
	}
}

// TestKnownData asks for the same storage again, after what changes it.
func TestKnownData(t *testing.T) {
	const unit = 64 << 10
	d := openDeviceIn(t, t.TempDir(), 4*unit)
	if _, err := d.WriteAt(make([]byte, 3*unit), unit); err != nil {
		t.Fatal(err)
	}
	want := func(off, length int64, mapped bool) {
		t.Helper()
		if n, m, err := d.NextExtent(t.Context(), off); err != nil || n != length || m != mapped {
			t.Errorf("at %d: %d bytes, mapped %t, %v; want %d, %t", off, n, m, err, length, mapped)
		}
	}
	for range 2 {
		want(unit, 3*unit, true)
		want(2*unit+512, 2*unit-512, true)
		want(0, unit, false)
	}
	if err := d.Discard(3*unit, unit); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		want(unit, 2*unit, true)
		want(3*unit, unit, false)
	}
	if err := d.WriteZeroes(2*unit, unit, true); err != nil {
		t.Fatal(err)
	}
	want(2*unit, 2*unit, false)
	want(unit, unit, true)
	if _, err := d.WriteAt(make([]byte, unit), 2*unit); err != nil {
		t.Fatal(err)
	}
	want(2*unit, unit, true)
}
