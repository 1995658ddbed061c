package interop

import (
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
)

const mib = 1 << 20

// needISCSI needs the iSCSI driver of QEMU.
func needISCSI(t *testing.T) {
	t.Helper()
	need.Program(t, "qemu-img", "qemu-io", "qemu-storage-daemon")
	if out, err := run(t, "qemu-img", "info", "iscsi://127.0.0.1:1/x/0"); err != nil && strings.Contains(out, "Unknown protocol") {
		need.Program(t, "the iSCSI driver of QEMU (qemu-block-extra)")
	}
}

// formats are the images that are served.
var formats = []string{"raw", "qcow2"}

// newImage makes an image without data and returns its path.
func newImage(t *testing.T, format string, size int64) string {
	t.Helper()
	if format == "raw" {
		return sparse(t, size)
	}
	path := filepath.Join(t.TempDir(), "disk."+format)
	must(t, "qemu-img", "create", "-q", "-f", format, path, sizeOf(size))
	return path
}

// must runs a program that must succeed.
func must(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := run(t, program, args...)
	if err != nil || strings.Contains(out, "failed") {
		t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, out)
	}
	return out
}

// source makes a raw file of so many bytes with data, zeros and a hole, and returns its path.
func source(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source.raw")
	data := make([]byte, size)
	fill(data[:size/2], 1)
	fill(data[size*3/4:], 2)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fill makes the bytes that a number stands for.
func fill(p []byte, number uint64) {
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte{byte(number), byte(number >> 8), byte(number >> 16), byte(number >> 24)})).Read(p)
}

// TestQEMU has QEMU's own initiator copy disks in and out.
func TestQEMU(t *testing.T) {
	needISCSI(t)
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			const size = 32 * mib
			image, file := newImage(t, format, size), source(t, size)
			target := rig.StartTarget(t, "--image", image, "--format", format)
			url := target.URL
			must(t, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", file, url)
			must(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", file, url)
			must(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", url, file+".back")
			must(t, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", file, file+".back")
			must(t, "qemu-io", "-f", "raw", "-c", "write -P 7 4k 1M", "-c", "write -z -u 512k 256k", "-c", "discard 64k 64k",
				"-c", "aio_write -P 9 3M 2M", "-c", "aio_write -P 8 8M 512", "-c", "aio_flush", "-c", "flush", url)
			verify := []string{
				"-c", "read -P 7 4k 60k", "-c", "read -P 0 64k 64k", "-c", "read -P 7 128k 384k", "-c", "read -P 0 512k 256k",
				"-c", "read -P 9 3M 2M", "-c", "read -P 8 8M 512",
			}
			must(t, "qemu-io", append([]string{"-f", "raw", url}, verify...)...)
			if err := target.Stop(); err != nil {
				t.Fatalf("%v\n%s", err, target.Log())
			}
			must(t, "qemu-io", append([]string{"-f", format, image}, verify...)...)
			if format == "qcow2" {
				must(t, "qemu-img", "check", "-f", format, image)
			}
		})
	}
}
