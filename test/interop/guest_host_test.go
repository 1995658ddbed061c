package interop

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// allocated returns how many bytes of storage a file has.
func allocated(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// contentOf returns the content of an image, of a qcow2 one when nobody serves it any more.
func contentOf(t *testing.T, image, format string) []byte {
	t.Helper()
	if format != "raw" {
		raw := image + ".content"
		must(t, "qemu-img", "convert", "-f", format, "-O", "raw", image, raw)
		image = raw
	}
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// words is numbers for a shell.
func words(numbers []int) string { return strings.Trim(fmt.Sprint(numbers), "[]") }

// checkPieces checks that a disk has the piece of 4 MiB with a sum, as md5sum writes it, at every place of pieces,
// and zeros elsewhere.
func checkPieces(t *testing.T, disk []byte, size int, sum string) {
	t.Helper()
	if len(disk) != size {
		t.Fatalf("the disk has %d bytes, want %d", len(disk), size)
	}
	want, _, _ := strings.Cut(sum, " ")
	for _, at := range pieces {
		piece := disk[at*mib : (at+4)*mib]
		found := md5.Sum(piece)
		if got := hex.EncodeToString(found[:]); got != want {
			t.Errorf("at %d MiB the sum is %s, and %s was written", at, got, want)
		}
		clear(piece)
	}
	for at, b := range disk {
		if b != 0 {
			t.Fatalf("at %d is %#x, and nothing was written there", at, b)
		}
	}
}
