package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/iso"
	"elstore/test/need"
	"elstore/test/rig"
)

// curl sends a file of a seed as the public client does, and returns the status and the body.
func curl(t *testing.T, s *rig.Server, document, file string) (status, body string) {
	t.Helper()
	args := []string{"-sS", "-w", "\n%{http_code}", "-X", "POST"}
	if file != "" {
		args = append(args, "-F", "file=@"+file)
	}
	out := output(t, "curl", append(args, s.URL+"/api/v1.0/cloudinit/metadata/"+document)...)
	at := strings.LastIndexByte(out, '\n')
	return out[at+1:], out[:at]
}

func files(t *testing.T, content map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range content {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The public client's calls by curl, with the server killed between the files of the seed.
func TestSeedByCurl(t *testing.T) {
	need.Program(t, "curl")
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root)
	dir := files(t, map[string]string{"user-data": "#cloud-config\nhostname: web1\n", "meta-data": "instance-id: web1\n", "network-data": "version: 2\n"})
	first := base64.StdEncoding.EncodeToString([]byte(`{"creatorID": "` + alice + `", "name": "seed", "private": false, "bootable": false, "clonable": true, "alg": "cp", "expectedFiles": 3}`))
	status, body := curl(t, s, first, filepath.Join(dir, "user-data"))
	if status != "206" {
		t.Fatalf("%s %s", status, body)
	}
	_, rest, _ := strings.Cut(body, `"vid":"`)
	id := rest[:32]
	next := base64.StdEncoding.EncodeToString([]byte(`{"vid": "` + id + `"}`))
	if status, body := curl(t, s, next, ""); status != "400" {
		t.Errorf("without a file: %s %s", status, body)
	}
	for i, step := range []struct{ file, status string }{{"meta-data", "206"}, {"network-data", "200"}, {"network-data", "500"}} {
		s.Kill()
		s = rig.Start(t, root)
		if status, body := curl(t, s, next, filepath.Join(dir, step.file)); status != step.status {
			t.Errorf("file %d: %s %s", i+2, status, body)
		}
	}
	if status, body := curl(t, s, "not%base64", filepath.Join(dir, "meta-data")); status != "400" {
		t.Errorf("bad base64: %s %s", status, body)
	}
	create := map[string]any{"creatorID": alice, "name": "web1", "private": false, "clonable": true, "alg": "cp", "format": "raw", "bus": "virtio"}
	post(t, s, "/cloudinit/create", create, 400)
	create["url"] = "http://127.0.0.1:9/image.qcow2"
	post(t, s, "/cloudinit/create", create, 400)
	delete(create, "url")
	create["size"] = 1
	post(t, s, "/cloudinit/create", create, 200)
	post(t, s, "/destroy", map[string]any{"volume_id": id}, 200)
}

// A seed and an installer are read by machines over iSCSI, several at once; the seed can't be changed meanwhile.
func TestImagesAreExported(t *testing.T) {
	needISCSI(t)
	need.Program(t, "blkid", "xorriso")
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root)
	seed := vid(t, post(t, s, "/cloudinit/render", map[string]any{"creatorID": alice, "name": "seed", "seed": map[string]any{"hostname": "web1", "network": map[string]any{"dhcp": true}}}, 200))

	installer, err := iso.Build(iso.Config{Label: "DEBIAN", BIOSBoot: "b.img", UEFIBoot: "e.img", Files: map[string][]byte{
		"b.img": make([]byte, 2048), "e.img": make([]byte, 4096), "install/vmlinuz": bytes.Repeat([]byte("kernel"), 10000),
	}})
	if err != nil {
		t.Fatal(err)
	}
	disc := vid(t, post(t, s, "/iso/create", map[string]any{"creatorID": alice, "name": "debian", "isotype": "os_generic"}, 200))
	put, err := s.Do(t.Context(), http.MethodPut, "/volumes/"+disc+"/data", bytes.NewReader(installer), nil)
	if err != nil || put.Status != 200 {
		t.Fatalf("%d %s %v", put.Status, put.Body, err)
	}
	read := func(id, client string) string {
		t.Helper()
		var a attachment
		post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": client}, 200).Into(t, &a)
		to := filepath.Join(t.TempDir(), "image")
		output(t, "qemu-img", "convert", "--object", string(a.Object), "-O", "raw", fmt.Sprintf(`json:{"driver": "raw", "file": %s}`, a.Blockdev), to)
		return to
	}
	bob := "00000000000000000000000000000002"
	for _, client := range []string{alice, bob} {
		if got, err := os.ReadFile(read(disc, client)); err != nil || !bytes.Equal(got, installer) {
			t.Errorf("%s reads %d bytes of the installer, %v", client, len(got), err)
		}
	}
	image := read(seed, alice)
	if label := strings.TrimSpace(output(t, "blkid", "-p", "-o", "value", "-s", "LABEL", image)); label != "cidata" {
		t.Errorf("label %q", label)
	}
	out := filepath.Join(t.TempDir(), "out")
	output(t, "xorriso", "-osirrox", "on", "-indev", image, "-extract", "/", out)
	if data, err := os.ReadFile(filepath.Join(out, "user-data")); err != nil || !strings.HasPrefix(string(data), "#cloud-config\nhostname: web1\n") {
		t.Errorf("%s %v", data, err)
	}
	change := func() int {
		t.Helper()
		a, err := s.Do(t.Context(), http.MethodPut, "/cloudinit/"+seed+"/files/user-data", strings.NewReader("#cloud-config\nhostname: web2\n"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return a.Status
	}
	if status := change(); status != 409 {
		t.Errorf("changed while exported: %d", status)
	}
	post(t, s, "/unexport", map[string]any{"volume_id": seed, "client_uid": alice}, 200)
	if status := change(); status != 200 {
		t.Errorf("changed: %d", status)
	}
	waiting := vid(t, post(t, s, "/iso/create", map[string]any{"creatorID": alice, "name": "later", "isotype": "tool"}, 200))
	post(t, s, "/export", map[string]any{"volume_id": waiting, "client_uid": alice}, 403)
}
