package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"elstore/test/guest"
	"elstore/test/rig"
)

// moving is what /livemigration answers.
type moving struct {
	ID      string `json:"migration_id"`
	State   string `json:"state"`
	Pen     string `json:"pen"`
	Owner   string `json:"owner"`
	Volumes []struct {
		Volume   string            `json:"volume_id"`
		Sessions []json.RawMessage `json:"sessions"`
		attachment
	} `json:"volumes"`
}

// migrate makes a call about a migration.
func migrate(t *testing.T, s *rig.Server, what string, body map[string]any, status int) (m moving) {
	t.Helper()
	a := post(t, s, "/livemigration/"+what, body, status)
	if status == 200 {
		a.Into(t, &m)
	}
	return m
}

// prepared prepares the move of alice's volumes to another host of hers.
func prepared(t *testing.T, s *rig.Server, ids ...string) moving {
	t.Helper()
	return migrate(t, s, "prepare", map[string]any{"volume_ids": ids, "client_uid": alice, "destination": map[string]any{"host": "other"}}, 200)
}

// again ends a server as a crash does, and starts it at the same addresses.
func again(t *testing.T, s *rig.Server, root string) *rig.Server {
	t.Helper()
	portal := s.Portal
	s.Kill()
	return rig.Start(t, root, "--iscsi-listen", portal)
}

// Two hosts have one disk attached: the first writes until the second does, and is refused from then on, whatever happens to the server.
func TestPenMovesOverISCSI(t *testing.T) { onEach(t, onFiles, penMovesOverISCSI) }

func penMovesOverISCSI(t *testing.T, b backend) {
	needISCSI(t)
	root := t.TempDir()
	rig.Pool(t, root, "pool", b.settings)
	s := rig.Start(t, root)
	var ids []string
	for n := range 2 {
		ids = append(ids, b.disk(t, s, fmt.Sprint("disk", n)))
	}
	was := exported(t, s, ids[0])
	one, two := attach(t, was), attach(t, exported(t, s, ids[1]))
	one.must("write -P 1 0 1M", "flush")
	m := prepared(t, s, ids...)
	there := attach(t, m.Volumes[0].attachment)
	there.must("read -P 1 0 1M")
	one.must("write -P 2 0 64k", "flush")
	there.must("read -P 2 0 64k")
	migrate(t, s, "conclude", map[string]any{"migration_id": m.ID}, 412)
	too := attach(t, m.Volumes[1].attachment)
	s = again(t, s, root)
	two.must("write -P 3 0 64k", "flush")
	too.must("read -P 3 0 64k", "write -P 4 1M 64k", "flush")
	for n, refused := range []*machine{one, two} {
		if out, err := refused.io("write -P 5 0 64k"); err == nil && !strings.Contains(out, "failed") {
			t.Errorf("the first host writes to volume %d without the pen: %s", n, out)
		}
	}
	two.must("read -P 4 1M 64k")
	migrate(t, s, "revert", map[string]any{"volume_ids": ids}, 409)
	s = again(t, s, root)
	if out, err := one.io("write -P 5 0 64k"); err == nil && !strings.Contains(out, "failed") {
		t.Errorf("the first host writes after a restart: %s", out)
	}
	there.must("read -P 2 0 64k", "write -P 6 2M 64k", "flush")
	too.must("read -P 4 1M 64k") // it is logged in again
	if done := migrate(t, s, "conclude", map[string]any{"volume_ids": ids}, 200); done.State != "STABLE" || done.Owner != "destination" {
		t.Errorf("%+v", done)
	}
	there.must("write -P 7 3M 64k", "flush")
	again(t, s, root)
	there.must("read -P 7 3M 64k", "read -P 6 2M 64k", "write -P 8 3M 64k", "flush")
	if out, err := try(t, "iscsi-inq", was.URI); err == nil {
		t.Errorf("the first host gets in still: %s", out)
	}
}

// fill writes to an attached volume, 32 writes at a time, until it can't any more.
func fill(t *testing.T, a attachment) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("qemu-img", "bench", "-w", "--pattern=7", "-f", "raw", "-d", "32", "-s", "65536", "-c", "100000000", a.URI)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

// A host that writes as fast as it can, with 32 writes under way, is fenced: not one byte of them lands after the answer.
func TestFencedInTheMiddleOfWriting(t *testing.T) {
	for range 5 {
		onEach(t, onFiles[:1], fencedInTheMiddleOfWriting)
	}
}

func fencedInTheMiddleOfWriting(t *testing.T, b backend) {
	needISCSI(t)
	root := t.TempDir()
	rig.Pool(t, root, "pool", b.settings)
	s := rig.Start(t, root)
	id := b.disk(t, s, "disk")
	cmd := fill(t, exported(t, s, id))
	m := prepared(t, s, id)
	there := attach(t, m.Volumes[0].attachment)
	eventually(t, func() string {
		var list []struct {
			Writes uint64 `json:"write_operations"`
		}
		post(t, s, "/exports", map[string]any{"volume_id": id}, 200).Into(t, &list)
		if len(list) != 2 || list[0].Writes < 200 {
			return fmt.Sprintf("it does not write: %v", list)
		}
		return ""
	})
	began := time.Now()
	if done := migrate(t, s, "conclude", map[string]any{"migration_id": m.ID}, 200); done.State != "STABLE" {
		t.Errorf("%+v", done)
	}
	t.Logf("fenced in %v", time.Since(began))
	// It runs still, or has found out: it can do no harm.
	there.must("read -P 7 0 64k", "write -z 0 19M", "flush")
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	there.must("read -P 0 0 19M")
}

// loop is what the guest does: every block that it writes is read back, and the numbers go on.
const loop = `
(
i=1
while :; do
	printf 'SEQ%010d' $i >/tmp/rec
	dd if=/tmp/rec of=/dev/vda bs=4096 seek=$((i % 2048)) conv=sync,notrunc oflag=direct 2>/dev/null || echo "BAD write $i" >/dev/console
	dd if=/dev/vda bs=4096 skip=$((i % 2048)) count=1 iflag=direct 2>/dev/null | head -c 13 >/tmp/back
	cmp -s /tmp/rec /tmp/back || echo "BAD read $i" >/dev/console
	[ $((i % 10)) = 0 ] && echo "TICK $i" >/dev/console
	i=$((i + 1))
done
) >/dev/null 2>&1 </dev/null &
`

// host is a QEMU process that has a machine, or waits for one.
type host struct {
	*guest.Guest
	monitor *guest.Monitor
	t       *testing.T
}

func newHost(t *testing.T, name string, a attachment, more ...string) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "host-") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var node map[string]any
	if err := json.Unmarshal(a.Blockdev, &node); err != nil {
		t.Fatal(err)
	}
	h := &host{monitor: guest.NewMonitor(t, dir), t: t}
	h.Guest = guest.Boot(t, "iqn.2026-01.org.example:"+name, append(append(h.monitor.Arguments(),
		"-object", string(a.Object), "-blockdev", string(a.Blockdev), "-device", fmt.Sprintf("virtio-blk-pci,drive=%s,write-cache=on", node["node-name"])), more...)...)
	return h
}

var (
	tick = regexp.MustCompile(`TICK (\d+)`)
	bad  = regexp.MustCompile(`BAD .*|I/O error.*|Remounting.*`)
)

// ticks are the numbers that the machine said on this host.
func (h *host) ticks() (list []int) {
	for _, m := range tick.FindAllStringSubmatch(h.Console(), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			h.t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

// goesOn waits until the machine has said some more numbers here.
func (h *host) goesOn() {
	h.t.Helper()
	want := len(h.ticks()) + 3
	patiently(h.t, func() string {
		select {
		case <-h.Exited():
			h.t.Fatalf("the machine is off: %s", h.Console())
		default:
		}
		if n := len(h.ticks()); n < want {
			return fmt.Sprintf("the machine has said %d numbers, not %d: %s", n, want, h.Console())
		}
		return ""
	})
}

// patiently is eventually for what an emulated machine does.
func patiently(t *testing.T, wrong func() string) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	for text := wrong(); text != ""; text = wrong() {
		select {
		case <-deadline:
			t.Fatal(text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// sendTo migrates the machine.
func (h *host) sendTo(uri string) (status string) {
	h.t.Helper()
	h.monitor.Do(h.t, h.Guest, "migrate-set-parameters", map[string]any{"max-bandwidth": 1 << 30, "downtime-limit": 500}, nil)
	h.monitor.Do(h.t, h.Guest, "migrate", map[string]any{"uri": uri}, nil)
	var q struct {
		Status string `json:"status"`
		Error  string `json:"error-desc"`
	}
	patiently(h.t, func() string {
		h.monitor.Do(h.t, h.Guest, "query-migrate", nil, &q)
		switch q.Status {
		case "completed", "failed", "cancelled":
			return ""
		}
		return "the migration is " + q.Status
	})
	if q.Error != "" {
		h.t.Log(q.Error)
	}
	return q.Status
}

// A machine writes and checks every block, and moves to another host meanwhile: its numbers go on, and nothing it reads is wrong. The host
// that it left is refused, also after a restart of the server.
func TestMachineMoves(t *testing.T) {
	needISCSI(t)
	guest.Need(t)
	for _, tt := range []struct {
		format        string
		killed, fails bool
	}{
		{format: "raw"}, {format: "qcow2"}, {format: "raw", killed: true}, {format: "raw", fails: true}, {format: "qcow2", fails: true},
	} {
		t.Run(fmt.Sprintf("%s, killed %t, fails %t", tt.format, tt.killed, tt.fails), func(t *testing.T) {
			root := t.TempDir()
			rig.Pool(t, root, "pool", `{}`)
			s := rig.Start(t, root)
			id := vid(t, post(t, s, "/create", map[string]any{"creatorID": alice, "name": "disk", "size": 0.02, "format": tt.format}, 200))
			a := exported(t, s, id)
			source := newHost(t, "one", a)
			source.Run(t, loop)
			source.goesOn()
			m := prepared(t, s, id)
			socket := filepath.Join(t.TempDir(), "m")
			destination := newHost(t, "two", m.Volumes[0].attachment, "-incoming", "unix:"+socket)
			destination.monitor.Do(t, destination.Guest, "query-status", nil, nil) // it is up, and logged in
			if tt.fails {
				destination.Off()
				if status := source.sendTo("unix:" + socket); status != "failed" {
					t.Errorf("the migration %s", status)
				}
				source.goesOn()
				if done := migrate(t, s, "revert", map[string]any{"migration_id": m.ID}, 200); done.State != "STABLE" || done.Owner != "source" {
					t.Errorf("%+v", done)
				}
				source.goesOn()
				judge(t, source)
				if out, err := try(t, "iscsi-inq", m.Volumes[0].URI); err == nil {
					t.Errorf("the other host gets in still: %s", out)
				}
				return
			}
			if status := source.sendTo("unix:" + socket); status != "completed" {
				t.Fatalf("the migration %s", status)
			}
			destination.goesOn()
			if tt.killed {
				s = again(t, s, root)
				destination.goesOn()
			}
			if done := migrate(t, s, "conclude", map[string]any{"migration_id": m.ID}, 200); done.State != "STABLE" || done.Owner != "destination" {
				t.Errorf("%+v", done)
			}
			for range 2 {
				if out, err := try(t, "iscsi-inq", a.URI); err == nil {
					t.Errorf("the host that it left gets in still: %s", out)
				}
				destination.goesOn()
				s = again(t, s, root)
				destination.goesOn()
			}
			judge(t, source, destination)
		})
	}
}

// judge looks at all that the machine said, on the hosts in their order.
func judge(t *testing.T, hosts ...*host) {
	t.Helper()
	var all []int
	for _, h := range hosts {
		if found := bad.FindAllString(h.Console(), -1); found != nil {
			t.Errorf("the machine says %q", found)
		}
		all = append(all, h.ticks()...)
	}
	for i, n := range all {
		if n != 10*(i+1) {
			t.Fatalf("the machine's numbers are %v", all)
		}
	}
	t.Logf("the machine wrote and checked %d blocks", all[len(all)-1])
}

// Debian's initiator on both hosts: what the first has reserved is the second's with its first write, and the first's again when that is
// reverted.
func TestReservationsMove(t *testing.T) {
	guest.Need(t)
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root)
	id := vid(t, post(t, s, "/create", map[string]any{"creatorID": alice, "name": "disk", "size": 0.02, "bus": "scsi"}, 200))
	// A node that was told of something else instead is asked again.
	persist := func(g *guest.Guest, arguments string) string {
		return g.Run(t, "for try in 1 2 3; do sg_persist "+arguments+" /dev/sda && exit 0; done; exit 1")
	}
	login := func(g *guest.Guest, a attachment) {
		g.Run(t, strings.Join(a.ISCSIAdm, "\n")+"\nuntil [ -b /dev/sda ]; do sleep 0.05; done")
	}
	one, two := guest.Boot(t, "iqn.2026-01.org.example:one"), guest.Boot(t, "iqn.2026-01.org.example:two")
	login(one, exported(t, s, id))
	persist(one, "--out --register --param-sark=abc")
	persist(one, "--out --reserve --param-rk=abc --prout-type=1")
	const write = "dd if=/dev/zero of=/dev/sda bs=64k count=4 oflag=direct"
	m := prepared(t, s, id)
	login(two, m.Volumes[0].attachment)
	if out := persist(two, "--in --read-reservation"); !strings.Contains(out, "Key=0xabc") {
		t.Errorf("before its first write the second host sees %s", out)
	}
	one.Run(t, write)
	two.Run(t, write)
	if out := persist(two, "--in --read-keys"); !strings.Contains(out, "1 registered") || !strings.Contains(out, "0xabc") {
		t.Errorf("after its first write the second host sees %s", out)
	}
	if r := one.Try(t, write); r.Status == 0 {
		t.Errorf("the first host writes without the pen: %s", r.Output)
	}
	persist(two, "--out --release --param-rk=abc --prout-type=1")
	persist(two, "--out --reserve --param-rk=abc --prout-type=1")
	migrate(t, s, "revert", map[string]any{"migration_id": m.ID, "assert_source_running": true}, 200)
	one.Run(t, write)
	if out := persist(one, "--in --read-reservation"); !strings.Contains(out, "Key=0xabc") {
		t.Errorf("after it was reverted the first host sees %s", out)
	}
}

// Without CHAP the two hosts of one client are told apart by their initiators' names.
func TestMigrationWithoutCHAP(t *testing.T) {
	needISCSI(t)
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root, "--iscsi-no-chap")
	id := vid(t, post(t, s, "/create", wish("disk", 0.001), 200))
	const one, two = "iqn.2026-01.org.example:one", "iqn.2026-01.org.example:two"
	var a attachment
	post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice, "initiator": one}, 200).Into(t, &a)
	prepare := map[string]any{"volume_id": id, "client_uid": alice}
	migrate(t, s, "prepare", prepare, 400)
	prepare["destination"] = map[string]any{"initiator": strings.ToUpper(one)}
	migrate(t, s, "prepare", prepare, 400)
	prepare["destination"] = map[string]any{"initiator": two}
	m := migrate(t, s, "prepare", prepare, 200)
	output(t, "iscsi-inq", "-i", two, m.Volumes[0].URI)
	output(t, "iscsi-inq", "-i", one, a.URI)
	migrate(t, s, "conclude", map[string]any{"migration_id": m.ID, "force": true}, 200)
	output(t, "iscsi-inq", "-i", two, m.Volumes[0].URI)
	if out, err := try(t, "iscsi-inq", "-i", one, a.URI); err == nil {
		t.Errorf("the host that it left gets in still: %s", out)
	}
}
