package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/iso"
)

// TestISOs keeps installers on the real server.
func TestISOs(t *testing.T) {
	images := t.TempDir()
	liveServer(t, "--import-dir", images)
	data, err := iso.Build(iso.Config{Label: "DEB", Application: "TEST", BIOSBoot: "boot.img", Files: map[string][]byte{
		".disk/info": []byte("Debian GNU/Linux 12.9.0\n"), "install/vmlinuz": bytes.Repeat([]byte("k"), 5000), "boot.img": make([]byte, 2048),
	}})
	if err != nil {
		t.Fatal(err)
	}
	image, page := filepath.Join(images, "debian.iso"), filepath.Join(images, "page.iso")
	for name, content := range map[string][]byte{image: data, page: []byte("<html>")} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	succeeds(t, "iso", "import", "sent", image)
	succeeds(t, "iso", "import", "found", image, "--on-server", "--private")
	succeeds(t, "iso", "create", "drivers", "--type", "tool", "--os-family", "windows")
	if out := succeeds(t, "iso", "show", "sent"); !strings.Contains(out, "DEB") || !strings.Contains(out, "bios") {
		t.Errorf("%s", out)
	}
	if out := succeeds(t, "iso", "ls", "found", "install"); !strings.Contains(out, "install/vmlinuz") {
		t.Errorf("%s", out)
	}
	if out := succeeds(t, "iso", "ls", "found", "-r"); !strings.Contains(out, "install/vmlinuz") || !strings.Contains(out, ".disk/\n") {
		t.Errorf("%s", out)
	}
	if out := succeeds(t, "iso", "cat", "sent", "install/vmlinuz"); out != strings.Repeat("k", 5000) {
		t.Errorf("%d bytes", len(out))
	}
	if out := succeeds(t, "volume", "info", "sent", "--json"); !strings.Contains(out, `"iso_type":"os_generic"`) {
		t.Errorf("%s", out)
	}
	fails(t, exitNotFound, "iso", "cat", "sent", "nothing")
	fails(t, exitFailure, "iso", "import", "page", page)
	fails(t, exitNotFound, "volume", "info", "page") // it went again
	succeeds(t, "volume", "upload", "drivers", image)
	fails(t, exitConflict, "volume", "upload", "drivers", image)
}

// TestCloudInit makes, edits and checks seeds on the real server.
func TestCloudInit(t *testing.T) {
	liveServer(t)
	dir := t.TempDir()
	file := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	user, meta := file("user-data", "#cloud-config\nhostname: a\n"), file("meta-data", "instance-id: a\n")
	if out := succeeds(t, "cloudinit", "check", user, meta); !strings.Contains(out, "user-data is good.\n") {
		t.Errorf("%s", out)
	}
	succeeds(t, "cloudinit", "seed", "seed", user, meta)
	if out := succeeds(t, "cloudinit", "show", "seed"); !strings.Contains(out, "complete") || !strings.Contains(out, "meta-data") {
		t.Errorf("%s", out)
	}
	if out := succeeds(t, "cloudinit", "show", "seed", "user-data"); out != "#cloud-config\nhostname: a\n" {
		t.Errorf("%s", out)
	}
	succeeds(t, "cloudinit", "edit", "seed", "user-data", "--from", file("other", "#cloud-config\nhostname: b\n"))
	t.Setenv("EDITOR", "sed -i s/hostname:.b/hostname:\\x20c/")
	if out := succeeds(t, "cloudinit", "edit", "seed", "user-data"); !strings.Contains(out, "a-edit-") {
		t.Errorf("%s", out)
	}
	if out := succeeds(t, "iso", "cat", "seed", "user-data"); out != "#cloud-config\nhostname: c\n" {
		t.Errorf("%s", out)
	}
	t.Setenv("EDITOR", "true")
	if out := succeeds(t, "cloudinit", "edit", "seed", "user-data"); out != "Nothing was changed.\n" {
		t.Errorf("%s", out)
	}
	succeeds(t, "cloudinit", "edit", "seed", "meta-data", "--remove")

	bad := file("network-config", "version: 2\nethernet: {}\n")
	if out := elstore(t, "cloudinit", "check", bad); out.code == exitOK || !strings.Contains(out.stderr, "network-config line 2") {
		t.Errorf("%+v", out)
	}
	fails(t, exitFailure, "cloudinit", "seed", "bad", user, bad)
	fails(t, exitUsage, "cloudinit", "seed", "twice", user, user)
	form := file("form.json", `{"hostname": "web1", "network": {"dhcp": true}}`)
	if out := succeeds(t, "cloudinit", "render", form); !strings.Contains(out, "# user-data\n#cloud-config\nhostname: web1\n") {
		t.Errorf("%s", out)
	}
	succeeds(t, "cloudinit", "render", form, "--name", "made")
	if out := succeeds(t, "iso", "cat", "made", "user-data"); !strings.Contains(out, "hostname: web1") {
		t.Errorf("%s", out)
	}
	fails(t, exitUsage, "cloudinit", "render", user)
	fails(t, exitFailure, "cloudinit", "image", "web", "http://127.0.0.1:1/x", "--size", "1G")
}
