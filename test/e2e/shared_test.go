package e2e

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"elstore/test/guest"
	"elstore/test/need"
	"elstore/test/rig"
)

const bob = "00000000000000000000000000000b0b"

// pair is two servers with states of their own on one pool that they share.
type pair struct {
	t        *testing.T
	root     string
	states   [2]string
	portals  [2]string
	one, two *rig.Server
}

func newPair(t *testing.T, settings string) *pair {
	t.Helper()
	p := &pair{t: t, root: t.TempDir(), states: [2]string{t.TempDir(), t.TempDir()}}
	rig.Pool(t, p.root, "pool", settings)
	p.one, p.two = p.start(0), p.start(1)
	return p
}

// start starts one of them at the address that it had before.
func (p *pair) start(n int) *rig.Server {
	p.t.Helper()
	listen := "127.0.0.1:0"
	if p.portals[n] != "" {
		listen = p.portals[n]
	}
	s := rig.Start(p.t, p.root, "--rescan", "100ms", "--state", p.states[n], "--iscsi-listen", listen)
	p.portals[n] = s.Portal
	return s
}

// crash ends one of them as a crash does, and starts it again.
func (p *pair) crash(n int) {
	p.t.Helper()
	switch n {
	case 0:
		p.one.Kill()
		p.one = p.start(0)
	case 1:
		p.two.Kill()
		p.two = p.start(1)
	}
}

// at returns the server of a number, 0 or 1.
func (p *pair) at(n int) *rig.Server { return []*rig.Server{p.one, p.two}[n] }

// disk makes a volume that both servers see and the first exports to alice.
func (p *pair) disk(format string) (id string, a attachment) {
	p.t.Helper()
	id = vid(p.t, post(p.t, p.one, "/create", map[string]any{"creatorID": alice, "name": "disk", "size": 0.02, "format": format}, 200))
	eventually(p.t, func() string {
		if a, err := p.two.Post(p.t.Context(), "/info", map[string]any{"volume_id": id}); err != nil || a.Status != 200 {
			return "the other server does not see the volume"
		}
		return ""
	})
	return id, exported(p.t, p.one, id)
}

// prepared prepares the move of alice's volumes to the second server.
func (p *pair) prepared(ids ...string) moving {
	p.t.Helper()
	return prepared(p.t, p.two, ids...)
}

// state waits until a server says so of a migration.
func (p *pair) state(s *rig.Server, id, want string) {
	p.t.Helper()
	eventually(p.t, func() string {
		a, err := s.Do(p.t.Context(), "GET", "/livemigration/"+id, nil, nil)
		if err != nil {
			return err.Error()
		}
		var m moving
		a.Into(p.t, &m)
		if got := strings.TrimSpace(m.State + " " + m.Owner); got != want {
			return fmt.Sprintf("the migration is %q, not %q: %s", got, want, a.Body)
		}
		return ""
	})
}

// A machine whose volume lies in a pool of two servers passes to its other host through that one's server, but not with an image that one
// server at a time may have open.
func TestWhatMovesBetweenServers(t *testing.T) {
	need.Program(t, "qemu-img", "qemu-storage-daemon")
	p := newPair(t, `{"shared": true}`)
	id, _ := p.disk("qcow2")
	pass := map[string]any{"volume_id": id, "client_uid": alice, "destination": map[string]any{"client_uid": bob}}
	a := post(t, p.two, "/livemigration/prepare", pass, 409)
	for _, say := range []string{p.one.Portal, "qcow2", "VolumeAlreadyExported"} {
		if !strings.Contains(string(a.Body), say) {
			t.Errorf("%s does not say %q", a.Body, say)
		}
	}
	post(t, p.one, "/livemigration/prepare", pass, 200)
	post(t, p.two, "/export", map[string]any{"volume_id": id, "client_uid": bob}, 409)
	post(t, p.one, "/livemigration/revert", map[string]any{"volume_id": id}, 200)
	post(t, p.one, "/unexport", map[string]any{"volume_id": id, "client_uid": alice}, 200)
	post(t, p.two, "/export", map[string]any{"volume_id": id, "client_uid": bob}, 200)
	post(t, p.two, "/unexport", map[string]any{"volume_id": id, "client_uid": bob}, 200)

	raw, _ := p.disk("raw")
	pass["volume_id"] = raw
	pass["client_uid"] = bob
	post(t, p.two, "/livemigration/prepare", pass, 409)
	pass["client_uid"] = alice
	m := migrate(t, p.two, "prepare", pass, 200)
	if m.State != "PREPARED" || m.Pen != "source" || !strings.Contains(m.Volumes[0].URI, p.two.Portal) {
		t.Errorf("%+v", m)
	}
	for _, s := range []*rig.Server{p.one, p.two} {
		for what, body := range map[string]map[string]any{
			"/export":                {"volume_id": raw, "client_uid": bob},
			"/unexport":              {"volume_id": raw, "client_uid": alice},
			"/destroy":               {"volume_id": raw},
			"/update/resize":         {"vid": raw, "creatorID": alice, "size": 0.03},
			"/livemigration/prepare": {"volume_id": raw, "client_uid": alice, "destination": map[string]any{"client_uid": alice}},
		} {
			post(t, s, what, body, 409)
		}
	}
	post(t, p.two, "/livemigration/conclude", map[string]any{"volume_id": raw}, 412)
	post(t, p.one, "/livemigration/conclude", map[string]any{"volume_id": raw, "force": true}, 409)
	post(t, p.two, "/livemigration/conclude", map[string]any{"volume_id": raw, "force": true}, 200)
	p.state(p.one, m.ID, "STABLE destination")
	p.state(p.two, m.ID, "STABLE destination")
	post(t, p.one, "/export", map[string]any{"volume_id": raw, "client_uid": bob}, 409)
	post(t, p.two, "/unexport", map[string]any{"volume_id": raw, "client_uid": bob}, 200)
	post(t, p.one, "/export", map[string]any{"volume_id": raw, "client_uid": bob}, 200)
}

// Two hosts have one disk attached through two servers: the first writes until the second does, and is refused from then on, whatever
// happens to either server, at whatever moment.
func TestPenMovesBetweenServers(t *testing.T) {
	needISCSI(t)
	for name, tt := range map[string]struct{ crash []int }{
		"nothing happens": {}, "the first server crashes": {[]int{0}}, "the second server crashes": {[]int{1}}, "both crash": {[]int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, `{"shared": true}`)
			crash := func() {
				for _, n := range tt.crash {
					p.crash(n)
				}
			}
			first, was := p.disk("raw")
			second, too := p.disk("raw")
			one, one2 := attach(t, was), attach(t, too)
			one.must("write -P 1 0 1M", "flush")
			m := p.prepared(first, second)
			two, two2 := attach(t, m.Volumes[0].attachment), attach(t, m.Volumes[1].attachment)
			two.must("read -P 1 0 1M")
			one.must("write -P 2 0 64k", "flush")
			two.must("read -P 2 0 64k")
			two2.must("read -P 0 0 64k")
			crash()
			one2.must("write -P 3 0 64k", "flush")
			two2.must("read -P 3 0 64k", "write -P 4 1M 64k", "flush")
			crash()
			two2.must("write -P 5 2M 64k", "flush", "read -P 4 1M 64k")
			two.must("read -P 2 0 64k", "write -P 6 1M 64k", "flush")
			for _, uri := range []string{was.URI, too.URI} {
				if out, err := try(t, "iscsi-inq", uri); err == nil {
					t.Errorf("the first host gets in without the pen: %s", out)
				}
			}
			two2.must("read -P 5 2M 64k")
			migrate(t, p.one, "conclude", map[string]any{"migration_id": m.ID, "force": true}, 409)
			migrate(t, p.two, "revert", map[string]any{"migration_id": m.ID}, 409)
			if done := migrate(t, p.two, "conclude", map[string]any{"migration_id": m.ID}, 200); done.State != "STABLE" || done.Owner != "destination" {
				t.Errorf("%+v", done)
			}
			crash()
			p.state(p.one, m.ID, "STABLE destination")
			two.must("read -P 6 1M 64k", "write -P 7 3M 64k", "flush", "read -P 7 3M 64k")
			two2.must("read -P 5 2M 64k", "read -P 3 0 64k")
			if out, err := try(t, "iscsi-inq", was.URI); err == nil {
				t.Errorf("the first host gets in still: %s", out)
			}
		})
	}
}

// A host that writes as fast as it can, with 32 writes under way, loses the pen to another one's server: not one byte of them lands after that
// server has answered.
func TestFencedByAnotherServer(t *testing.T) {
	needISCSI(t)
	p := newPair(t, `{"shared": true}`)
	id, a := p.disk("raw")
	cmd := fill(t, a)
	m := p.prepared(id)
	two := attach(t, m.Volumes[0].attachment)
	eventually(t, func() string {
		var list []struct {
			Writes uint64 `json:"write_operations"`
		}
		post(t, p.one, "/exports", map[string]any{"volume_id": id}, 200).Into(t, &list)
		if len(list) != 1 || list[0].Writes < 50 {
			return fmt.Sprintf("it does not write: %v", list)
		}
		return ""
	})
	migrate(t, p.two, "conclude", map[string]any{"migration_id": m.ID}, 200)
	two.must("write -z 0 16M", "flush")
	image := filepath.Join(p.root, "pool", "vid."+id+".elimg", "data.img")
	cleared := digest(t, image)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if after := digest(t, image); after != cleared {
		t.Errorf("the image was %s when it was cleared, and is %s", cleared, after)
	}
	two.must("read -P 0 0 16M")
}

// hops is how often the machine of TestMachineMovesBetweenServers moves.
var hops = flag.Int("hops", 2, "how often a machine moves between two servers")

// A machine writes and checks every block, and moves between two hosts meanwhile, there and back, each of which has a server of its own: its
// numbers go on, and nothing that it reads is wrong. Before it first moves, and while it does, a server is killed.
func TestMachineMovesBetweenServers(t *testing.T) {
	needISCSI(t)
	guest.Need(t)
	machineMoves(newPair(t, `{"shared": true}`), "raw")
}

func machineMoves(p *pair, format string) {
	t := p.t
	t.Helper()
	id, a := p.disk(format)
	hosts := []*host{newHost(t, "host0", a)}
	hosts[0].Run(t, loop)
	hosts[0].goesOn()
	for n := range *hops {
		source, to := hosts[n], 1-n%2
		m := prepared(t, p.at(to), id)
		socket := filepath.Join(t.TempDir(), "m")
		destination := newHost(t, fmt.Sprint("host", n+1), m.Volumes[0].attachment, "-incoming", "unix:"+socket)
		destination.monitor.Do(t, destination.Guest, "query-status", nil, nil) // it is up, and logged in
		if n == 0 {
			p.crash(1 - to)
			p.crash(to)
			source.goesOn()
		}
		if status := source.sendTo("unix:" + socket); status != "completed" {
			t.Fatalf("hop %d: the migration %s", n, status)
		}
		destination.goesOn()
		if n == 1 {
			p.crash(to)
			destination.goesOn()
		}
		var done moving
		eventually(t, func() string { // after a crash it may not be logged in again yet
			got, err := p.at(to).Post(t.Context(), "/livemigration/conclude", map[string]any{"migration_id": m.ID})
			if err != nil || got.Status != 200 {
				return fmt.Sprintf("conclude: %v, %d %s", err, got.Status, got.Body)
			}
			got.Into(t, &done)
			return ""
		})
		if done.State != "STABLE" || done.Owner != "destination" {
			t.Errorf("%+v", done)
		}
		p.state(p.at(1-to), m.ID, "STABLE destination")
		destination.goesOn()
		source.Off()
		hosts = append(hosts, destination)
	}
	judge(t, hosts...)
}

// A server that hangs has the pen until it goes on, and nobody else gets it; one that gave it away before holds up nobody.
func TestServerHangsThatHasThePen(t *testing.T) {
	needISCSI(t)
	p := newPair(t, `{"shared": true}`)
	id, was := p.disk("raw")
	one := attach(t, was)
	one.must("write -P 1 0 64k", "flush")
	m := p.prepared(id)
	two := attach(t, m.Volumes[0].attachment)
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(p.one.Pid(), s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	defer signal(syscall.SIGCONT)
	if a := post(t, p.two, "/livemigration/conclude", map[string]any{"migration_id": m.ID}, 503); !strings.Contains(string(a.Body), m.ID) || !strings.Contains(string(a.Body), "old_host_is_off") {
		t.Errorf("it says %s", a.Body)
	}
	list, err := p.two.Do(t.Context(), "GET", "/livemigration", nil, nil)
	if err != nil || !strings.Contains(string(list.Body), `"pen_asked":true`) {
		t.Errorf("that the pen is asked for is not to be seen: %v, %s", err, list.Body)
	}
	two.must("read -P 1 0 64k")
	p.state(p.two, m.ID, "PREPARED")
	signal(syscall.SIGCONT)
	two.must("write -P 2 0 64k", "flush") // it waits until the other server has let go
	signal(syscall.SIGSTOP)
	two.must("write -P 3 64k 64k", "flush", "read -P 2 0 64k")
	migrate(t, p.two, "conclude", map[string]any{"migration_id": m.ID}, 200)
	two.must("write -P 4 64k 64k", "flush")
	signal(syscall.SIGCONT)
	p.state(p.one, m.ID, "STABLE destination")
	if out, err := try(t, "iscsi-inq", was.URI); err == nil {
		t.Errorf("the first host gets in still: %s", out)
	}
}

// A server dies with the pen of a migration, and its host does not come back: the other one takes the volume over, which ends the migration
// there, and on the dead one when it comes back after all.
func TestTakeoverEndsMigration(t *testing.T) {
	needISCSI(t)
	p := newPair(t, `{"shared": true}`)
	id, was := p.disk("raw")
	attach(t, was).must("write -P 1 0 64k", "flush")
	m := p.prepared(id)
	two := attach(t, m.Volumes[0].attachment)
	two.must("read -P 1 0 64k")
	p.one.Kill()
	marks, err := filepath.Glob(filepath.Join(p.root, "pool", "vid."+id+".elimg", "*.exported"))
	if err != nil || len(marks) == 0 {
		t.Fatal(marks, err)
	}
	for _, name := range marks { // as long as they are there it is waited for 45 seconds whether they stay as they are
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	var a attachment
	eventually(t, func() string { // the kernel has to notice that the first one is gone
		got, err := p.two.Post(t.Context(), "/export", map[string]any{"volume_id": id, "client_uid": bob, "takeover": true, "old_host_is_off": true})
		if err != nil || got.Status != 200 {
			return fmt.Sprintf("takeover: %v, %d %s", err, got.Status, got.Body)
		}
		got.Into(t, &a)
		return ""
	})
	p.state(p.two, m.ID, "STABLE destination")
	three := attach(t, a)
	three.must("read -P 1 0 64k", "write -P 2 0 64k", "flush")
	p.one = p.start(0)
	p.state(p.one, m.ID, "STABLE destination")
	three.must("write -P 3 64k 64k", "flush", "read -P 2 0 64k")
	for who, old := range map[string]attachment{"the source": was, "the destination": m.Volumes[0].attachment} {
		if out, err := try(t, "iscsi-inq", old.URI); err == nil {
			t.Errorf("%s gets in as before: %s", who, out)
		}
	}
}

func digest(t *testing.T, image string) string {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}
