package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"elstore/test/need"
	"elstore/test/rig"
)

// attachment is what /export answers.
type attachment struct {
	URI      string          `json:"uri"`
	Target   string          `json:"target"`
	Portals  []string        `json:"portals"`
	User     string          `json:"user"`
	Secret   string          `json:"secret"`
	Object   json.RawMessage `json:"object"`
	Blockdev json.RawMessage `json:"blockdev"`
	ISCSIAdm []string        `json:"iscsiadm"`
	Socket   string          `json:"socket"`
	Keys     []string        `json:"keys"`
	TLS      struct {
		Dir string `json:"dir"`
	} `json:"tls"`
}

func exported(t *testing.T, s *rig.Server, id string) (a attachment) {
	t.Helper()
	post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice}, 200).Into(t, &a)
	return a
}

// output runs a program, which has to end well, and returns what it prints.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	text, err := try(t, program, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, text)
	}
	return text
}

func try(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	return string(out), err
}

// needISCSI skips where QEMU has no initiator of its own.
func needISCSI(t *testing.T) {
	t.Helper()
	need.Program(t, "qemu-img", "qemu-io", "qemu-storage-daemon", "iscsi-inq")
	if out, err := try(t, "qemu-img", "info", "iscsi://127.0.0.1:1/x/0"); err != nil && strings.Contains(out, "Unknown protocol") {
		need.Program(t, "the iSCSI driver of QEMU (qemu-block-extra)")
	}
}

// machine is a storage daemon of QEMU's that has attached a volume with exactly what /export said.
type machine struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  bytes.Buffer
	nbd  string
	done chan struct{}
}

func attach(t *testing.T, a attachment) *machine {
	t.Helper()
	var node struct {
		Name string `json:"node-name"`
	}
	if err := json.Unmarshal(a.Blockdev, &node); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nbd") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	m := &machine{t: t, nbd: "nbd+unix:///v?socket=" + socket, done: make(chan struct{})}
	var object []string
	if len(a.Object) > 0 {
		object = []string{"--object", string(a.Object)}
	}
	m.cmd = exec.Command("qemu-storage-daemon", append(object, "--blockdev", string(a.Blockdev),
		"--nbd-server", "addr.type=unix,addr.path="+socket, "--export", "type=nbd,id=e,name=v,writable=on,node-name="+node.Name)...)
	m.cmd.Stderr, m.cmd.Stdout = &m.log, &m.log
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(m.done)
		_ = m.cmd.Wait()
	}()
	t.Cleanup(m.off)
	eventually(t, func() string {
		select {
		case <-m.done:
			t.Fatalf("it does not attach: %s", m.log.String())
		default:
		}
		conn, err := net.Dial("unix", socket) // it may be there before it listens
		if err != nil {
			return fmt.Sprintf("the volume is not attached: %v", err)
		}
		conn.Close()
		return ""
	})
	return m
}

func (m *machine) off() {
	_ = m.cmd.Process.Kill()
	if err := rig.Gone(m.cmd.Process.Pid, m.done); err != nil {
		m.t.Error(err)
	}
}

// io runs commands of qemu-io in the machine.
func (m *machine) io(commands ...string) (string, error) {
	args := []string{"-f", "raw"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return try(m.t, "qemu-io", append(args, m.nbd)...)
}

func (m *machine) must(commands ...string) {
	m.t.Helper()
	out, err := m.io(commands...)
	if err != nil || strings.Contains(out, "failed") || strings.Contains(out, "error") {
		m.t.Fatalf("%q: %v\n%s", commands, err, out)
	}
}

// backend is where a volume's content lies.
type backend struct {
	format   string
	settings string // of its pool
}

// onFiles are the backends that need nothing but files.
var onFiles = []backend{{"raw", `{}`}, {"qcow2", `{}`}}

// onEach tests every one of them.
func onEach(t *testing.T, backends []backend, test func(*testing.T, backend)) {
	for _, b := range backends {
		t.Run(b.format, func(t *testing.T) { test(t, b) })
	}
}

// disk makes a volume of 20 MB there.
func (b backend) disk(t *testing.T, s *rig.Server, name string) string {
	t.Helper()
	return vid(t, post(t, s, "/create", map[string]any{"creatorID": alice, "name": name, "size": 0.02, "format": b.format}, 200))
}

// A machine attaches a volume with what /export said, does not notice that the server dies and starts again, and loses the
// volume with unexport.
func TestMachineKeepsItsVolume(t *testing.T) { onEach(t, onFiles, machineKeepsItsVolume) }

func machineKeepsItsVolume(t *testing.T, b backend) {
	needISCSI(t)
	root := t.TempDir()
	rig.Pool(t, root, "pool", b.settings)
	s := rig.Start(t, root)
	id := b.disk(t, s, "disk")
	a := exported(t, s, id)
	if out := output(t, "iscsi-inq", a.URI); !strings.Contains(out, "ELSTORE") {
		t.Errorf("iscsi-inq says %s", out)
	}
	if len(a.Portals) != 1 || a.Portals[0] != s.Portal || len(a.ISCSIAdm) != 7 {
		t.Errorf("%+v", a)
	}
	m := attach(t, a)
	m.must("write -P 1 0 1M", "flush", "read -P 1 0 1M", "discard 512k 64k", "write -z 600k 4k", "read -P 0 600k 4k")
	for n, end := range []func(){s.Kill, func() {
		if err := s.Stop(); err != nil {
			t.Errorf("%v\n%s", err, s.Log())
		}
	}} {
		portal := s.Portal
		end()
		s = rig.Start(t, root, "--iscsi-listen", portal)
		m.must("read -P 1 0 512k", fmt.Sprintf("write -P %d 2M 64k", n+2), "flush", fmt.Sprintf("read -P %d 2M 64k", n+2))
		if again := exported(t, s, id); again.Secret != a.Secret || again.User != a.User {
			t.Error("after a restart the secret is another")
		}
	}
	post(t, s, "/unexport", map[string]any{"volume_id": id, "client_uid": alice, "if_idle": true}, 409)
	post(t, s, "/unexport", map[string]any{"volume_id": id, "client_uid": alice}, 200)
	m.off()
	if out, err := try(t, "iscsi-inq", a.URI); err == nil {
		t.Errorf("it lets in still: %s", out)
	}
	post(t, s, "/destroy", map[string]any{"volume_id": id}, 200)
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(s.Log(), a.Secret) {
		t.Error("the log has the secret")
	}
}

// The same over a socket of this host.
func TestLocalMachineKeepsItsVolume(t *testing.T) { onEach(t, onFiles, localMachineKeepsItsVolume) }

func localMachineKeepsItsVolume(t *testing.T, b backend) {
	need.Program(t, "qemu-img", "qemu-io", "qemu-storage-daemon")
	root, err := os.MkdirTemp("", "elstore") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	rig.Pool(t, root, "pool", b.settings)
	s := rig.Start(t, root)
	id := b.disk(t, s, "disk")
	local := map[string]any{"volume_id": id, "client_uid": alice, "type": "local"}
	var a attachment
	post(t, s, "/export", local, 200).Into(t, &a)
	post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice}, 409)
	m := attach(t, a)
	m.must("write -P 1 0 1M", "flush", "read -P 1 0 1M", "discard 512k 64k", "write -z 600k 4k", "read -P 0 600k 4k")
	if out, err := try(t, "qemu-io", "-f", "raw", "-c", "read 0 512", a.URI); err == nil {
		t.Errorf("a second one gets in beside the first: %s", out)
	}
	s.Kill()
	s = rig.Start(t, root)
	m.must("read -P 1 0 512k", "write -P 2 2M 64k", "flush", "read -P 2 2M 64k")
	post(t, s, "/unexport", map[string]any{"volume_id": id, "client_uid": alice, "if_idle": true}, 409)
	post(t, s, "/unexport", map[string]any{"volume_id": id, "client_uid": alice}, 200)
	m.off()
	if out, err := try(t, "qemu-io", "-f", "raw", "-c", "read 0 512", a.URI); err == nil {
		t.Errorf("it lets in still: %s", out)
	}
	for key, value := range map[string]any{"initiator": "iqn.x", "portals": []string{"a:1"}} {
		post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice, "type": "local", key: value}, 400)
	}
	post(t, s, "/export", local, 200)
	if err := s.Stop(); err != nil {
		t.Errorf("%v\n%s", err, s.Log())
	}
}

// A machine opens the image itself, and while it does the export does not end.
func TestMachineOpensTheImage(t *testing.T) {
	need.Program(t, "qemu-img", "qemu-io", "qemu-storage-daemon")
	for _, format := range []string{"raw", "qcow2"} {
		t.Run(format, func(t *testing.T) {
			root := t.TempDir()
			rig.Pool(t, root, "pool", `{}`)
			s := rig.Start(t, root)
			id := vid(t, post(t, s, "/create", map[string]any{"creatorID": alice, "name": "disk", "size": 0.02, "format": format}, 200))
			var a attachment
			post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice, "type": "local", "path": true}, 200).Into(t, &a)
			m := attach(t, a)
			m.must("write -P 1 0 1M", "flush", "read -P 1 0 1M")
			end := map[string]any{"volume_id": id, "client_uid": alice}
			post(t, s, "/unexport", end, 409)
			post(t, s, "/update/resize", map[string]any{"vid": id, "creatorID": alice, "size": 0.03}, 409)
			post(t, s, "/destroy", map[string]any{"volume_id": id}, 409)
			s.Kill()
			s = rig.Start(t, root)
			post(t, s, "/unexport", end, 409)
			m.must("write -P 2 2M 64k", "flush")
			m.off()
			post(t, s, "/unexport", end, 200)
			// What it wrote is the volume's content.
			post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice, "type": "local"}, 200).Into(t, &a)
			attach(t, a).must("read -P 1 0 1M", "read -P 2 2M 64k")
		})
	}
}

// A wrong secret, and another client's, let nobody in.
func TestWrongSecrets(t *testing.T) {
	needISCSI(t)
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root)
	one := exported(t, s, vid(t, post(t, s, "/create", wish("one", 0.001), 200)))
	two := exported(t, s, vid(t, post(t, s, "/create", wish("two", 0.001), 200)))
	for name, uri := range map[string]string{
		"a wrong secret":        strings.Replace(one.URI, one.Secret, "0123456789abcdef", 1),
		"another volume's":      strings.NewReplacer(one.User, two.User, one.Secret, two.Secret).Replace(one.URI),
		"none":                  strings.Replace(one.URI, one.User+"%"+one.Secret+"@", "", 1),
		"a target that is none": strings.Replace(one.URI, one.Target, one.Target+"0", 1),
	} {
		if out, err := try(t, "iscsi-inq", uri); err == nil {
			t.Errorf("%s lets in: %s", name, out)
		}
	}
	output(t, "iscsi-inq", one.URI)
}

func TestManyExportsStandAgain(t *testing.T) {
	need.Program(t, "iscsi-inq")
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root)
	var all []attachment
	for n := range 250 {
		all = append(all, exported(t, s, vid(t, post(t, s, "/create", wish(fmt.Sprint("v", n), 0.001), 200))))
	}
	portal := s.Portal
	s.Kill()
	began := time.Now()
	s = rig.Start(t, root, "--iscsi-listen", portal)
	t.Logf("250 exports stand again %v after the start of the process", time.Since(began))
	for _, i := range []int{0, 100, 249} {
		output(t, "iscsi-inq", all[i].URI)
	}
	a, err := s.Do(t.Context(), "GET", "/exports", nil, nil)
	var list []map[string]any
	if err == nil {
		a.Into(t, &list)
	}
	if err != nil || len(list) != 250 {
		t.Errorf("%d exports stand, %v", len(list), err)
	}
	a, err = s.Do(t.Context(), "GET", "/exports?orphans=1", nil, nil)
	if err != nil || strings.TrimSpace(string(a.Body)) != "[]" {
		t.Errorf("%s, %v", a.Body, err)
	}
}

func TestISCSIOffLoopback(t *testing.T) {
	s := rig.Launch(t, t.TempDir(), "--iscsi-listen", "0.0.0.0:0", "--iscsi-no-chap")
	if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "CHAP") {
		t.Errorf("iSCSI off loopback without CHAP: %v", err)
	}
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	open := rig.Start(t, root, "--iscsi-no-chap", "--iscsi-advertise", "storage.example:3260")
	id := vid(t, post(t, open, "/create", wish("v", 0.001), 200))
	a := post(t, open, "/export", map[string]any{"volume_id": id, "client_uid": alice}, 400)
	if !strings.Contains(string(a.Body), "request was badly formatted. 'initiator'") {
		t.Errorf("%s", a.Body)
	}
	a = post(t, open, "/export", map[string]any{"volume_id": id, "client_uid": alice, "initiator": "iqn.1993-08.org.debian:01:AB"}, 200)
	for _, want := range []string{`"initiator":"iqn.1993-08.org.debian:01:ab"`, `"portals":["storage.example:3260"]`} {
		if !strings.Contains(string(a.Body), want) || strings.Contains(string(a.Body), `"secret"`) {
			t.Errorf("%s has no %s, or a secret", a.Body, want)
		}
	}
}
