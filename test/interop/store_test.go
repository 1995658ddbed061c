package interop

import (
	"encoding/json"
	"maps"
	"testing"

	"elstore/export"
	"elstore/test/rig"
)

// client is who owns the volumes and attaches them.
const client = "00000000000000000000000000000001"

// store is `elstore serve` with one pool.
type store struct {
	*rig.Server
	root string
}

func startStore(t *testing.T) *store {
	t.Helper()
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	return &store{rig.Start(t, root), root}
}

// restart starts the server again, after it ended, where initiators look for it.
func (s *store) restart(t *testing.T) {
	t.Helper()
	s.Server = rig.Start(t, s.root, "--iscsi-listen", s.Portal)
}

// post asks for something that has to succeed, and decodes the answer into v unless that is nil.
func (s *store) post(t *testing.T, path string, body map[string]any, v any) {
	t.Helper()
	answer, err := s.Post(t.Context(), path, body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status != 200 {
		t.Fatalf("%s %v: %d %s", path, body, answer.Status, answer.Body)
	}
	if v != nil {
		answer.Into(t, v)
	}
}

// gb is a number of bytes as the API takes sizes.
func gb(bytes int64) float64 { return float64(bytes) / 1e9 }

// create makes a volume and returns its id.
func (s *store) create(t *testing.T, format string, bytes int64) string {
	t.Helper()
	var made struct {
		VID string `json:"vid"`
	}
	s.post(t, "/create", map[string]any{"creatorID": client, "name": format, "format": format, "size": gb(bytes)}, &made)
	return made.VID
}

// export exports a volume to the client, with these settings, and returns how it is attached.
func (s *store) export(t *testing.T, id string, settings map[string]any) export.Access {
	t.Helper()
	body := map[string]any{"client_uid": client, "volume_id": id}
	maps.Copy(body, settings)
	var a export.Access
	s.post(t, "/export", body, &a)
	return a
}

// counts returns what came through the export of a volume.
func (s *store) counts(t *testing.T, id string) export.Counts {
	t.Helper()
	var list []export.Counts
	s.post(t, "/exports", map[string]any{"client_uid": client, "volume_id": id}, &list)
	if len(list) != 1 {
		t.Fatalf("volume %s has %d exports", id, len(list))
	}
	return list[0]
}

// nodeName is what QEMU calls the disk of an answer's blockdev.
func nodeName(t *testing.T, a export.Access) string {
	t.Helper()
	var node struct {
		Name string `json:"node-name"`
	}
	if err := json.Unmarshal(a.Blockdev, &node); err != nil || node.Name == "" {
		t.Fatalf("%s: %v", a.Blockdev, err)
	}
	return node.Name
}
