package interop

import (
	"strings"
	"testing"

	"elstore/test/guest"
)

// TestQEMUBoots has machines whose only disk is an exported volume, attached by QEMU's own initiator with what the answer
// to /export says, letter by letter. Firmware, loader and kernel read it, the guest writes to it and verifies, and the
// server is killed meanwhile.
func TestQEMUBoots(t *testing.T) {
	needISCSI(t)
	image := guest.Disk(t)
	s := startStore(t)
	var writers []*fileWriter
	var volumes []string
	for _, format := range formats {
		id := s.create(t, format, guest.DiskSize)
		a := s.export(t, id, nil)
		object, disk := string(a.Object), string(a.Blockdev)
		must(t, "qemu-img", "convert", "--object", object, "-n", "-f", "raw", "-O", "raw", image, "json:"+disk)
		g := guest.BootDisk(t, format, "-object", object, "-blockdev", disk, "-device", "virtio-blk-pci,drive="+nodeName(t, a))
		writers, volumes = append(writers, &fileWriter{guest: g}), append(volumes, id)
	}
	for i, w := range writers {
		if got := w.guest.Run(t, "cat /proc/cmdline"); !strings.Contains(got, "BOOT_IMAGE=linux") {
			t.Errorf("the kernel was started with %q, not by a loader", got)
		}
		if got, want := s.counts(t, volumes[i]).ReadBytes, uint64(allocated(t, image)); got < want*9/10 {
			t.Errorf("%d bytes were read, and %d take the kernel and all that it starts with", got, want)
		}
		writers[i] = startWriter(t, w.guest, guest.DataDisk)
	}
	for _, w := range writers {
		w.more(t)
	}
	s.Kill()
	s.restart(t)
	for _, w := range writers {
		w.more(t)
		w.finish(t)
		quiet(t, w.guest)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("%v\n%s", err, s.Log())
	}
}
