package e2e

import (
	"strings"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
)

// A machine whose volume lies in a pool of two servers passes to its other host through the server that exports it, and through the
// other only with a word about why not.
func TestMigrationBetweenServers(t *testing.T) {
	const bob = "00000000000000000000000000000b0b"
	need.Program(t, "qemu-img", "qemu-storage-daemon")
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{"shared": true}`)
	one := rig.Start(t, root, "--rescan", "100ms")
	two := rig.Start(t, root, "--rescan", "100ms", "--state", t.TempDir())
	for format, why := range map[string]string{"raw": "right to write", "qcow2": "qcow2"} {
		t.Run(format, func(t *testing.T) {
			id := vid(t, post(t, one, "/create", map[string]any{"creatorID": alice, "name": "disk", "size": 0.01, "format": format}, 200))
			eventually(t, func() string {
				if a, err := two.Post(t.Context(), "/info", map[string]any{"volume_id": id}); err != nil || a.Status != 200 {
					return "the other server does not see the volume"
				}
				return ""
			})
			exported(t, one, id)
			pass := map[string]any{"volume_id": id, "client_uid": alice, "destination": map[string]any{"client_uid": bob}}
			a := post(t, two, "/livemigration/prepare", pass, 409)
			for _, say := range []string{one.Portal, why, "VolumeAlreadyExported"} {
				if !strings.Contains(string(a.Body), say) {
					t.Errorf("%s does not say %q", a.Body, say)
				}
			}
			post(t, one, "/livemigration/prepare", pass, 200)
			post(t, two, "/export", map[string]any{"volume_id": id, "client_uid": bob}, 409)
			post(t, one, "/livemigration/revert", map[string]any{"volume_id": id}, 200)
			post(t, one, "/unexport", map[string]any{"volume_id": id, "client_uid": alice}, 200)
			post(t, two, "/export", map[string]any{"volume_id": id, "client_uid": bob}, 200)
			post(t, two, "/unexport", map[string]any{"volume_id": id, "client_uid": bob}, 200)
		})
	}
}
