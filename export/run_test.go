package export

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

func (p *place) marker(id volume.ID, c volume.Client) string {
	return filepath.Join(p.dir(id), Name(c, id)+".exported")
}

func TestHeartbeat(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create()
	p.export(id, bob)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(p.marker(id, bob), old, old); err != nil {
		t.Fatal(err)
	}
	p.Beat(t.Context())
	if info, err := os.Stat(p.marker(id, bob)); err != nil || time.Since(info.ModTime()) > time.Minute {
		t.Errorf("the marker was touched at %v, %v", info.ModTime(), err)
	}
	before, err := os.ReadFile(p.marker(id, bob))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p.marker(id, bob)); err != nil {
		t.Fatal(err)
	}
	p.Beat(t.Context())
	if after, err := os.ReadFile(p.marker(id, bob)); err != nil || string(after) != string(before) {
		t.Errorf("a marker that was removed is %q again, %v", after, err)
	}
	if list := p.List(t.Context(), Query{}); len(list) != 1 || list[0].Heartbeat.IsZero() {
		t.Errorf("%+v", list)
	}
}

func TestRun(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create()
	secret := p.export(id, bob).Access.Secret
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	defer running.Wait()
	defer stop()
	// Subscribed or not yet: what changes is seen sooner or later.
	n := 0
	p.until("new rates of the volume count", func() bool {
		n++
		if err := p.Volumes.Update(t.Context(), id, nil, volume.Change{Extra: map[string]json.RawMessage{"read_iops": json.RawMessage(`1` + strings.Repeat("0", n%9))}}); err != nil {
			t.Fatal(err)
		}
		a := p.toy.login(id, secret)
		p.toy.mu.Lock()
		defer p.toy.mu.Unlock()
		return a.rates.ReadIOPS != nil
	})
	p.await(id, errStep)
	p.until("what waits is looked at", func() bool { return !p.behind() })
}

func TestForeignMarkers(t *testing.T) {
	other := `{"server":"0123","host":"storage-2","boot_id":"b","portals":["192.0.2.7:3260"],"kind":"iscsi","epoch":4,"since":"2026-01-02T03:04:05Z"}`
	tests := []struct {
		name    string
		content string
		age     time.Duration
		says    string // "": it is exported
	}{
		{"kept fresh by another server", other, 0, "exported by the server 0123 on storage-2 at 192.0.2.7:3260 since 2026-01-02T03:04:05Z"},
		{"of a clock that is ahead", other, -10 * time.Second, "storage-2"},
		{"that nobody keeps fresh", other, time.Minute, ""},
		{"of a clock that is far off", other, -time.Hour, ""},
		{"of the source system", "", 0, "exported by another system"},
		{"of the source system, old", "", time.Minute, ""},
		{"with nonsense in it", "{[", 0, "exported by another system"},
		{"that is too large", strings.Repeat(" ", maxMarker+1), 0, "exported by another system"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t, `{}`)
			id := p.create()
			when := time.Now().Add(-tt.age)
			if err := os.WriteFile(p.marker(id, carol), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(p.marker(id, carol), when, when); err != nil {
				t.Fatal(err)
			}
			_, err := p.Export(t.Context(), Request{Volume: id, Client: bob})
			if tt.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantCode(t, err, fault.VolumeAlreadyExported)
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v does not say %q", err, tt.says)
			}
		})
	}
}

// pair starts two servers on one shared directory.
func newPair(t *testing.T, change ...func(*Config)) (one, two *place) {
	t.Helper()
	change = append(change, func(c *Config) { c.Shared = func(string) bool { return true } })
	one = newPlace(t, `{"shared": true}`, change...)
	two = start(t, one.root, one.pool, change...)
	return one, two
}

// Two servers on one shared directory race for one volume: never do both export it.
func TestRaces(t *testing.T) {
	one, two := newPair(t, func(c *Config) { c.LockWait = 2 * time.Millisecond })
	id := one.create()
	two.until("the other server sees the volume", func() bool {
		_, _, err := two.Volumes.Refresh(t.Context(), "pool")
		return err == nil && two.Volumes.Has(t.Context(), id, nil)
	})
	races := 1000
	if testing.Short() {
		races = 100
	}
	wins := map[*place]int{}
	for n := range races {
		var granted atomic.Int32
		begin := make(chan struct{})
		answers := make([]error, 2)
		var both sync.WaitGroup
		for i, p := range []*place{one, two} {
			client := []volume.Client{alice, bob}[(i+n)%2]
			both.Go(func() {
				<-begin
				_, answers[i] = p.Export(t.Context(), Request{Volume: id, Client: client})
				if answers[i] == nil {
					granted.Add(1)
				}
			})
		}
		close(begin)
		both.Wait()
		standing := len(one.List(t.Context(), Query{})) + len(two.List(t.Context(), Query{}))
		if granted.Load() > 1 || standing > 1 || int(granted.Load()) != standing {
			t.Fatalf("race %d: %d were granted, and %d stand: %v", n, granted.Load(), standing, answers)
		}
		for i, p := range []*place{one, two} {
			if err := answers[i]; err != nil {
				if !fault.Is(err, fault.VolumeAlreadyExported) && !fault.Is(err, fault.VolumeAlreadyLocked) {
					t.Fatalf("race %d: %v", n, err)
				}
				continue
			}
			wins[p]++
			for _, c := range []volume.Client{alice, bob} {
				p.until("the export ends", func() bool { // locks are not waited for long here
					err := p.Unexport(t.Context(), id, c, "", false)
					if err != nil && !fault.Is(err, fault.VolumeAlreadyLocked) {
						t.Fatal(err)
					}
					return err == nil
				})
			}
		}
	}
	if wins[one]+wins[two] < races/2 {
		t.Errorf("of %d races %d were won", races, wins[one]+wins[two])
	}
}

func TestExportedElsewhere(t *testing.T) {
	one, two := newPair(t)
	id := one.create()
	one.export(id, bob)
	two.until("the other server sees the volume", func() bool {
		_, _, err := two.Volumes.Refresh(t.Context(), "pool")
		return err == nil && two.Volumes.Has(t.Context(), id, nil)
	})
	_, err := two.Export(t.Context(), Request{Volume: id, Client: bob})
	wantCode(t, err, fault.VolumeAlreadyExported)
	if err == nil || !strings.Contains(err.Error(), one.cfg.ServerID) {
		t.Errorf("%v does not say where", err)
	}
	// A machine passes to another host through it, if it is the client's.
	server, r, err := two.Abroad(t.Context(), id, bob, "")
	if err != nil || server.ID != one.cfg.ServerID || r.Client != bob || r.Secret.Reveal() != "" {
		t.Errorf("%q, %+v, %v", server, r, err)
	}
	_, _, err = two.Abroad(t.Context(), id, carol, "")
	wantCode(t, err, fault.VolumeNotExported)
	two.Service.cfg.Shared = func(string) bool { return false }
	_, _, err = two.Abroad(t.Context(), id, bob, "")
	wantCode(t, err, fault.VolumeAlreadyExported)
	if err == nil || !strings.Contains(err.Error(), one.cfg.ServerID) || !strings.Contains(err.Error(), "attaches through that server") {
		t.Errorf("%v does not say where it migrates", err)
	}
	one.end(id, bob)
	_, err = two.Source(t.Context(), id, bob, "")
	wantCode(t, err, fault.VolumeNotExported)
	two.export(id, bob)
}

func TestTakeover(t *testing.T) {
	one, two := newPair(t, func(c *Config) { c.takeoverWait = 20 * time.Millisecond })
	id := one.create()
	secret := one.export(id, bob).Access.Secret
	two.until("the other server sees the volume", func() bool {
		_, _, err := two.Volumes.Refresh(t.Context(), "pool")
		return err == nil && two.Volumes.Has(t.Context(), id, nil)
	})
	q := Request{Volume: id, Client: carol, Takeover: true, OldHostIsOff: true}
	// While the other has the volume's lock nothing helps.
	_, err := two.Export(t.Context(), q)
	if !fault.Is(err, fault.VolumeAlreadyLocked) && !fault.Is(err, fault.VolumeAlreadyExported) {
		t.Errorf("beside a server that lives: %v", err)
	}
	one.toy.off = true
	if err := one.Volumes.Close(); err != nil { // its host is off: the kernel's locks are free
		t.Fatal(err)
	}
	_, err = two.Export(t.Context(), Request{Volume: id, Client: carol})
	wantCode(t, err, fault.VolumeAlreadyExported)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(one.marker(id, bob), old, old); err != nil {
		t.Fatal(err)
	}
	_, err = two.Export(t.Context(), Request{Volume: id, Client: carol})
	wantCode(t, err, fault.VolumeAlreadyExported) // nothing is decided by age alone
	if _, err = two.Export(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if b := two.book(id); b.Server != two.cfg.ServerID || b.Epoch != 2 || len(b.Attachments) != 1 {
		t.Errorf("the book is %+v", b)
	}
	// The old server was not off: its next heartbeat tells it, and it lets go.
	events := one.Events.Subscribe(0)
	one.Beat(t.Context())
	if one.toy.login(id, secret) != nil || len(one.List(t.Context(), Query{})) > 0 {
		t.Error("the old server exports it still")
	}
	events.Close()
	lost := false
	for e := range events.C {
		lost = lost || e.Type == volume.EventHeartbeatLost
	}
	if !lost {
		t.Error("nobody was told")
	}
	if b := two.book(id); b.Server != two.cfg.ServerID || len(b.Attachments) != 1 {
		t.Errorf("the old server left the book as %+v", b)
	}
}

func TestTakeoverOfOneThatLives(t *testing.T) {
	p := newPlace(t, `{"shared": true}`, func(c *Config) {
		c.Shared = func(string) bool { return true }
		c.takeoverWait = 30 * time.Second
	})
	id := p.create()
	if err := os.WriteFile(p.marker(id, bob), []byte(`{"server":"0123"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			when := time.Now().Add(time.Duration(n) * time.Millisecond)
			_ = os.Chtimes(p.marker(id, bob), when, when)
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	_, err := p.Export(t.Context(), Request{Volume: id, Client: carol, Takeover: true, OldHostIsOff: true})
	close(stop)
	<-stopped
	wantCode(t, err, fault.VolumeAlreadyExported)
	if err == nil || !strings.Contains(err.Error(), "is alive") {
		t.Error(err)
	}
}

// Without a good heartbeat for 15 s a shared pool's volume answers nothing, and with the next one it does again.
func TestLease(t *testing.T) {
	var now atomic.Int64
	p := newPlace(t, `{"shared": true}`, func(c *Config) {
		c.Shared = func(string) bool { return true }
		c.now = func() time.Duration { return time.Duration(now.Load()) }
	})
	id := p.create()
	p.export(id, bob)
	p.toy.mu.Lock()
	dev := p.toy.units[id].medium.Device
	p.toy.mu.Unlock()
	sector := make([]byte, 512)
	all := map[string]func() error{
		"read":       func() error { _, err := dev.ReadAt(sector, 0); return err },
		"write":      func() error { _, err := dev.WriteAt(sector, 0); return err },
		"vector":     func() error { _, err := dev.WriteVectorAt([][]byte{sector}, 0); return err },
		"flush":      func() error { return dev.Flush(t.Context()) },
		"discard":    func() error { return dev.Discard(0, 512) },
		"write zero": func() error { return dev.WriteZeroes(0, 512, true) },
	}
	answers := func(want bool) {
		t.Helper()
		for name, do := range all {
			if err := do(); (err == nil) != want {
				t.Errorf("%v after the last heartbeat %s: %v, want an answer: %t", time.Duration(now.Load()), name, err, want)
			}
		}
	}
	answers(true)
	now.Store(int64(leaseFor) - 1)
	answers(true)
	now.Store(int64(leaseFor))
	answers(false)
	p.Beat(t.Context())
	answers(true)
	now.Store(2*int64(leaseFor) + 1)
	answers(false)
	if err := os.WriteFile(filepath.Join(p.dir(id), ".export", "exports.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Beat(t.Context())
	answers(false)
}
