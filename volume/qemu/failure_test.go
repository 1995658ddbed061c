package qemu

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"elstore/volume/fault"
)

// What qemu-img 7.2 wrote when it failed so.
func TestFailure(t *testing.T) {
	ended := exec.CommandContext(t.Context(), "false")
	waited := ended.Run()
	images := []Image{{Path: "/mnt/my pool/vid.1.elimg/data.qcow2", Format: QCOW2}}
	for name, tc := range map[string]struct {
		stderr string
		code   fault.Code
		msg    string
	}{
		"full while writing": {
			"qemu-img: error while writing at byte 16777216: No space left on device\n",
			fault.PoolFull, "qemu-img convert failed: error while writing at byte 16777216: No space left on device",
		},
		"full while creating": {
			"qemu-img: /mnt/y/a.qcow2: Could not resize image: Failed to resize underlying file: Could not preallocate new data: No space left on device\n",
			fault.PoolFull, "qemu-img convert failed: a.qcow2: Could not resize image: Failed to resize underlying file: Could not preallocate new data: No space left on device",
		},
		"over quota":       {"qemu-img: error while writing at byte 0: Disk quota exceeded\n", fault.PoolFull, "qemu-img convert failed: error while writing at byte 0: Disk quota exceeded"},
		"read-only":        {"qemu-img: a: Could not open 'a': Read-only file system\n", fault.PoolUnavailable, "qemu-img convert failed: a: Could not open 'a': Read-only file system"},
		"a failing disk":   {"qemu-img: error while reading at byte 0: Input/output error\n", fault.ImageToolFailed, "qemu-img convert failed: error while reading at byte 0: Input/output error"},
		"open for writing": {"qemu-img: Could not open '/mnt/my pool/vid.1.elimg/data.qcow2': Failed to get \"write\" lock\nIs another process using the image [/mnt/my pool/vid.1.elimg/data.qcow2]?\n", fault.VolumeInUse, "qemu-img convert failed: Could not open 'data.qcow2': Failed to get \"write\" lock"},
		"open elsewhere":   {"qemu-img: Could not open 'a': Failed to get shared \"write\" lock\nIs another process using the image [a]?\n", fault.VolumeInUse, "qemu-img convert failed: Could not open 'a': Failed to get shared \"write\" lock"},
		"would shrink": {
			"qemu-img: Use the --shrink option to perform a shrink operation.\nqemu-img: warning: Shrinking an image will delete all data beyond the shrunken image's end. Before performing such an operation, make sure there is no important data there.\n",
			fault.VolumeDimensionNotShrinkable, "qemu-img convert failed: Use the --shrink option to perform a shrink operation.",
		},
		"damaged":        {"qemu-img: Could not open '/mnt/a/b.vdi': Image not in VDI format (bad signature 00000000)\n", fault.ImageToolFailed, "qemu-img convert failed: Could not open 'b.vdi': Image not in VDI format (bad signature 00000000)"},
		"a warning":      {"qemu-img: warning: careful\nqemu-img: it broke\n", fault.ImageToolFailed, "qemu-img convert failed: it broke"},
		"only a warning": {"block-vpc: odd\n", fault.ImageToolFailed, "qemu-img convert failed: block-vpc: odd"},
		"silent":         {"\n", fault.ImageToolFailed, "qemu-img convert failed: it did not say why"},
		"control codes":  {"qemu-img: a\x1b[31m\x00b\xff\n", fault.ImageToolFailed, "qemu-img convert failed: a?[31m?b?"},
		"long":           {"qemu-img: " + strings.Repeat("é", 300) + "\n", fault.ImageToolFailed, "qemu-img convert failed: " + strings.Repeat("é", 150) + "…"},
		"paths":          {"qemu-img: Could not open backing file: Could not open '/var/lib/a b/c.raw' and [/x/y] file=/p/q\n", fault.ImageToolFailed, "qemu-img convert failed: Could not open backing file: Could not open 'a b/c.raw' and [y] file=q"},
	} {
		t.Run(name, func(t *testing.T) {
			err := failure(command{name: "convert", images: images}, tc.stderr, waited, ended.ProcessState)
			wantCode(t, err, tc.code)
			if strings.ReplaceAll(err.Error(), "\ufffd", "?") != tc.msg {
				t.Errorf("message is\n%q, want\n%q", err, tc.msg)
			}
			if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 1 {
				t.Errorf("the cause %v is not how it ended", errors.Unwrap(err))
			}
			if said := strings.TrimSpace(tc.stderr); said != "" && !strings.Contains(errors.Unwrap(err).Error(), fmt.Sprintf("%q", said)) {
				t.Errorf("the cause %v does not hold what was printed", errors.Unwrap(err))
			}
		})
	}
}
