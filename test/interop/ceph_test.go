//go:build ceph

package interop

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"elstore/test/ceph"
	"elstore/test/guest"
	"elstore/test/need"
	"elstore/test/rig"
)

// stoppage is how long the cluster's OSD hangs. It is what is tested: less than the 30 s after which a Linux guest asks about a command.
const stoppage = 20 * time.Second

// TestCephStoppedUnderGuest stops the OSD under a guest that writes files to an image on the cluster and syncs each. The guest sees a pause
// and no error, and all that it had synced is in the image, as the cluster's own tool reads it.
func TestCephStoppedUnderGuest(t *testing.T) {
	need.Program(t, "rbd", "debugfs", "e2fsck")
	guest.Need(t)
	cluster := ceph.Start(t)
	root := t.TempDir()
	rig.Pool(t, root, "pool", cluster.Settings())
	s := &store{rig.Start(t, root), root}
	g := guest.Boot(t, "iqn.2026-01.org.example:a")
	d := &exportedDisk{store: s, guest: g, id: s.create(t, "rbd", 256*mib)}
	g.Run(t, "echo node.startup = manual >/etc/iscsi/iscsid.conf")
	d.attach(t, nil)
	g.Run(t, "dmesg -c >/dev/null")
	w := startWriter(t, g, d.disk)
	w.more(t)

	cluster.Freeze(false)
	defer cluster.Thaw()
	over := time.After(stoppage)
	before := w.synced(t)
	select {
	case <-over:
	case <-t.Context().Done():
	}
	after := w.synced(t)
	cluster.Thaw()
	if after > before+1 { // one may have been on its way
		t.Errorf("%d files were synced while the OSD was stopped, which had %d", after, before)
	}
	w.more(t)
	w.finish(t)
	if files := w.synced(t); files < before+5 {
		t.Errorf("%d files were synced in the end, and %d when the OSD stopped", files, before)
	}
	quiet(t, g)
	sums := g.Run(t, w.script("cat /tmp/$disk.synced"))
	d.logout(t)
	s.post(t, "/unexport", map[string]any{"client_uid": client, "volume_id": d.id}, nil)
	inImage(t, exportedByRBD(t, cluster), "/mnt/"+d.disk+"/", sums)
}

// synced returns how many files the guest has synced.
func (w *fileWriter) synced(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(w.guest.Run(t, w.script("wc -l </tmp/$disk.synced")))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// exportedByRBD returns a copy of the only image on a cluster, which the command rbd makes.
func exportedByRBD(t *testing.T, cluster *ceph.Running) string {
	t.Helper()
	list, err := cluster.RBD(t.Context(), "ls", ceph.Pool)
	if err != nil {
		t.Fatal(err)
	}
	images := strings.Fields(string(list))
	if len(images) != 1 {
		t.Fatalf("on the cluster there are the images %q", images)
	}
	path := filepath.Join(t.TempDir(), "image")
	if _, err := cluster.RBD(t.Context(), "export", "--no-progress", ceph.Pool+"/"+images[0], path); err != nil {
		t.Fatal(err)
	}
	return path
}

// inImage checks that the ext4 in an image is whole, and that its files have these sums, as md5sum writes them for where the guest had
// mounted it.
func inImage(t *testing.T, image, mounted, sums string) {
	t.Helper()
	must(t, "e2fsck", "-fn", image)
	dir := filepath.Join(t.TempDir(), "files")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	must(t, "debugfs", "-R", "rdump / "+dir, image)
	list := filepath.Join(t.TempDir(), "sums")
	if err := os.WriteFile(list, []byte(strings.ReplaceAll(sums, mounted, dir+"/")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "md5sum", "--quiet", "-c", list)
}
