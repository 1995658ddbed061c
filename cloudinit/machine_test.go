package cloudinit

import (
	"strings"
	"testing"
)

func TestSumOf(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	tests := []struct {
		name, text string
		found      bool
	}{
		{"GNU", strings.Repeat("00", 32) + "  other\n" + sum + "  image.qcow2\n", true},
		{"GNU binary", sum + " *image.qcow2", true},
		{"with a directory", sum + "  ./image.qcow2\r\n", true},
		{"BSD", "# a\nSHA256 (image.qcow2) = " + sum + "\n", true},
		{"BSD of another sum", "SHA512 (image.qcow2) = " + sum + "\n", false},
		{"another name", sum + "  image.qcow2.sig\n", false},
		{"short", sum[2:] + "  image.qcow2\n", false},
		{"no digits", "zz" + sum[2:] + "  image.qcow2\n", false},
		{"a page", "<html>image.qcow2", false},
		{"nothing", "", false},
	}
	for _, tt := range tests {
		got := sumOf(tt.text, "image.qcow2", "sha256")
		if (got != nil) != tt.found || got != nil && got.Sum[0] != 0xab {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}
