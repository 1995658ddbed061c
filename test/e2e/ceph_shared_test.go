//go:build ceph

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/ceph"
	"elstore/test/guest"
)

// sharedCeph is a pair of servers on one pool of a cluster.
func sharedCeph(t *testing.T) (*ceph.Running, *pair) {
	t.Helper()
	needISCSI(t)
	cluster := ceph.Start(t)
	return cluster, newPair(t, strings.Replace(cluster.Settings(), "{", `{"shared": true, `, 1))
}

// TestCephPenMovesBetweenServers has the image's exclusive lock go with the pen from server to server, each of which dies and comes back.
func TestCephPenMovesBetweenServers(t *testing.T) {
	cluster, p := sharedCeph(t)
	id, was := p.disk("rbd")
	name := imageIn(t, filepath.Join(p.root, "pool"), id)
	locked := func() string {
		t.Helper()
		out, err := cluster.RBD(t.Context(), "lock", "ls", ceph.Pool+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	one := attach(t, was)
	one.must("write -P 1 0 1M", "flush")
	m := p.prepared(id)
	two := attach(t, m.Volumes[0].attachment)
	two.must("read -P 1 0 1M")
	p.crash(0)
	p.crash(1)
	one.must("write -P 2 0 64k", "flush")
	two.must("read -P 2 0 64k")
	before := locked()
	two.must("write -P 3 64k 64k", "flush", "read -P 2 0 64k")
	if after := locked(); before == after || !strings.Contains(before, "auto") || !strings.Contains(after, "auto") {
		t.Errorf("the exclusive lock was\n%s and is\n%s", before, after)
	}
	if out, err := try(t, "iscsi-inq", was.URI); err == nil {
		t.Errorf("the first host gets in without the pen: %s", out)
	}
	p.crash(1)
	p.crash(0)
	two.must("write -P 4 128k 64k", "flush", "read -P 3 64k 64k")
	if done := migrate(t, p.two, "conclude", map[string]any{"migration_id": m.ID}, 200); done.State != "STABLE" || done.Owner != "destination" {
		t.Errorf("%+v", done)
	}
	p.state(p.one, m.ID, "STABLE destination")
	two.must("write -P 5 192k 64k", "flush", "read -P 4 128k 64k")

	// And back, which is reverted after the first host has written.
	m = prepared(t, p.one, id)
	one = attach(t, m.Volumes[0].attachment)
	one.must("write -P 6 256k 64k", "flush")
	if done := migrate(t, p.one, "revert", map[string]any{"migration_id": m.ID, "assert_source_running": true}, 200); done.Owner != "source" {
		t.Errorf("%+v", done)
	}
	two.must("read -P 6 256k 64k", "write -P 7 256k 64k", "flush")
}

// TestCephMachineMovesBetweenServers is TestMachineMovesBetweenServers on a cluster.
func TestCephMachineMovesBetweenServers(t *testing.T) {
	guest.Need(t)
	_, p := sharedCeph(t)
	machineMoves(p, "rbd")
}
