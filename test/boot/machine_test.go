package boot

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"elstore/test/guest"
)

const (
	diskSize = 1_000_000_000 // bytes, which is more than the image has
	key      = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEstoreEstoreEstoreEstoreEstoreEstoreEstor tester@example.org"
	address  = "10.0.2.77"
	patience = 15 * time.Minute // for a boot, which takes a minute of two idle processors
)

// report is the script that proves what the machine has become, on its serial line, and turns it off.
const report = `{
echo "PROOF host=$(hostname)"
echo "PROOF file=$(cat /etc/elstore-proof)"
echo "PROOF key=$(cat /home/tester/.ssh/authorized_keys)"
echo "PROOF user=$(id -nG tester)"
echo "PROOF address=$(hostname -I | tr ' ' '\n' | grep -x ` + address + `)"
echo "PROOF id=$(cat /var/lib/cloud/data/instance-id)"
echo "PROOF source=$(sed -n 's/.*"v1": {"datasource": "\([^"]*\)".*/\1/p' /run/cloud-init/status.json; grep -o 'DataSourceNoCloud.*' /run/cloud-init/cloud-id-datasource /var/lib/cloud/instance/datasource)"
echo "PROOF schema=$(cloud-init schema --system 2>&1 | grep -o Valid)"
echo "PROOF root=$(df -B1 --output=size / | tail -n 1)"
} >/dev/ttyS0 2>&1
systemctl poweroff --no-block`

// form is the short form of the machine's seed.
func form(name, proof string) map[string]any {
	return map[string]any{
		"hostname": name,
		"users":    []any{map[string]any{"name": "tester", "groups": []string{"adm"}, "ssh_keys": []string{key}}},
		"files":    []any{map[string]any{"path": "/etc/elstore-proof", "content": proof + "\n", "mode": "0600"}},
		"run":      []string{report},
		"network":  map[string]any{"interface": "eth0", "addresses": []string{address + "/24"}, "gateway": "10.0.2.2"},
	}
}

// publish serves the cloud image as publishers do: a qcow2 image with its checksum in a list beside it.
func publish(t *testing.T) (url string) {
	t.Helper()
	dir := t.TempDir()
	image := filepath.Join(dir, "debian-12.qcow2")
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "convert", "-O", "qcow2", guest.CloudDisk(t), image).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v: %s", err, out)
	}
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	sums := fmt.Sprintf("%x  other.qcow2\n%x  %s\n", sha256.Sum256(nil), sha256.Sum256(data), filepath.Base(image))
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums), 0o600); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	return s.URL + "/" + filepath.Base(image)
}

// boot boots the machine from its disk, with its seed as a CD, and returns what it proved when it is off.
func (s store) boot(t *testing.T, disk, seed string) map[string]string {
	t.Helper()
	options, diskNode := s.attach(t, disk)
	more, seedNode := s.attach(t, seed)
	options = append(append(options, guest.CloudCPU...), more...)
	options = append(options, "-smp", "2", "-m", "640",
		"-device", "virtio-blk-pci,drive="+diskNode, "-device", "virtio-scsi-pci", "-device", "scsi-cd,drive="+seedNode)
	began := time.Now()
	g := guest.BootDisk(t, "cloud", options...)
	select {
	case <-g.Exited():
	case <-time.After(patience):
		g.Off()
		t.Fatalf("the machine is not off after %v:\n%s", patience, last(g.Console()))
	}
	t.Logf("from power on to power off: %v", time.Since(began).Round(time.Second))
	proof := map[string]string{}
	for line := range strings.Lines(g.Console()) {
		if _, what, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "PROOF "); ok {
			name, value, _ := strings.Cut(what, "=")
			proof[name] = value
		}
	}
	if len(proof) == 0 {
		t.Fatalf("the machine proved nothing:\n%s", last(g.Console()))
	}
	return proof
}

// last is the end of what a console said.
func last(text string) string { return text[max(0, len(text)-6000):] }

// A machine boots from a volume made of a cloud image and configures itself from its seed. After the seed is edited the next boot applies
// it.
func TestMachineConfiguresItself(t *testing.T) {
	t.Parallel()
	url := publish(t)
	s := startStore(t)
	var made struct{ VID, Seed string }
	s.post(t, "/cloudinit/create", map[string]any{
		"creatorID": client, "name": "web1", "format": "qcow2", "size": float64(diskSize) / 1e9, "url": url, "seed": form("web1", "first"),
	}, &made)

	first := s.boot(t, made.VID, made.Seed)
	expect(t, first, map[string]string{"host": "web1", "file": "first", "key": key, "user": "tester adm", "address": address, "schema": "Valid"})
	if first["id"] == "" || !strings.Contains(first["source"], "DataSourceNoCloud") {
		t.Errorf("instance %q of %q", first["id"], first["source"])
	}
	var size int64
	if _, err := fmt.Sscan(first["root"], &size); err != nil || size < diskSize*8/10 {
		t.Errorf("the root file system has %q bytes of a disk of %d", first["root"], diskSize)
	}

	var files struct{ Files map[string]string }
	s.post(t, "/cloudinit/render", map[string]any{"seed": form("web2", "second"), "dry_run": true}, &files)
	put := func(status int, v any) {
		t.Helper()
		s.do(t, http.MethodPut, "/cloudinit/"+made.Seed+"/files/user-data?client_uid="+client, files.Files["user-data"], status, v)
	}
	put(409, nil)
	s.post(t, "/unexport", map[string]any{"client_uid": client, "volume_id": made.Seed}, nil)
	var state struct {
		Instance string `json:"instance_id"`
	}
	put(200, &state)
	if state.Instance == first["id"] {
		t.Errorf("the edited seed has the old instance-id %q", state.Instance)
	}
	second := s.boot(t, made.VID, made.Seed)
	expect(t, second, map[string]string{"host": "web2", "file": "second", "key": key, "user": "tester adm", "address": address, "schema": "Valid", "id": state.Instance})
	if err := s.Stop(); err != nil {
		t.Errorf("%v\n%s", err, s.Log())
	}
}

func expect(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
}
