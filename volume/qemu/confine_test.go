package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/volume/fault"
)

// confinable reports whether the kernel can hold a process to files.
func confinable(t *testing.T) bool {
	t.Helper()
	v, err := landlockVersion()
	if err != nil || v == 0 {
		t.Logf("the kernel has no Landlock: %v", err)
	}
	return err == nil && v > 0
}

// TestImagesThatReachOut: whatever an image makes qemu-img open, it can't be but the image, what it may be an overlay of, and
// a target. Images from outside that name other files are refused before (Inspect); this is for those that would get
// around that.
func TestImagesThatReachOut(t *testing.T) {
	tool := realTool(t)
	if !confinable(t) {
		return
	}
	secrets := t.TempDir()
	secret := filepath.Join(secrets, "secret.raw")
	if err := os.WriteFile(secret, pattern(1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	bases := filepath.Join(t.TempDir(), "bases")
	if err := os.Mkdir(bases, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(bases, "link.raw")
	if err := os.Symlink(secret, link); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args []string // of qemu-img create
		vmdk string
	}{
		"a backing file":                {args: []string{"-f", "qcow2", "-u", "-b", secret, "-F", "raw", "@", "1M"}},
		"a link among the bases":        {args: []string{"-f", "qcow2", "-u", "-b", link, "-F", "raw", "@", "1M"}},
		"a backing file over the net":   {args: []string{"-f", "qcow2", "-u", "-b", "nbd://127.0.0.1:1/x", "-F", "raw", "@", "1M"}},
		"a backing file by JSON":        {args: []string{"-f", "qcow2", "-u", "-b", `json:{"driver":"raw","file":{"driver":"file","filename":"` + secret + `"}}`, "-F", "raw", "@", "1M"}},
		"an external data file":         {args: []string{"-f", "qcow2", "-o", "data_file=" + secret + ",data_file_raw=on", "@", "1M"}},
		"a VMDK whose extent is a file": {vmdk: "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\nRW 2048 FLAT \"" + secret + "\" 0\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			img := Image{Path: filepath.Join(dir, "image"), Format: QCOW2, Bases: bases}
			if tt.vmdk != "" {
				img.Format = VMDK
				if err := os.WriteFile(img.Path, []byte(tt.vmdk), 0o600); err != nil {
					t.Fatal(err)
				}
			} else {
				args := append([]string{"create", "-q"}, tt.args...)
				for i := range args {
					if args[i] == "@" {
						args[i] = img.Path
					}
				}
				qemuImg(t, args...)
				if err := os.WriteFile(secret, pattern(1<<20), 0o600); err != nil { // making a data file empties it
					t.Fatal(err)
				}
			}
			target := Image{Path: filepath.Join(dir, "copy"), Format: Raw}
			err := tool.Convert(t.Context(), img, target, ConvertOptions{})
			if err == nil || fault.CodeOf(err) == fault.InternalError {
				t.Errorf("it is converted: %v", err)
			}
			if _, err := os.Lstat(target.Path); err == nil {
				t.Error("there is a copy")
			}
			tool.besides = everything // and that was why
			defer func() { tool.besides = nil }()
			if err := tool.Convert(t.Context(), img, target, ConvertOptions{}); err != nil && !strings.Contains(name, "net") {
				t.Errorf("without being confined: %v", err)
			}
		})
	}
}

// TestQemuImgIsHeldToItsFiles: what a program in qemu-img's place can do. A script tries.
func TestQemuImgIsHeldToItsFiles(t *testing.T) {
	if !confinable(t) {
		return
	}
	mine, base, other := writeFile(t, "mine", []byte("mine")), writeFile(t, "base", []byte("base")), writeFile(t, "other", []byte("other"))
	script := program(t, fmt.Sprintf(`
try() { if eval "$2" 2>/dev/null; then said="$said$1 yes "; else said="$said$1 no "; fi; }
try read-image 'true <%[1]s'
try write-image 'true >>%[1]s'
try read-base 'true <%[2]s'
try write-base 'true >>%[2]s'
try read-other 'true <%[3]s'
try read-passwd 'true </etc/passwd'
try create 'true >%[4]s/new'
try remove 'rm %[1]s'
try list 'ls %[4]s'
echo "$said" >&2
exit 1`, mine, base, other, filepath.Dir(mine)))
	img := Image{Path: mine, Format: Raw, Bases: filepath.Dir(base)}
	const rest = "read-base yes write-base no read-other no read-passwd no create no remove no list no"
	for name, tt := range map[string]struct {
		call func(tool *Tool) error
		want string
	}{
		"info":    {func(tool *Tool) error { _, err := tool.Info(t.Context(), img); return err }, "read-image yes write-image no " + rest},
		"measure": {func(tool *Tool) error { _, err := tool.Measure(t.Context(), img, QCOW2); return err }, "read-image yes write-image no " + rest},
		"check":   {func(tool *Tool) error { _, err := tool.Check(t.Context(), img, false); return err }, "read-image yes write-image no " + rest},
		"resize":  {func(tool *Tool) error { return tool.Resize(t.Context(), img, ResizeOptions{Size: 1 << 20}) }, "read-image yes write-image yes " + rest},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tt.call(newTool(t, Config{Path: script})); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("it says %v\nand must   %s", err, tt.want)
			}
		})
	}
}
