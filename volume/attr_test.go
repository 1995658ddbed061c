package volume

import (
	"encoding"
	"strings"
	"testing"

	"elstore/volume/fault"
)

func TestAttributes(t *testing.T) {
	tests := map[string]struct {
		field encoding.TextUnmarshaler
		ok    []string
		bad   []string
		code  fault.Code
	}{
		"format": {new(Format), []string{"raw", "qcow2", "rbd", "rdb", "iso"}, []string{"", "RAW", "vmdk", "qcow", "raw "}, fault.VolumeFormatNotAllowed},
		"bus":    {new(Bus), []string{"virtio", "scsi", "sata", "ide"}, []string{"", "usb", "nvme"}, fault.VolumeBusNotAllowed},
		"alg":    {new(Alg), []string{"cp", "rclone", "rsync", "no"}, []string{"", "dd", "rm -rf"}, fault.VolumeCloningAlgNotAllowed},
		"preallocation": {
			new(Prealloc),
			[]string{"off", "metadata", "falloc", "full"},
			[]string{"", "on", strings.Repeat("x", 10000)},
			fault.BadRequest,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, s := range tt.ok {
				if err := tt.field.UnmarshalText([]byte(s)); err != nil {
					t.Errorf("%q is refused: %v", s, err)
				}
			}
			for _, s := range tt.bad {
				err := tt.field.UnmarshalText([]byte(s))
				if !fault.Is(err, tt.code) {
					t.Errorf("%.20q: %v, want %s", s, err, tt.code)
				} else if len(err.Error()) > 200 || !strings.Contains(err.Error(), name) {
					t.Errorf("%.20q: message %q", s, err)
				}
			}
		})
	}
	var f Format
	if err := f.UnmarshalText([]byte("rdb")); err != nil || f != RBD {
		t.Errorf("rdb is %q, %v; want rbd", f, err)
	}
	if Raw.Ext() != "img" || QCOW2.Ext() != "qcow2" {
		t.Error("extensions")
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "cloudinit-ubuntu", "Ünïcode 名前 🙂", "with/slash", "..", strings.Repeat("x", MaxName)} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "a\nb", "tab\t", "nul\x00", "del\x7f", "c1\u0085", "\u2028", "rtl\u202e", "\u2066", "bad\xffutf8",
		strings.Repeat("x", MaxName+1), strings.Repeat("x", 10000),
	} {
		if err := CheckName(name); !fault.Is(err, fault.BadRequest) || len(err.Error()) > 400 {
			t.Errorf("%.20q: %v", name, err)
		}
	}
}
