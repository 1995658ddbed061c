package qemu

import (
	"os"
	"strings"
	"testing"

	"elstore/volume/fault"
)

func TestInfo(t *testing.T) {
	tool := realTool(t)
	data := image(t, QCOW2, 1<<20, "-o", "data_file="+t.TempDir()+"/data.raw")
	snapshots := image(t, QCOW2, 1<<20)
	qemuImg(t, "snapshot", "-c", "one", snapshots)
	qemuImg(t, "snapshot", "-c", "two", snapshots)
	dirty := image(t, QCOW2, 1<<20)
	patch(t, dirty, 79, 1)
	corrupt := image(t, QCOW2, 1<<20)
	patch(t, corrupt, 79, 2)
	for name, tc := range map[string]struct {
		image Image
		want  Info // ActualSize aside
	}{
		"raw":       {Image{Path: image(t, Raw, 1<<20), Format: Raw}, Info{Format: Raw, VirtualSize: 1 << 20}},
		"qcow2":     {Image{Path: image(t, QCOW2, 1<<20), Format: QCOW2}, Info{Format: QCOW2, VirtualSize: 1 << 20, ClusterSize: 64 << 10}},
		"snapshots": {Image{Path: snapshots, Format: QCOW2}, Info{Format: QCOW2, VirtualSize: 1 << 20, ClusterSize: 64 << 10, Snapshots: 2}},
		"dirty":     {Image{Path: dirty, Format: QCOW2}, Info{Format: QCOW2, VirtualSize: 1 << 20, ClusterSize: 64 << 10, Dirty: true}},
		"corrupt":   {Image{Path: corrupt, Format: QCOW2}, Info{Format: QCOW2, VirtualSize: 1 << 20, ClusterSize: 64 << 10, Corrupt: true}},
		"data file": {Image{Path: data, Format: QCOW2}, Info{Format: QCOW2, VirtualSize: 1 << 20, ClusterSize: 64 << 10, DataFile: "data.raw"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tool.Info(t.Context(), tc.image)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(got.DataFile, "/data.raw") {
				got.DataFile = "data.raw"
			}
			got.ActualSize = 0
			if got != tc.want {
				t.Fatalf("Info is %+v, want %+v", got, tc.want)
			}
		})
	}
	_, err := tool.Info(t.Context(), Image{Path: "a", Format: Raw})
	wantCode(t, err, fault.ImageToolFailed)
}

// patch overwrites bytes of a file.
func patch(t testing.TB, path string, off int64, value ...byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(value, off); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	tool := realTool(t)
	whole := Image{Path: filled(t, QCOW2, pattern(4<<20)), Format: QCOW2}
	got, err := tool.Check(t.Context(), whole, false)
	if err != nil || !got.OK() || got.Leaks != 0 || got.EndOffset <= 0 || got.Unchecked {
		t.Fatalf("Check of a whole image is %+v, %v", got, err)
	}
	if got, err = tool.Check(t.Context(), Image{Path: image(t, Raw, 1<<20), Format: Raw}, true); err != nil || !got.OK() || !got.Unchecked {
		t.Fatalf("Check of a raw image is %+v, %v", got, err)
	}

	// The references to the data are lost, the clusters' counts stay: they leak.
	leaks := Image{Path: filled(t, QCOW2, pattern(4<<20)), Format: QCOW2}
	f, err := os.Open(leaks.Path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := Header(f)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	patch(t, leaks.Path, int64(h.l1Offset), make([]byte, 8)...)
	if got, err = tool.Check(t.Context(), leaks, false); err != nil || !got.OK() || got.Leaks == 0 || got.LeaksFixed != 0 {
		t.Fatalf("Check of a leaking image is %+v, %v", got, err)
	}
	lost := got.Leaks
	if got, err = tool.Check(t.Context(), leaks, true); err != nil || got.LeaksFixed != lost || got.Leaks != 0 {
		t.Fatalf("repairing %d leaks is %+v, %v", lost, got, err)
	}
	if got, err = tool.Check(t.Context(), leaks, true); err != nil || got.LeaksFixed != 0 || got.Leaks != 0 {
		t.Fatalf("Check of a repaired image is %+v, %v", got, err)
	}

	// The counts are lost, the references stay: that is corruption.
	corrupt := Image{Path: filled(t, QCOW2, pattern(4<<20)), Format: QCOW2}
	patch(t, corrupt.Path, int64(h.refcountOffset), make([]byte, 8)...)
	if got, err = tool.Check(t.Context(), corrupt, true); err != nil || got.OK() || got.Corruptions == 0 {
		t.Fatalf("Check of a corrupt image is %+v, %v", got, err)
	}

	for _, img := range []Image{{Path: "a", Format: Raw}, {Path: "/no/such/image", Format: QCOW2}, {Path: writeFile(t, "a", []byte("x")), Format: QCOW2}} {
		_, err = tool.Check(t.Context(), img, false)
		wantCode(t, err, fault.ImageToolFailed)
	}
}

func TestCompare(t *testing.T) {
	tool := realTool(t)
	data := pattern(2 << 20)
	other := append([]byte(nil), data...)
	other[len(other)-1]++
	a := Image{Path: filled(t, QCOW2, data), Format: QCOW2}
	for name, tc := range map[string]struct {
		b    Image
		same bool
	}{
		"itself":            {a, true},
		"another format":    {Image{Path: filled(t, VDI, data), Format: VDI}, true},
		"without holes":     {Image{Path: filled(t, Raw, data, "-S", "0"), Format: Raw}, true},
		"another byte":      {Image{Path: filled(t, Raw, other), Format: Raw}, false},
		"longer by zeros":   {Image{Path: filled(t, Raw, append(data, make([]byte, 1<<20)...)), Format: Raw}, false},
		"shorter by a data": {Image{Path: filled(t, Raw, data[:1<<20]), Format: Raw}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if same, err := tool.Compare(t.Context(), a, tc.b); err != nil || same != tc.same {
				t.Fatalf("the same: %v, %v, want %v", same, err, tc.same)
			}
		})
	}
	for _, b := range []Image{{Path: "a", Format: Raw}, {Path: "/no/such/image", Format: Raw}} {
		_, err := tool.Compare(t.Context(), a, b)
		wantCode(t, err, fault.ImageToolFailed)
	}
}

func TestMeasure(t *testing.T) {
	tool := realTool(t)
	src := Image{Path: filled(t, QCOW2, pattern(8<<20)), Format: QCOW2}
	for _, to := range []Format{Raw, QCOW2} {
		m, err := tool.Measure(t.Context(), src, to)
		if err != nil {
			t.Fatal(err)
		}
		if m.Required <= 0 || m.Required > m.FullyAllocated || m.FullyAllocated < 8<<20 || to == QCOW2 && m.Required >= 8<<20 {
			t.Errorf("a copy in %s takes %+v", to, m)
		}
	}
	_, err := tool.Measure(t.Context(), src, VMDK)
	wantCode(t, err, fault.UnsupportedFormat)
	_, err = tool.Measure(t.Context(), Image{Path: "a", Format: Raw}, Raw)
	wantCode(t, err, fault.ImageToolFailed)
	_, err = tool.Measure(t.Context(), Image{Path: "/no/such/image", Format: Raw}, Raw)
	wantCode(t, err, fault.ImageToolFailed)
}

func TestAnswers(t *testing.T) {
	for name, parse := range map[string]func([]byte) error{
		"info":    func(b []byte) error { _, err := parseInfo(b); return err },
		"check":   func(b []byte) error { _, err := parseCheck(b); return err },
		"measure": func(b []byte) error { _, err := parseMeasure(b); return err },
	} {
		for _, bad := range []string{"", "[]", "{", `{"virtual-size": "x", "leaks": "x", "required": "x"}`} {
			if err := parse([]byte(bad)); !fault.Is(err, fault.ImageToolFailed) {
				t.Errorf("%s of %q: %v", name, bad, err)
			}
		}
	}
	_, err := parseCheck([]byte(`{"leaks": -1}`))
	wantCode(t, err, fault.ImageToolFailed)
	for _, bad := range []string{`{}`, `{"required": 1}`, `{"required": -1, "fully-allocated": 1}`} {
		_, err := parseMeasure([]byte(bad))
		wantCode(t, err, fault.ImageToolFailed)
	}
}
