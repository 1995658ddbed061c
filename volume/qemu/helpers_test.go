package qemu

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"elstore/test/need"
	"elstore/volume/fault"
)

// realTool returns a Tool that runs the real qemu-img.
func realTool(t testing.TB) *Tool {
	t.Helper()
	need.Program(t, "qemu-img")
	return newTool(t, Config{})
}

func newTool(t testing.TB, c Config) *Tool {
	t.Helper()
	tool, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

// toolOf returns a Tool that runs a shell script in place of qemu-img. Tests that run programs are not parallel: a
// fork by another test would keep the script open for writing, and then it can't be started.
func toolOf(t testing.TB, script string) *Tool {
	t.Helper()
	tool := newTool(t, Config{Path: program(t, script)})
	tool.besides = everything // a script runs a shell, and others
	return tool
}

// everything lets a program open what it likes.
var everything = []fileRule{{"/", mayRun | mayWrite | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE}}

func program(t testing.TB, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qemu-img")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// qemuImg runs the real qemu-img by itself, to make images that are not a Tool's to make.
func qemuImg(t testing.TB, args ...string) {
	t.Helper()
	need.Program(t, "qemu-img")
	if out, err := exec.CommandContext(t.Context(), "qemu-img", args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %q: %v: %s", args, err, out)
	}
}

// pattern returns n bytes as a disk has them: stretches of data, zeros between them.
func pattern(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	for off := 0; off < n; off += 1 << 20 {
		_, _ = r.Read(b[off:min(off+300<<10, n)])
	}
	return b
}

// writeFile makes a file below a directory of the test's own.
func writeFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// image makes an image of size bytes with qemu-img's own options.
func image(t testing.TB, f Format, size int64, options ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image."+string(f))
	args := append([]string{"create", "-q", "-f", string(f)}, options...)
	qemuImg(t, append(args, path, fmt.Sprint(size))...)
	return path
}

// filled makes an image that holds data.
func filled(t testing.TB, f Format, data []byte, options ...string) string {
	t.Helper()
	raw := writeFile(t, "data.raw", data)
	path := filepath.Join(t.TempDir(), "image."+string(f))
	args := append([]string{"convert", "-f", "raw", "-O", string(f)}, options...)
	qemuImg(t, append(args, raw, path)...)
	return path
}

// wantCode fails the test unless err is a fault of that code.
func wantCode(t testing.TB, err error, want fault.Code) {
	t.Helper()
	if err == nil || fault.CodeOf(err) != want {
		t.Fatalf("error is %v (%s), want %s", err, fault.CodeOf(err), want)
	}
}

// wantContent fails the test unless the file holds data, and zeros behind it.
func wantContent(t testing.TB, path string, data []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) < len(data) || !bytes.Equal(got[:len(data)], data) || !zeros(got[len(data):]) {
		t.Fatalf("%s does not hold what it should: %d bytes, want %d", filepath.Base(path), len(got), len(data))
	}
}

// wantNothing fails the test if there is a file at path.
func wantNothing(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Fatalf("%s is left: %v", filepath.Base(path), err)
	}
}
