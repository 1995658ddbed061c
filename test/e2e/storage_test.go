package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
)

func remount(t *testing.T, dir, how string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+how, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestPoolBecomesReadOnly(t *testing.T) {
	root := need.FS(t, "ext4")
	pool := rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root, "--state", t.TempDir(), "--rescan", "100ms")
	defer s.Kill() // before the file system goes
	id := vid(t, post(t, s, "/create", wish("v", 0.01), 200))
	remount(t, root, "ro")
	for path, body := range map[string]map[string]any{
		"/update":        {"vid": id, "creatorID": alice, "name": "x"},
		"/update/resize": {"vid": id, "creatorID": alice, "size": 0.02},
		"/destroy":       {"volume_id": id},
	} {
		a, err := s.Post(t.Context(), path, body)
		if err != nil || a.Status != 503 {
			t.Errorf("%s: %d %s %v, want 503", path, a.Status, a.Body, err)
		}
	}
	eventually(t, func() string {
		if a, err := s.Post(t.Context(), "/create", wish("w", 0.01)); err != nil || a.Status != 507 {
			return string(a.Body)
		}
		return ""
	})
	if a := post(t, s, "/info", map[string]any{"volume_id": id}, 200); !strings.Contains(string(a.Body), `"name":"v"`) {
		t.Errorf("%s", a.Body)
	}
	remount(t, root, "rw")
	eventually(t, func() string {
		if a, err := s.Post(t.Context(), "/create", wish("w", 0.01)); err != nil || a.Status != 200 {
			return string(a.Body)
		}
		return ""
	})
	post(t, s, "/update", map[string]any{"vid": id, "creatorID": alice, "name": "x"}, 200)
	if n := len(volumesIn(t, pool)); n != 2 {
		t.Errorf("%d volumes", n)
	}
}

func TestDiskFillsInTheMiddle(t *testing.T) {
	need.Program(t, "qemu-img")
	root := need.FS(t, "ext4")
	pool := rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root, "--state", t.TempDir())
	defer s.Kill()
	id := vid(t, post(t, s, "/create", map[string]any{"creatorID": alice, "name": "v", "size": 0.3, "preallocation": "full"}, 200))
	// Somebody else's file takes what is left but for 200 MB, where a copy of 300 MB has no room.
	fill := filepath.Join(root, "fill")
	free := strings.Fields(run(t, "df", "--output=avail", "-B1", root))[1]
	run(t, "fallocate", "-l", free, fill)
	run(t, "truncate", "-s", "-200M", fill)
	for path, body := range map[string]map[string]any{
		"/update/convert": {"vid": id, "creatorID": alice, "format": "qcow2"},
		"/clone":          {"volume_id": id, "creatorID": alice, "name": "c"},
		"/create":         {"creatorID": alice, "name": "w", "size": 0.4, "preallocation": "falloc"},
		"/update/resize":  {"vid": id, "creatorID": alice, "size": 0.7, "preallocation": "full"},
	} {
		a, err := s.Post(t.Context(), path, body)
		if err != nil || a.Status != 507 {
			t.Errorf("%s: %d %s %v, want 507", path, a.Status, a.Body, err)
		}
	}
	// The file system fills while the copy runs: nobody could know before.
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-o", "remount,rw", root)
	answered := make(chan rig.Answer, 1)
	go func() {
		a, err := s.Post(t.Context(), "/create", map[string]any{"creatorID": alice, "name": "w", "size": 0.35, "preallocation": "full"})
		if err != nil {
			t.Error(err)
		}
		answered <- a
	}()
	eventually(t, func() string {
		if half, _ := filepath.Glob(pool + "/.vid*/data.img"); len(half) == 0 && len(answered) == 0 {
			return "the volume does not begin"
		}
		return ""
	})
	free = strings.Fields(run(t, "df", "--output=avail", "-B1", root))[1]
	run(t, "sh", "-c", "fallocate -l "+free+" "+fill+" || dd if=/dev/zero of="+fill+" bs=1M status=none || true")
	if a := <-answered; a.Status != 507 && a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	} else if a.Status == 200 {
		t.Log("the volume was faster than the disk filled")
		post(t, s, "/destroy", map[string]any{"volume_id": vid(t, a), "purge": true}, 200) // it has taken the room for what follows
	} else if n := len(volumesIn(t, pool)); n != 1 {
		t.Errorf("%d volumes, or halves of them", n)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	post(t, s, "/update/convert", map[string]any{"vid": id, "creatorID": alice, "format": "qcow2"}, 200)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}
