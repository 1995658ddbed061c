package boot

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"testing"

	"elstore/cloudinit"
	"elstore/test/guest"
)

// upload makes an ISO volume of a file by a multipart form.
func (s store) upload(t *testing.T, path string, v any) {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for key, value := range map[string]string{"creatorID": client, "name": "debian", "isotype": "os_generic"} {
		if err := form.WriteField(key, value); err != nil {
			t.Fatal(err)
		}
	}
	part, err := form.CreateFormFile("file", "debian.iso")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	answer, err := s.Do(t.Context(), http.MethodPost, "/iso/create/upload", &body, map[string]string{"Content-Type": form.FormDataContentType()})
	if err != nil || answer.Status != 200 {
		t.Fatalf("%d %s, %v", answer.Status, answer.Body, err)
	}
	answer.Into(t, v)
}

// A PC boots an installer from its CD, by BIOS and by UEFI, both from one export each of the same volume, and its kernel reads there
// what was put in. Beside it lies a seed.
func TestInstallerBoots(t *testing.T) {
	t.Parallel()
	installer := guest.NewInstaller(t, t.TempDir())
	s := startStore(t)
	var disc struct {
		VID     string
		Family  string `json:"os_family"`
		Flavour string `json:"os_flavour"`
		Version string `json:"os_version"`
	}
	s.upload(t, installer.Path, &disc)
	if disc.Family != "linux" || disc.Flavour != "debian" || disc.Version != "12.9.0" {
		t.Errorf("it is taken for %s %s %s", disc.Family, disc.Flavour, disc.Version)
	}
	var list struct {
		Label string
		Boot  []struct {
			Platform string
			Bootable bool
		}
		Files []struct {
			Path string
			Size int64
		}
	}
	s.do(t, http.MethodGet, "/iso/"+disc.VID+"/files", "", 200, &list)
	if b := list.Boot; list.Label != installer.Label || len(b) != 2 || b[0].Platform != "bios" || b[1].Platform != "uefi" || !b[0].Bootable || !b[1].Bootable {
		t.Errorf("it is described as %+v", list)
	}
	sizes := map[string]int64{}
	for _, f := range list.Files {
		sizes[f.Path] = f.Size
	}
	for name, path := range installer.Files {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := s.Do(t.Context(), http.MethodGet, "/iso/"+disc.VID+"/files/"+name, nil, nil)
		if err != nil || answer.Status != 200 || !bytes.Equal(answer.Body, want) || sizes[name] != int64(len(want)) {
			t.Errorf("%s: %d, %d bytes, listed with %d, want %d; %v", name, answer.Status, len(answer.Body), sizes[name], len(want), err)
		}
	}
	files := cloudinit.Files{"user-data": []byte("#cloud-config\nhostname: web1\n"), "meta-data": []byte("instance-id: web1\n"), "A long name, with signs.txt": []byte("text")}
	seed := s.seed(t, files)
	for firmware, options := range map[string][]string{"bios": nil, "uefi": guest.UEFI} {
		t.Run(firmware, func(t *testing.T) {
			more, cd := s.attach(t, disc.VID)
			other, second := s.attach(t, seed)
			g := guest.BootDisk(t, firmware, append(append(append(options, more...), other...), "-device", "virtio-scsi-pci",
				"-device", "scsi-cd,bootindex=0,drive="+cd, "-device", "scsi-cd,drive="+second)...)
			if got := g.Run(t, "cat /proc/cmdline"); !strings.Contains(got, "guest.firmware="+firmware) {
				t.Errorf("the kernel was started with %q", got)
			}
			g.Run(t, "for at in 0 1; do until [ -b /dev/sr$at ]; do sleep 0.05; done; done\nmount -t iso9660 -o ro /dev/sr0 /mnt")
			if got := g.Run(t, "cat /mnt/.disk/info"); got != installer.Info {
				t.Errorf("its .disk/info says %q", got)
			}
			g.Run(t, "umount /mnt")
			kernelReads(t, g, "/dev/sr1", files)
		})
	}
}

// seed makes a seed of files by the source document's calls.
func (s store) seed(t *testing.T, files cloudinit.Files) (id string) {
	t.Helper()
	document := map[string]any{"creatorID": client, "name": "seed", "expectedFiles": len(files)}
	for name, content := range files {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile("file", name)
		if err == nil {
			_, err = part.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := form.Close(); err != nil {
			t.Fatal(err)
		}
		said, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := s.Do(t.Context(), http.MethodPost, "/cloudinit/metadata/"+encoded(said), io.Reader(&body), map[string]string{"Content-Type": form.FormDataContentType()})
		if err != nil || answer.Status != 206 && answer.Status != 200 {
			t.Fatalf("%d %s, %v", answer.Status, answer.Body, err)
		}
		var made struct{ VID string }
		answer.Into(t, &made)
		id, document = made.VID, map[string]any{"vid": made.VID}
	}
	return id
}

// kernelReads has Linux read an image of a seed, by Rock Ridge, by Joliet, and as plain ISO 9660.
func kernelReads(t *testing.T, g *guest.Guest, device string, files cloudinit.Files) {
	t.Helper()
	for _, options := range []string{"ro", "ro,norock"} {
		g.Run(t, "mount -t iso9660 -o "+options+" "+device+" /mnt")
		for name, content := range files {
			if got := g.Run(t, "cat '/mnt/"+name+"'"); got != strings.TrimSpace(string(content)) {
				t.Errorf("mounted with %s, %s has %q, want %q", options, name, got, content)
			}
		}
		if got := g.Run(t, "ls /mnt | wc -l"); got != "3" {
			t.Errorf("mounted with %s there are %s files", options, got)
		}
		g.Run(t, "umount /mnt")
	}
	// Plain names have 8 letters and 3.
	g.Run(t, "mount -t iso9660 -o ro,norock,nojoliet "+device+" /mnt")
	if got := g.Run(t, "cat /mnt/meta_dat*"); got != "instance-id: web1" {
		t.Errorf("without Rock Ridge and Joliet there is %q", got)
	}
	g.Run(t, "umount /mnt")
}
