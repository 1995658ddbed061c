package guest

import (
	"bytes"
	"strings"
	"testing"
)

func TestMasterBootRecord(t *testing.T) {
	code := bytes.Repeat([]byte{0x90}, 440)
	got, err := masterBootRecord(code, DiskSize)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		string(code), strings.Repeat("\x00", 6), // a serial number, and nothing
		"\x80\xfe\xff\xff" + "\x0e\xfe\xff\xff" + "\x00\x08\x00\x00" + "\x00\x00\x01\x00", // 2048, 65536
		"\x00\xfe\xff\xff" + "\x83\xfe\xff\xff" + "\x00\x08\x01\x00" + "\x00\xf8\x02\x00", // 67584, 194560
		strings.Repeat("\x00", 32), "\x55\xaa",
	}, "")
	if string(got) != want {
		t.Errorf("% x\nwant\n% x", got, want)
	}
	for _, size := range []int{0, 441, 512} {
		if _, err := masterBootRecord(make([]byte, size), DiskSize); err == nil {
			t.Errorf("%d bytes are code", size)
		}
	}
}

// TestBootDisk boots from a file.
func TestBootDisk(t *testing.T) {
	image := Disk(t)
	g := BootDisk(t, "disk", "-snapshot", "-drive", "if=none,id=disk,format=raw,file="+image, "-device", "virtio-blk-pci,drive=disk")
	if got := g.Run(t, "cat /proc/cmdline"); !strings.Contains(got, "BOOT_IMAGE=linux") {
		t.Errorf("the kernel was started with %q, not by the loader", got)
	}
	got := g.Run(t, "cat /sys/block/vda/"+DataDisk+"/start /sys/block/vda/"+DataDisk+"/size; echo data >/dev/"+DataDisk+"; head -n 1 /dev/"+DataDisk)
	if want := "67584\n194560\ndata"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
