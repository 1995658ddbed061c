package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
)

// keys writes an attachment's keys by running exactly what /export said, and removes them with the test.
func keys(t *testing.T, a attachment) {
	t.Helper()
	if !strings.HasPrefix(a.TLS.Dir, "/run/elstore/keys/") {
		t.Fatalf("the keys go to %q", a.TLS.Dir)
	}
	t.Cleanup(func() {
		os.RemoveAll(a.TLS.Dir)
		os.Remove(filepath.Dir(a.TLS.Dir)) // if it was the last
		os.Remove("/run/elstore")
	})
	for _, line := range a.Keys {
		output(t, "sh", "-ec", line)
	}
	for name, mode := range map[string]os.FileMode{"": 0o700, "client-key.pem": 0o600} {
		if info, err := os.Stat(filepath.Join(a.TLS.Dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// info runs qemu-img with exactly an attachment's lines.
func info(t *testing.T, a attachment) (string, error) {
	t.Helper()
	blockdev := map[string]any{}
	if err := json.Unmarshal(a.Blockdev, &blockdev); err != nil {
		t.Fatal(err)
	}
	delete(blockdev, "node-name") // qemu-img makes its own
	file, _ := blockdev["file"].(map[string]any)
	delete(file, "reconnect-delay") // it would wait for who refuses it
	line, err := json.Marshal(blockdev)
	if err != nil {
		t.Fatal(err)
	}
	return try(t, "qemu-img", "info", "--object", string(a.Object), "json:"+string(line))
}

// A machine attaches a volume over the network with what /export said, does not notice that the server dies and starts again, and
// loses the volume with unexport.
func TestMachineKeepsItsVolumeOverNBD(t *testing.T) { onEach(t, onFiles, machineKeepsItsVolumeOverNBD) }

func machineKeepsItsVolumeOverNBD(t *testing.T, b backend) {
	need.Root(t) // the lines write below /run
	need.Program(t, "qemu-img", "qemu-io", "qemu-storage-daemon")
	root, err := os.MkdirTemp("", "elstore") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	rig.Pool(t, root, "pool", b.settings)
	s := rig.Start(t, root, "--nbd-listen", "127.0.0.1:0")
	id := b.disk(t, s, "disk")
	over := map[string]any{"volume_id": id, "client_uid": alice, "type": "nbd"}
	answer := post(t, s, "/export", over, 200)
	var a attachment
	answer.Into(t, &a)
	if again := post(t, s, "/export", over, 200); string(again.Body) != string(answer.Body) {
		t.Errorf("asked again it answers\n%s, not\n%s", again.Body, answer.Body)
	}
	keys(t, a)
	m := attach(t, a)
	m.must("write -P 1 0 1M", "flush", "read -P 1 0 1M", "discard 512k 64k", "write -z 600k 4k", "read -P 0 600k 4k")
	if out, err := info(t, a); err == nil {
		t.Errorf("a second one gets in beside the first: %s", out)
	}
	if out, err := try(t, "qemu-io", "-f", "raw", "-c", "read 0 512", "nbd+unix:///"+id+"?socket="+a.Socket); err == nil {
		t.Errorf("a second one gets in beside the first: %s", out)
	}
	portal := s.NBD[0]
	s.Kill()
	s = rig.Start(t, root, "--nbd-listen", portal)
	m.must("read -P 1 0 512k", "write -P 2 2M 64k", "flush", "read -P 2 2M 64k")
	if again := post(t, s, "/export", over, 200); string(again.Body) != string(answer.Body) {
		t.Errorf("after a restart it answers\n%s, not\n%s", again.Body, answer.Body)
	}
	post(t, s, "/unexport", map[string]any{"volume_id": id, "client_uid": alice, "if_idle": true}, 409)
	post(t, s, "/unexport", map[string]any{"volume_id": id, "client_uid": alice}, 200)
	m.off()
	if out, err := info(t, a); err == nil {
		t.Errorf("it lets in still: %s", out)
	}
	// A new export has another key, also for the same client.
	var fresh attachment
	post(t, s, "/export", over, 200).Into(t, &fresh)
	if out, err := info(t, a); err == nil {
		t.Errorf("the old key lets in: %s", out)
	}
	keys(t, fresh)
	if out, err := info(t, fresh); err != nil || !strings.Contains(out, "virtual size: 20 M") && !strings.Contains(out, "virtual size: 19") {
		t.Errorf("%v\n%s", err, out)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("%v\n%s", err, s.Log())
	}
	if strings.Contains(s.Log(), "PRIVATE KEY") {
		t.Error("the log has a key")
	}
}

// Who has another volume's key, no key, or asks for another volume, is not let in; nor is who believes the wrong server.
func TestWrongKeysForNBD(t *testing.T) {
	need.Root(t)
	need.Program(t, "qemu-img")
	root, err := os.MkdirTemp("", "elstore") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root, "--nbd-listen", "127.0.0.1:0")
	var list [2]attachment
	for i, name := range []string{"one", "two"} {
		id := vid(t, post(t, s, "/create", wish(name, 0.001), 200))
		post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice, "type": "nbd"}, 200).Into(t, &list[i])
		keys(t, list[i])
	}
	one, two := list[0], list[1]
	if out, err := info(t, one); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	change := func(a attachment, edit func(file map[string]any)) attachment {
		var blockdev map[string]any
		if err := json.Unmarshal(a.Blockdev, &blockdev); err != nil {
			t.Fatal(err)
		}
		file, _ := blockdev["file"].(map[string]any)
		blockdev["file"] = maps.Clone(file)
		edit(blockdev["file"].(map[string]any))
		a.Blockdev, err = json.Marshal(blockdev)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	var of2 struct{ File struct{ Export string } }
	if err := json.Unmarshal(two.Blockdev, &of2); err != nil {
		t.Fatal(err)
	}
	mixed := t.TempDir() // the certificate of one with the key of the other
	for name, from := range map[string]attachment{"ca-cert.pem": one, "client-cert.pem": one, "client-key.pem": two} {
		data, err := os.ReadFile(filepath.Join(from.TLS.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mixed, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	alone := t.TempDir() // no key at all
	data, err := os.ReadFile(filepath.Join(one.TLS.Dir, "ca-cert.pem"))
	if err == nil {
		err = os.WriteFile(filepath.Join(alone, "ca-cert.pem"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	in := func(dir string) attachment {
		a := one
		a.Object = json.RawMessage(strings.Replace(string(one.Object), one.TLS.Dir, dir, 1))
		return a
	}
	for name, a := range map[string]attachment{
		"another volume with its own key": change(one, func(f map[string]any) { f["export"] = of2.File.Export }),
		"no TLS":                          change(one, func(f map[string]any) { delete(f, "tls-creds") }),
		"a mixture":                       in(mixed),
		"no key":                          in(alone),
	} {
		if out, err := info(t, a); err == nil {
			t.Errorf("%s lets in: %s", name, out)
		}
	}
	other := rig.Start(t, t.TempDir(), "--state", filepath.Join(root, "other"), "--nbd-listen", "127.0.0.1:0")
	host, port, _ := strings.Cut(other.NBD[0], ":")
	elsewhere := change(one, func(f map[string]any) { f["server"] = map[string]any{"type": "inet", "host": host, "port": port} })
	if out, err := info(t, elsewhere); err == nil { // which of the two refuses the other first is a race
		t.Errorf("another server is taken for this one: %s", out)
	}
}

// The pen moves over NBD as it does over iSCSI.
func TestPenMovesOverNBD(t *testing.T) {
	need.Root(t)
	need.Program(t, "qemu-img", "qemu-io", "qemu-storage-daemon")
	root, err := os.MkdirTemp("", "elstore") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root, "--nbd-listen", "127.0.0.1:0")
	id := vid(t, post(t, s, "/create", wish("disk", 0.02), 200))
	var was attachment
	post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice, "type": "nbd"}, 200).Into(t, &was)
	keys(t, was)
	here := attach(t, was)
	here.must("write -P 1 0 1M", "flush")
	m := prepared(t, s, id)
	to := m.Volumes[0].attachment
	keys(t, to)
	there := attach(t, to)
	there.must("read -P 1 0 1M")
	here.must("write -P 2 0 64k", "flush")
	migrate(t, s, "revert", map[string]any{"volume_id": id}, 200)
	there.off() // which tries to come back
	if out, err := info(t, to); err == nil {
		t.Errorf("after revert the destination gets in: %s", out)
	}
	here.must("write -P 3 0 64k", "flush")
	m = prepared(t, s, id)
	to = m.Volumes[0].attachment
	keys(t, to)
	there = attach(t, to)
	there.must("write -P 4 1M 64k", "flush")
	refused := func(when string) {
		t.Helper()
		if out, err := here.io("write -P 5 0 64k"); err == nil && !strings.Contains(out, "failed") {
			t.Errorf("%s the first host writes: %s", when, out)
		}
	}
	refused("without the pen")
	portal := s.NBD[0]
	s.Kill()
	s = rig.Start(t, root, "--nbd-listen", portal)
	refused("after a restart")
	there.must("read -P 3 0 64k", "write -P 6 2M 64k", "flush")
	if done := migrate(t, s, "conclude", map[string]any{"volume_id": id}, 200); done.State != "STABLE" || done.Owner != "destination" {
		t.Errorf("%+v", done)
	}
	here.off()
	if out, err := info(t, was); err == nil {
		t.Errorf("the first host gets in still: %s", out)
	}
	there.must("write -P 7 3M 64k", "flush", "read -P 6 2M 64k")
}
