package guest

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/need"
)

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := &archive{w: &b}
	a.directory("d")
	a.file("d/file", 0o755, []byte("12345"))
	a.link("l", "d/file")
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	// Numbers: inode, mode, owner, group, links, time, size, 4 of devices, length of the name, sum.
	want := strings.Join([]string{
		"070701" + "00000001" + "000041ed" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
			"00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "d\x00",
		"070701" + "00000002" + "000081ed" + "00000000" + "00000000" + "00000001" + "00000000" + "00000005" +
			"00000000" + "00000000" + "00000000" + "00000000" + "00000007" + "00000000" + "d/file\x00" + "\x00\x00\x00" + "12345\x00\x00\x00",
		"070701" + "00000003" + "0000a1ff" + "00000000" + "00000000" + "00000001" + "00000000" + "00000006" +
			"00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "l\x00" + "d/file\x00\x00",
		"070701" + "00000004" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
			"00000000" + "00000000" + "00000000" + "00000000" + "0000000b" + "00000000" + "TRAILER!!!\x00" + "\x00\x00\x00",
	}, "")
	if got := b.String(); got != want {
		t.Errorf("%q\nwant\n%q", got, want)
	}
}

// bzImage makes a kernel with one sector of setup code, and the payload some bytes behind it.
func bzImage(payload string, length int) []byte {
	data := make([]byte, 2*512+16, 2*512+16+len(payload))
	data[setupSectors] = 1
	copy(data[setupMagic:], "HdrS")
	binary.LittleEndian.PutUint32(data[payloadOffset:], 16)
	binary.LittleEndian.PutUint32(data[payloadLength:], uint32(length))
	return append(data, payload...)
}

func TestPayload(t *testing.T) {
	whole := bzImage("compressed\x01\x02\x03\x04", 14)
	for _, tt := range []struct {
		name    string
		data    []byte
		want    string
		problem string
	}{
		{"whole", whole, "compressed", ""},
		{"more behind it", append(bytes.Clone(whole), "more"...), "compressed", ""},
		{"short", whole[:setupEnd-1], "", "no bzImage"},
		{"something else", make([]byte, 4096), "", "no bzImage"},
		{"cut off", whole[:len(whole)-1], "", "not within it"},
		{"a length past all", bzImage("compressed", 1<<31), "", "not within it"},
		{"nothing", bzImage("1234", 4), "", "not within it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := payloadOf(tt.data)
			if string(got) != tt.want || (err == nil) != (tt.problem == "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestUnpackKernel(t *testing.T) {
	need.Program(t, "xz")
	kernel := strings.Repeat("kernel", 1000)
	cmd := exec.CommandContext(t.Context(), "xz", "-c")
	cmd.Stdin = strings.NewReader(kernel)
	packed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, payload, problem string }{
		{"packed", string(packed), ""},
		{"damaged", string(packed[:len(packed)/2]), "xz"},
		{"not packed", kernel, "what can be unpacked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			from, to := filepath.Join(dir, "bzImage"), filepath.Join(dir, "kernel")
			if err := os.WriteFile(from, bzImage(tt.payload+"size", len(tt.payload)+4), 0o600); err != nil {
				t.Fatal(err)
			}
			err := unpackKernel(from, to)
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("%v, want an error about %q", err, tt.problem)
				}
				return
			}
			if got, readErr := os.ReadFile(to); err != nil || readErr != nil || string(got) != kernel {
				t.Errorf("%d bytes, %v, %v; want %d", len(got), err, readErr, len(kernel))
			}
		})
	}
}

func TestSetupDownloadsThePackages(t *testing.T) {
	setup, err := os.ReadFile(filepath.Join("..", "..", ".ci", "setup"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nguest='" + strings.Join(packages, " ") + "'\n", "\ncloud='" + strings.Join(cloudPackages, " ") + "'\n"} {
		if !strings.Contains(string(setup), want) {
			t.Errorf("no %q in .ci/setup", want)
		}
	}
}
