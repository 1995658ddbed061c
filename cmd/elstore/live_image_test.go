package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/need"
)

// TestImages converts, imports and sends qcow2 images, against the real server and the real qemu-img.
func TestImages(t *testing.T) {
	need.Program(t, "qemu-img")
	images := t.TempDir()
	liveServer(t, "--import-dir", images)
	data := bytes.Repeat([]byte("elstore "), 256<<10)
	raw, qcow2 := filepath.Join(images, "disk.img"), filepath.Join(images, "disk.qcow2")
	if err := os.WriteFile(raw, data, 0o600); err != nil {
		t.Fatal(err)
	}
	qemu := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "qemu-img", args...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
		}
	}
	qemu("convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
	sameAs := func(name string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		succeeds(t, "volume", "download", name, path, "--format", "qcow2")
		qemu("compare", "-f", "raw", "-F", "qcow2", raw, path)
		if out := elstore(t, "volume", "download", name, "-", "--format", "raw"); out.stdout != string(data) {
			t.Errorf("%s was downloaded as %d raw bytes, want %d; %s", name, len(out.stdout), len(data), out.stderr)
		}
	}

	succeeds(t, "volume", "create", "sent", "--size", "2Mi", "--format", "qcow2")
	succeeds(t, "volume", "upload", "sent", qcow2, "--format", "qcow2")
	sameAs("sent")
	succeeds(t, "volume", "convert", "sent", "raw")
	if out := succeeds(t, "volume", "info", "sent", "--json"); !strings.Contains(out, `"format":"raw"`) {
		t.Errorf("it is %s", out)
	}
	sameAs("sent")
	succeeds(t, "volume", "import", "found", "--path", qcow2, "--format", "qcow2", "--bootable")
	sameAs("found")
	succeeds(t, "volume", "import", "thin", "--path", qcow2, "--overlay")
	sameAs("thin")
	succeeds(t, "volume", "compact", "thin")
	sameAs("thin")
	succeeds(t, "volume", "clone", "thin", "copy", "--private=false")
	sameAs("copy")

	job := strings.TrimSpace(succeeds(t, "-q", "volume", "convert", "copy", "raw", "--no-wait"))
	succeeds(t, "job", "wait", job)
	fails(t, exitFailure, "volume", "upload", "sent", raw, "--format", "qcow2") // it is none
	fails(t, exitNotAllowed, "volume", "import", "passwd", "--path", "/etc/passwd")
	fails(t, exitNotAllowed, "volume", "import", "inside", "--url", "http://127.0.0.1:1/x")
	fails(t, exitFailure, "volume", "import", "wrong", "--path", qcow2, "--checksum", "sha256:"+strings.Repeat("0", 64))
}
