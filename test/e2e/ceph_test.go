//go:build ceph

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"elstore/test/ceph"
	"elstore/test/need"
	"elstore/test/rig"
)

// onCeph starts a cluster, and a server with one pool on it and one of files.
func onCeph(t *testing.T) (*ceph.Running, *rig.Server, string) {
	t.Helper()
	needISCSI(t)
	cluster := ceph.Start(t)
	root := t.TempDir()
	rig.Pool(t, root, "cluster", cluster.Settings())
	rig.Pool(t, root, "files", `{}`)
	return cluster, rig.Start(t, root, "--rescan", "1s"), root
}

func cephVolume(t *testing.T, s *rig.Server, name string, gb any) string {
	t.Helper()
	return vid(t, post(t, s, "/ceph/create", wish(name, gb), 200))
}

// image returns what the volume's data.rbd names.
func image(t *testing.T, root, id string) string {
	t.Helper()
	return imageIn(t, filepath.Join(root, "cluster"), id)
}

func imageIn(t *testing.T, pool, id string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(pool, "vid."+id+".elimg", "data.rbd"))
	if err != nil {
		t.Fatal(err)
	}
	var ref struct {
		Image string `json:"image"`
	}
	if err := json.Unmarshal(data, &ref); err != nil {
		t.Fatal(err)
	}
	return ref.Image
}

// invalid waits until the pool is valid, or for a reason that says so is not.
func validity(t *testing.T, s *rig.Server, name, reason string) {
	t.Helper()
	eventually(t, func() string {
		a, err := s.Do(t.Context(), "GET", "/pools/"+name, nil, nil)
		if err != nil {
			return err.Error()
		}
		var p struct {
			Valid  bool   `json:"valid"`
			Reason string `json:"reason"`
		}
		a.Into(t, &p)
		if p.Valid != (reason == "") || !strings.Contains(p.Reason, reason) {
			return fmt.Sprintf("pool %s: valid %t, %q; want a reason with %q", name, p.Valid, p.Reason, reason)
		}
		return ""
	})
}

// TestCephVolumeInUse takes a volume on Ceph through an export, as machines use it.
func TestCephVolumeInUse(t *testing.T) {
	cluster, s, root := onCeph(t)
	id := cephVolume(t, s, "web", 0.064)
	m := attach(t, exported(t, s, id))
	m.must("write -P 1 0 4M", "write -P 2 60M 1M", "flush", "read -P 1 0 4M", "read -P 2 60M 1M", "read -P 0 4M 56M")
	m.must("discard 1M 1M", "write -z -u 60M 512", "read -P 0 1M 1M", "read -P 0 60M 512", "write -P 3 1M 64k", "flush")

	// A clone and a download of what is in use, and more room, while it is.
	clone := vid(t, post(t, s, "/clone", map[string]any{"volume_id": id, "creatorID": alice, "name": "copy"}, 200))
	a, err := s.Do(t.Context(), "GET", "/volumes/"+id+"/data", nil, nil)
	if err != nil || a.Status != 200 || len(a.Body) != 64_000_000 || a.Body[0] != 1 || a.Body[1<<20] != 3 {
		t.Errorf("the download: %v, %d, %d bytes", err, a.Status, len(a.Body))
	}
	post(t, s, "/update/resize", map[string]any{"vid": id, "creatorID": alice, "size": 0.128}, 200)
	m.must("write -P 4 0 4M", "flush")

	// Nobody else gets in: the image is locked.
	name := image(t, root, id)
	if out, err := cluster.RBD(t.Context(), "bench", ceph.Pool+"/"+name, "--io-type", "write", "--io-total", "4K", "--io-size", "4K"); err == nil {
		t.Errorf("another client could write: %s", out)
	}

	// The server dies and comes back: the machine sees a pause.
	s.Kill()
	again := rig.Start(t, root, "--rescan", "1s", "--listen", strings.TrimPrefix(s.URL, "http://"), "--iscsi-listen", s.Portal)
	m.must("read -P 4 0 4M", "write -P 5 8M 1M", "flush", "read -P 5 8M 1M")

	n := attach(t, exported(t, again, clone))
	n.must("read -P 1 0 1M", "read -P 3 1M 64k", "read -P 0 8M 4M")
	n.off()
	m.off()
	for _, volume := range []string{id, clone} {
		post(t, again, "/unexport", map[string]any{"volume_id": volume, "client_uid": alice}, 200)
		post(t, again, "/destroy", map[string]any{"volume_id": volume, "purge": true}, 200)
	}
	left, err := cluster.RBD(t.Context(), "ls", ceph.Pool)
	trash, terr := cluster.RBD(t.Context(), "trash", "ls", ceph.Pool)
	if err != nil || terr != nil || strings.TrimSpace(string(left)+string(trash)) != "" {
		t.Errorf("left on the cluster: %s%s %v %v", left, trash, err, terr)
	}
}

// TestCephCredentials has QEMU open a volume with nothing but what the credentials say.
func TestCephCredentials(t *testing.T) {
	cluster, s, root := onCeph(t)
	if out, err := try(t, "qemu-img", "info", "rbd:x/y:conf=/dev/null"); err != nil && strings.Contains(out, "Unknown protocol") {
		need.Program(t, "the RBD driver of QEMU (qemu-block-extra)")
	}
	parent := cephVolume(t, s, "web", 0.016)
	id := vid(t, post(t, s, "/clone", map[string]any{"volume_id": parent, "creatorID": alice, "name": "copy"}, 200))
	other := cephVolume(t, s, "other", 0.016)
	var a attachment
	post(t, s, "/ceph/credentials", map[string]any{"volume_id": id, "client_uid": alice}, 200).Into(t, &a)
	m := attach(t, a)
	m.must("write -P 7 0 1M", "flush", "read -P 7 0 1M")

	// It has the lock now, so that nobody is let in over iSCSI, and no other image.
	post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice}, 409)
	foreign := strings.ReplaceAll(string(a.Blockdev), image(t, root, id), image(t, root, other))
	if out, err := try(t, "qemu-img", "info", "--object", string(a.Object), "json:"+foreign); err == nil {
		t.Errorf("the credentials open another image: %s", out)
	}
	m.off()
	again := attach(t, exportedSoon(t, s, id))
	again.must("read -P 7 0 1M")
	again.off()
	post(t, s, "/unexport", map[string]any{"volume_id": id, "client_uid": alice}, 200)
	post(t, s, "/destroy", map[string]any{"volume_id": id, "purge": true}, 200)
	if users, err := cluster.Ceph(t.Context(), "auth", "ls"); err != nil || strings.Contains(string(users), "client.elstore.") {
		t.Errorf("users of a volume that is gone are there: %v\n%s", err, users)
	}
}

// exportedSoon exports a volume as soon as who had it is known to be gone, which the cluster takes half a minute to say.
func exportedSoon(t *testing.T, s *rig.Server, id string) (a attachment) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		got, err := s.Post(t.Context(), "/export", map[string]any{"volume_id": id, "client_uid": alice})
		if err != nil {
			t.Fatal(err)
		}
		if got.Status == 200 {
			got.Into(t, &a)
			return a
		}
		if got.Status != 409 || time.Now().After(deadline) {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(time.Second):
		}
	}
}

// TestCephSettings has pools with everything that can be wrong, and one beside them that is right.
func TestCephSettings(t *testing.T) {
	cluster := ceph.Start(t)
	ctx := t.Context()
	if _, err := cluster.Ceph(ctx, "auth", "get-or-create", "client.reader", "mon", "allow r", "-o", filepath.Join(cluster.Dir, "reader.keyring")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wrong := write("wrong.keyring", "[client.admin]\n\tkey = AQBkkhRnAAAAABAAfPGP7nd9GyFbbBYxHxVbTw==\n")
	garbage := write("garbage.conf", "[[[ this is no configuration\n")
	nobody := write("nobody.conf", "[global]\nmon_host = [v2:127.0.0.1:1]\n")
	settings := func(pool, conf, user, keyring string) string {
		data, err := json.Marshal(map[string]any{"ceph": map[string]any{"pool": pool, "conf": conf, "user": user, "keyring": keyring}})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	root := t.TempDir()
	reasons := map[string]string{"right": "", "files": ""}
	rig.Pool(t, root, "files", `{}`)
	rig.Pool(t, root, "right", cluster.Settings())
	for name, tt := range map[string]struct{ settings, reason string }{
		"no-conf":      {settings(ceph.Pool, dir+"/none", "admin", cluster.Keyring()), "can't be read"},
		"garbage":      {settings(ceph.Pool, garbage, "admin", cluster.Keyring()), "garbage.conf"},
		"no-keyring":   {settings(ceph.Pool, cluster.Conf(), "admin", dir+"/none"), "keyring"},
		"wrong-key":    {settings(ceph.Pool, cluster.Conf(), "admin", wrong), "doesn't let in client.admin"},
		"no-user":      {settings(ceph.Pool, cluster.Conf(), "ghost", cluster.Keyring()), "client.ghost"},
		"no-pool":      {settings("nowhere", cluster.Conf(), "admin", cluster.Keyring()), `no pool "nowhere"`},
		"no-rights":    {settings(ceph.Pool, cluster.Conf(), "reader", filepath.Join(cluster.Dir, "reader.keyring")), "is not allowed to"},
		"no-monitor":   {settings(ceph.Pool, nobody, "admin", cluster.Keyring()), "doesn't answer"},
		"not-a-number": {`{"ceph": {"pool": 1}}`, "pool"},
	} {
		rig.Pool(t, root, name, tt.settings)
		reasons[name] = tt.reason
	}
	s := rig.Start(t, root, "--rescan", "1s")
	for name, reason := range reasons {
		validity(t, s, name, reason)
	}
	post(t, s, "/create", wish("file", 0.001), 200)
	cephVolume(t, s, "web", 0.001)
	// What was wrong is set right, and the server sees it.
	if err := os.WriteFile(filepath.Join(root, "no-pool", "settings.json"), []byte(cluster.Settings()), 0o600); err != nil {
		t.Fatal(err)
	}
	validity(t, s, "no-pool", "")
}

// TestCephFrozen stops the cluster under a machine that writes: it sees a pause, callers get an answer in time, other pools notice
// nothing, and when the cluster is back all goes on.
func TestCephFrozen(t *testing.T) {
	for _, tt := range []struct {
		name string
		all  bool // the monitor too
	}{{"OSD", false}, {"everything", true}} {
		t.Run(tt.name, func(t *testing.T) { frozen(t, tt.all) })
	}
}

func frozen(t *testing.T, all bool) {
	cluster, s, root := onCeph(t)
	id, idle := cephVolume(t, s, "web", 0.064), cephVolume(t, s, "idle", 0.001)
	m := attach(t, exported(t, s, id))
	m.must("write -P 1 0 1M", "flush")
	wrote := make(chan error, 1)
	cluster.Freeze(all)
	defer cluster.Thaw()
	go func() {
		var commands []string
		for i := range 16 {
			commands = append(commands, fmt.Sprintf("aio_write -P 2 %dM 1M", i))
		}
		out, err := m.io(append(commands, "aio_flush", "flush")...)
		if err == nil && (strings.Contains(out, "failed") || strings.Contains(out, "error")) {
			err = fmt.Errorf("a write failed: %s", out)
		}
		wrote <- err
	}()
	validity(t, s, "cluster", "Ceph")
	const patience = 2 * time.Minute // the longest that any call may take, and more than a loaded machine adds
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	calls := map[string]any{
		"/ceph/create":   wish("n", 0.001),
		"/update/resize": map[string]any{"vid": idle, "creatorID": alice, "size": 0.002},
		"/destroy":       map[string]any{"volume_id": idle, "purge": true},
	}
	if !all { // it waits for the machine's requests half a minute, which once is enough
		calls["/clone"] = map[string]any{"volume_id": id, "creatorID": alice, "name": "of what is in use"}
	}
	for path, body := range calls {
		if a, err := s.Post(ctx, path, body); err != nil || a.Status < 500 {
			t.Errorf("%s of a cluster that does not answer: %d %s, %v", path, a.Status, a.Body, err)
		}
	}
	file := vid(t, post(t, s, "/create", map[string]any{"creatorID": alice, "name": "file", "size": 0.001, "pool": "files"}, 200))
	f := attach(t, exported(t, s, file))
	f.must("write -P 9 0 64k", "flush", "read -P 9 0 64k")
	f.off()
	select {
	case err := <-wrote:
		t.Fatalf("the writes ended while nothing could be written: %v", err)
	default:
	}
	cluster.Thaw()
	select {
	case err := <-wrote:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the writes did not go on")
	}
	m.must("read -P 2 0 16M", "write -P 3 20M 1M", "flush", "read -P 3 20M 1M")
	validity(t, s, "cluster", "")
	post(t, s, "/update/resize", map[string]any{"vid": idle, "creatorID": alice, "size": 0.002}, 200)
	if volumes := volumesIn(t, filepath.Join(root, "cluster")); len(volumes) != 2 {
		t.Errorf("in the pool there are %q", volumes)
	}
}

// TestCephDownAtStart has a server that starts before its cluster does.
func TestCephDownAtStart(t *testing.T) {
	cluster := ceph.Start(t)
	root := t.TempDir()
	rig.Pool(t, root, "cluster", cluster.Settings())
	rig.Pool(t, root, "files", `{}`)
	first := rig.Start(t, root, "--rescan", "1s")
	id := cephVolume(t, first, "web", 0.001)
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	cluster.Freeze(true)
	defer cluster.Thaw()
	s := rig.Start(t, root, "--rescan", "1s")
	validity(t, s, "cluster", "doesn't answer")
	validity(t, s, "files", "")
	post(t, s, "/create", wish("file", 0.001), 200)
	cluster.Thaw()
	validity(t, s, "cluster", "")
	post(t, s, "/info", map[string]any{"volume_id": id}, 200)
	post(t, s, "/destroy", map[string]any{"volume_id": id, "purge": true}, 200)
}

// TestCephSnapshots has somebody else make a snapshot, which must not be lost with the volume.
func TestCephSnapshots(t *testing.T) {
	cluster, s, root := onCeph(t)
	id := cephVolume(t, s, "web", 0.001)
	name := ceph.Pool + "/" + image(t, root, id) + "@theirs"
	if _, err := cluster.RBD(t.Context(), "snap", "create", name); err != nil {
		t.Fatal(err)
	}
	a := post(t, s, "/destroy", map[string]any{"volume_id": id, "purge": true}, 409)
	if !strings.Contains(string(a.Body), "theirs") {
		t.Errorf("refused with %s", a.Body)
	}
	post(t, s, "/destroy", map[string]any{"volume_id": id}, 200)
	post(t, s, "/trash/restore", map[string]any{"volume_id": id}, 200)
	if _, err := cluster.RBD(t.Context(), "snap", "rm", name); err != nil {
		t.Fatal(err)
	}
	post(t, s, "/destroy", map[string]any{"volume_id": id, "purge": true}, 200)
}
