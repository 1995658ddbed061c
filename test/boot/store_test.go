package boot

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"elstore/export"
	"elstore/test/need"
	"elstore/test/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// client is who owns the volumes and attaches them.
const client = "00000000000000000000000000000001"

// store is a running server.
type store struct{ *rig.Server }

// startStore starts a server with one pool, on a machine that can attach what it exports.
func startStore(t *testing.T) store {
	t.Helper()
	need.Program(t, "qemu-img", "qemu-storage-daemon", "qemu-system-x86_64")
	need.File(t, "/usr/share/doc/qemu-block-extra", "QEMU's iSCSI driver is in the package qemu-block-extra")
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	return store{rig.Start(t, root, "--fetch-private")}
}

// do asks for something that has to be answered so, and decodes the answer into v unless that is nil.
func (s store) do(t *testing.T, method, path, body string, status int, v any) {
	t.Helper()
	answer, err := s.Do(t.Context(), method, path, strings.NewReader(body), nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status != status {
		t.Fatalf("%s %s: %d %s, want %d", method, path, answer.Status, answer.Body, status)
	}
	if v != nil {
		answer.Into(t, v)
	}
}

func (s store) post(t *testing.T, path string, body map[string]any, v any) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	s.do(t, http.MethodPost, path, string(data), 200, v)
}

// attach exports a volume, and returns what QEMU needs to attach it, and its node's name.
func (s store) attach(t *testing.T, id string) (options []string, node string) {
	t.Helper()
	var a export.Access
	s.post(t, "/export", map[string]any{"client_uid": client, "volume_id": id}, &a)
	var n struct {
		Name string `json:"node-name"`
	}
	if err := json.Unmarshal(a.Blockdev, &n); err != nil || n.Name == "" {
		t.Fatalf("%s: %v", a.Blockdev, err)
	}
	return []string{"-object", string(a.Object), "-blockdev", string(a.Blockdev)}, n.Name
}

// encoded is JSON as it stands in a path.
func encoded(document []byte) string { return base64.URLEncoding.EncodeToString(document) }
