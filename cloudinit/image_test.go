package cloudinit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"elstore/cloudinit"
	"elstore/iso"
	"elstore/test/need"
	"elstore/volume/fault"
)

// read returns the files of an image.
func read(t testing.TB, data []byte) map[string]string {
	t.Helper()
	im, err := iso.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if im.Label != "cidata" {
		t.Errorf("label %q", im.Label)
	}
	files := map[string]string{}
	err = im.Walk(t.Context(), func(f iso.File) error {
		r, err := im.Open(f)
		if err != nil {
			return err
		}
		content, err := io.ReadAll(r)
		files[f.Path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func image(t testing.TB, f cloudinit.Files) map[string]string {
	t.Helper()
	data, err := cloudinit.Image(f)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, data)
}

// The bytes of an image are the same on every machine, and so here as where this sum was taken.
func TestSameBytesOnEveryMachine(t *testing.T) {
	data, err := cloudinit.Image(cloudinit.Files{"user-data": user, "meta-data": meta, "network-config": []byte("version: 2\n"), "script with a long name.sh": []byte("#!/bin/sh\n")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%x", sha256.Sum256(data)), "d053ef312b3ffc22cb8c606ca13e54564d87e9e44514e968339381a099fd81d2"; got != want {
		t.Errorf("%d bytes of sum %s, want %s", len(data), got, want)
	}
}

func TestImageIsComplete(t *testing.T) {
	got := image(t, cloudinit.Files{"network-data": []byte("version: 2\n"), "script.sh": []byte("#!/bin/sh\n")})
	if got["user-data"] != "#cloud-config\n" || got["network-config"] != "version: 2\n" || got["network-data"] != "version: 2\n" || got["script.sh"] != "#!/bin/sh\n" {
		t.Errorf("%q", got)
	}
	if id := cloudinit.InstanceID([]byte(got["meta-data"])); !strings.HasPrefix(id, "iid-") || len(id) != 20 {
		t.Errorf("instance-id %q", id)
	}
	both := image(t, cloudinit.Files{"network-data": []byte("version: 2\n"), "network-config": []byte("version: 1\nconfig: []\n")})
	if both["network-config"] != "version: 1\nconfig: []\n" {
		t.Errorf("%q", both)
	}
}

// An instance-id that is missing is put into a meta-data, and what else is in it stays.
func TestInstanceID(t *testing.T) {
	for name, meta := range map[string]string{
		"none": "", "comment": "# nothing\n", "block": "local-hostname: h\n", "after a directive": "---\n# c\nlocal-hostname: h\n", "JSON": `{"local-hostname": "h"}`,
		"JSON over lines": "\n{\n \"local-hostname\": \"h\"}", "empty object": "{}", "null": "instance-id:\nlocal-hostname: h\n",
	} {
		t.Run(name, func(t *testing.T) {
			id := func(user string) string {
				got := image(t, cloudinit.Files{"user-data": []byte(user), "meta-data": []byte(meta)})["meta-data"]
				if err := cloudinit.Check("meta-data", []byte(got)); err != nil {
					t.Fatalf("%q: %v", got, err)
				}
				if strings.Contains(meta, "hostname") && !strings.Contains(got, "hostname") {
					t.Errorf("%q became %q", meta, got)
				}
				return cloudinit.InstanceID([]byte(got))
			}
			a, b, c := id("#!/bin/sh\n"), id("#!/bin/sh\n"), id("#!/bin/bash\n")
			if a == "" || a != b || a == c {
				t.Errorf("ids %q, %q, %q", a, b, c)
			}
		})
	}
	if got := image(t, cloudinit.Files{"meta-data": []byte("instance-id: mine\n")})["meta-data"]; got != "instance-id: mine\n" {
		t.Errorf("%q", got)
	}
}

const short = `{
	"hostname": "web1", "timezone": "Europe/Rome", "packages": ["nginx"], "package_update": true,
	"users": [{"name": "ada", "ssh_keys": ["ssh-ed25519 AAAAC3Nza ada@home"], "sudo": true, "groups": ["adm"]}],
	"files": [{"path": "/etc/motd", "content": "hello: \"world\"\n  #x\n"}], "run": ["touch /ran", "echo 'a: b' > /x"],
	"network": {"addresses": ["192.0.2.7/24"], "gateway": "192.0.2.1", "dns": ["192.0.2.2"], "mac": "52:54:00:12:34:56"}
}`

func form(t testing.TB, text string) cloudinit.Short {
	t.Helper()
	var s cloudinit.Short
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRender(t *testing.T) {
	s := form(t, short)
	files, err := s.Render()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"user-data": `#cloud-config
hostname: web1
manage_etc_hosts: true
timezone: Europe/Rome
users:
    - default
    - name: ada
      groups: [adm]
      shell: /bin/bash
      sudo: ALL=(ALL) NOPASSWD:ALL
      lock_passwd: true
      ssh_authorized_keys:
        - ssh-ed25519 AAAAC3Nza ada@home
package_update: true
packages:
    - nginx
write_files:
    - path: /etc/motd
      permissions: "0644"
      content: |
        hello: "world"
          #x
runcmd:
    - touch /ran
    - 'echo ''a: b'' > /x'
`,
		"network-config": `version: 2
ethernets:
    nic0:
        match:
            macaddress: "52:54:00:12:34:56"
        dhcp4: false
        addresses:
            - 192.0.2.7/24
        routes:
            - to: 0.0.0.0/0
              via: 192.0.2.1
        nameservers:
            addresses: [192.0.2.2]
`,
	}
	for name, content := range want {
		if string(files[name]) != content {
			t.Errorf("%s is\n%s\nwant\n%s", name, files[name], content)
		}
	}
	id := cloudinit.InstanceID(files["meta-data"])
	again, _ := s.Render()
	s.Packages = nil
	other, _ := s.Render()
	if id == "" || cloudinit.InstanceID(again["meta-data"]) != id || cloudinit.InstanceID(other["meta-data"]) == id {
		t.Errorf("ids %q, %q, %q", id, cloudinit.InstanceID(again["meta-data"]), cloudinit.InstanceID(other["meta-data"]))
	}
	if !strings.Contains(string(files["meta-data"]), "local-hostname: web1\n") {
		t.Errorf("%s", files["meta-data"])
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"host name": `{"hostname": "a b"}`, "host name with a line": `{"hostname": "a\nb"}`, "fqdn": `{"fqdn": "x"}`, "user": `{"users": [{"name": "A b"}]}`, "no user": `{"users": [{}]}`,
		"key": `{"ssh_keys": ["nonsense"]}`, "private key": `{"ssh_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}`, "key of two lines": `{"ssh_keys": ["ssh-rsa AAAA x\nssh-rsa AAAA y"]}`,
		"password": `{"users": [{"name": "a", "password_hash": "secret"}]}`, "path": `{"files": [{"path": "etc/x"}]}`,
		"mode": `{"files": [{"path": "/x", "mode": "rw"}]}`, "network of nothing": `{"network": {}}`, "address": `{"network": {"addresses": ["1.2.3.4"]}}`,
		"gateway": `{"network": {"dhcp": true, "gateway": "1.2.3.4"}}`, "dns": `{"network": {"dhcp": true, "dns": ["x"]}}`, "mac": `{"network": {"dhcp": true, "mac": "x"}}`,
	} {
		s := form(t, text)
		if _, err := s.Render(); !fault.Is(err, fault.BadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The YAML reader of cloud-init, which is of YAML 1.1, finds in the files what was meant.
func TestPythonReadsIt(t *testing.T) {
	need.Program(t, "python3")
	s := form(t, `{"hostname": "on", "packages": ["yes", "1.10", "12:30"], "run": ["", "null", "0x10", "- a", "x: y", "#z", "tab\t", "two\nlines"],
		"files": [{"path": "/a", "content": "  indented\n\nend", "mode": "0755"}], "network": {"dhcp": true, "search": ["no"]}}`)
	files, err := s.Render()
	if err != nil {
		t.Fatal(err)
	}
	load := func(name string) map[string]any {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "python3", "-c", "import sys, json, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)")
		cmd.Stdin = bytes.NewReader(files[name])
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var v map[string]any
		if err := json.Unmarshal(out, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	user := load("user-data")
	got := fmt.Sprint(user["hostname"], user["packages"], user["write_files"])
	if want := "on[yes 1.10 12:30] [map[content:  indented\n\nend path:/a permissions:0755]]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if run, _ := json.Marshal(user["runcmd"]); string(run) != `["","null","0x10","- a","x: y","#z","tab\t","two\nlines"]` {
		t.Errorf("%s", run)
	}
	if meta := load("meta-data"); meta["local-hostname"] != "on" {
		t.Errorf("%v", meta)
	}
	if network := fmt.Sprint(load("network-config")); network != "map[ethernets:map[nic0:map[dhcp4:true match:map[name:e*] nameservers:map[search:[no]]]] version:2]" {
		t.Errorf("%s", network)
	}
}

func BenchmarkImage(b *testing.B) {
	files := cloudinit.Files{"user-data": []byte("#cloud-config\nhostname: a\n"), "meta-data": []byte("instance-id: a\n"), "network-config": []byte("version: 2\n")}
	for b.Loop() {
		if _, err := cloudinit.Image(files); err != nil {
			b.Fatal(err)
		}
	}
}
