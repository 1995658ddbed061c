package qemu

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/volume/fault"
)

func TestNew(t *testing.T) {
	for name, tc := range map[string]struct {
		config Config
		want   string // in the error, or "" for none
	}{
		"zero":            {Config{}, ""},
		"nicest":          {Config{Nice: 19}, ""},
		"too nice":        {Config{Nice: 20}, "0 to 19"},
		"greedy":          {Config{Nice: -1}, "0 to 19"},
		"readable":        {Config{Mode: 0o640}, ""},
		"not by us":       {Config{Mode: 0o440}, "owner"},
		"more than rwx":   {Config{Mode: 0o600 | fs.ModeSetuid}, "permissions"},
		"a missing path":  {Config{Path: "/nowhere/qemu-img"}, ""}, // found out when it is needed
		"a relative path": {Config{Path: "no-such-program"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(tc.config)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error is %v, want %q", err, tc.want)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "qemu-img")
	tool := newTool(t, Config{Path: path})
	img := Image{Path: filepath.Join(dir, "a.qcow2"), Format: QCOW2}

	wantCode(t, tool.Available(), fault.ImageToolMissing)
	_, err := tool.Info(t.Context(), img)
	wantCode(t, err, fault.ImageToolMissing)
	if !strings.Contains(err.Error(), "qemu-utils") {
		t.Fatalf("%q does not say what to install", err)
	}
	wantCode(t, tool.Create(t.Context(), CreateOptions{Image: img, Size: 512}), fault.ImageToolMissing)
	wantNothing(t, img.Path)
	wantCode(t, tool.Convert(t.Context(), Image{Path: img.Path, Format: Raw}, img, ConvertOptions{}), fault.ImageToolMissing)
	wantNothing(t, img.Path)

	// It is installed while the server runs.
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '{\"virtual-size\": 4096}'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	info, err := tool.Info(t.Context(), img)
	if err != nil || info.VirtualSize != 4096 {
		t.Fatalf("Info is %+v, %v", info, err)
	}
	// And removed again.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = tool.Info(t.Context(), img)
	wantCode(t, err, fault.ImageToolMissing)
	wantCode(t, tool.Available(), fault.ImageToolMissing)
}

func TestNotAProgram(t *testing.T) {
	tool := newTool(t, Config{Path: program(t, "")})
	if err := os.WriteFile(tool.config.Path, []byte("#!/no/such/shell\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := tool.Info(t.Context(), Image{Path: "/a", Format: Raw})
	wantCode(t, err, fault.ImageToolMissing)

	if err := os.WriteFile(tool.config.Path, []byte{0x7f}, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = tool.Info(t.Context(), Image{Path: "/a", Format: Raw})
	wantCode(t, err, fault.ImageToolFailed)
}

func TestParseFormat(t *testing.T) {
	for in, want := range map[string]Format{
		"raw": Raw, "qcow2": QCOW2, "QCOW2": QCOW2, "vmdk": VMDK, "vdi": VDI, "vhd": VPC, "vpc": VPC, "VHDX": VHDX,
		"": "", "iso": "", "luks": "", "qcow": "", "raw ": "",
	} {
		got, err := ParseFormat(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParseFormat(%q) is %q, %v, want %q", in, got, err, want)
		}
		if want == "" {
			wantCode(t, err, fault.UnsupportedFormat)
		}
	}
}

func TestImageCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		image      Image
		path, file bool // whether check and checkFile pass
	}{
		"a file":             {Image{Path: "/mnt/a.raw", Format: Raw}, true, true},
		"relative":           {Image{Path: "a.raw", Format: Raw}, false, false},
		"an option":          {Image{Path: "--help", Format: Raw}, false, false},
		"another protocol":   {Image{Path: "nbd:127.0.0.1:10809", Format: Raw}, false, false},
		"json":               {Image{Path: `json:{"driver":"raw"}`, Format: Raw}, false, false},
		"empty":              {Image{Path: "", Format: Raw}, false, false},
		"a NUL":              {Image{Path: "/mnt/a\x00b", Format: Raw}, false, false},
		"rbd":                {Image{Path: "rbd:pool/image", Format: Raw}, true, false},
		"no format":          {Image{Path: "/mnt/a.raw", Format: ""}, false, false},
		"a format of others": {Image{Path: "/mnt/a.raw", Format: LUKS}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.image.check(); (err == nil) != tc.path {
				t.Errorf("check is %v", err)
			}
			if err := tc.image.checkFile(); (err == nil) != tc.file {
				t.Errorf("checkFile is %v", err)
			}
		})
	}
}

func TestPreallocationCheck(t *testing.T) {
	all := []Preallocation{"", PreallocOff, PreallocMetadata, PreallocFalloc, PreallocFull, "some"}
	for f, allowed := range map[Format][]bool{
		Raw:   {true, true, false, true, true, false},
		QCOW2: {true, true, true, true, true, false},
		VMDK:  {true, true, false, false, false, false},
	} {
		for i, p := range all {
			err := p.check(f)
			if (err == nil) != allowed[i] {
				t.Errorf("%s for %s: %v", p, f, err)
			}
			if !allowed[i] {
				wantCode(t, err, fault.BadRequest)
			}
		}
	}
}
