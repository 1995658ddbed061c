package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/rig"
)

// What disagrees about exports is seen with a server and without.
func TestDoctorSeesExports(t *testing.T) {
	root := t.TempDir()
	pool := rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root)
	id := vid(t, post(t, s, "/create", wish("disk", 0.001), 200))
	a := exported(t, s, id)
	doctor := func(problems bool, says ...string) {
		t.Helper()
		out, err := try(t, rig.Binary(t), "doctor", "--root", root)
		if (err != nil) != problems {
			t.Errorf("doctor: %v\n%s", err, out)
		}
		for _, say := range says {
			if !strings.Contains(out, say) {
				t.Errorf("%q does not say %q", out, say)
			}
		}
	}
	doctor(false, "all is well")
	s.Kill()
	doctor(false)
	volume := filepath.Join(pool, "vid."+id+".elimg")
	if err := os.Remove(filepath.Join(volume, a.Target+".exported")); err != nil {
		t.Fatal(err)
	}
	doctor(false, "warning", "without the marker "+a.Target)
	if err := os.WriteFile(filepath.Join(volume, ".export", "exports.json"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	doctor(true, "problem", "can't be read", "backup")
	// The server says the same, and lets nobody in.
	s = rig.Start(t, root)
	if a := post(t, s, "/exports", map[string]any{"orphans": 1}, 200); !strings.Contains(string(a.Body), "can't be read") || !strings.Contains(string(a.Body), id) {
		t.Errorf("%s", a.Body)
	}
	post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice}, 503)
}
