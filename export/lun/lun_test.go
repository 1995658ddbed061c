package lun

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"elstore/export"
	"elstore/export/iscsi/pdu"
	"elstore/volume"
	"elstore/volume/fault"
)

const (
	first  = "iqn.1993-08.org.debian:01:first"
	second = "iqn.1993-08.org.debian:01:second"
)

// An initiator writes without waiting for answers when its export ends: once that is answered, not one of its writes lands any more.
func TestNothingLandsAfterUnexport(t *testing.T) {
	s := newServer(t)
	id := s.create()
	for round := range 20 {
		a := s.export(id, bob, first)
		i := s.login(first, a.Access.Target)
		if i == nil {
			t.Fatal("the login is refused")
		}
		half := make(chan struct{})
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for n := range 64 {
				if n == 32 {
					close(half)
				}
				i.command(write10(n*16, 16), bytes.Repeat([]byte{byte(round + 1)}, 16*512))
			}
		}()
		<-half
		if err := s.exports.Unexport(t.Context(), id, bob, "", false); err != nil {
			t.Fatal(err)
		}
		before := s.image(id)
		<-sent
		<-i.end
		if after := s.image(id); !bytes.Equal(before, after) {
			t.Fatalf("round %d: the image changed after the export had ended", round)
		}
		if s.login(first, a.Access.Target) != nil {
			t.Fatal("it lets in still")
		}
	}
}

// Whoever is fenced loses its registration, and its reservation with it, and nobody else does; also across a restart, and where
// the server died in between.
func TestFencingPreempts(t *testing.T) {
	s := newServer(t)
	id := s.create(func(m *volume.Meta) { m.Shareable = true })
	one, two := s.export(id, alice, first), s.export(id, bob, second)
	a, b := s.login(first, one.Access.Target), s.login(second, two.Access.Target)
	for _, c := range []struct {
		who *initiator
		key byte
	}{{a, 1}, {b, 2}} {
		if status, _ := c.who.run(register(c.key)); status != 0 {
			t.Fatalf("status %#x", status)
		}
	}
	if status, _ := a.run(reserve(1)); status != 0 {
		t.Fatalf("status %#x", status)
	}
	if status, _ := b.run(write10(0, 1), make([]byte, 512)); status != 0x18 {
		t.Errorf("beside a reservation a write has status %#x", status)
	}
	s.restart()
	b = s.login(second, two.Access.Target)
	if b == nil {
		t.Fatal("after the restart nobody gets in")
	}
	if got := b.keys(); !slices.Equal(got, []byte{1, 2}) {
		t.Errorf("after the restart the keys are %d", got)
	}
	if status, _ := b.run(write10(0, 1), make([]byte, 512)); status != 0x18 {
		t.Errorf("after the restart a write has status %#x", status)
	}
	if err := s.exports.Unexport(t.Context(), id, alice, "", false); err != nil {
		t.Fatal(err)
	}
	if got := b.keys(); !slices.Equal(got, []byte{2}) {
		t.Errorf("after fencing the keys are %d", got)
	}
	if status, _ := b.run(write10(0, 1), make([]byte, 512)); status != 0 {
		t.Errorf("after fencing a write has status %#x", status)
	}
	record := filepath.Join(s.root, "pool", "vid."+id.String()+".elimg", ".export", "iscsi.json")
	kept, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.exports.Unexport(t.Context(), id, bob, "", false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(record)); !os.IsNotExist(err) {
		t.Errorf("records stay after the last export: %v", err)
	}
	// As if the server had died before it preempted.
	if err := os.Mkdir(filepath.Dir(record), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	three := s.export(id, alice, first)
	if got := s.login(first, three.Access.Target).keys(); len(got) > 0 {
		t.Errorf("a dead client's keys %d are there", got)
	}
}

func TestReadOnlyExport(t *testing.T) {
	s := newServer(t)
	id := s.create()
	a, err := s.exports.Export(t.Context(), export.Request{Volume: id, Client: bob, Initiator: first, ReadOnly: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	i := s.login(first, a.Access.Target)
	if status, _ := i.run(write10(0, 1), make([]byte, 512)); status != 2 {
		t.Errorf("a write has status %#x", status)
	}
	list := s.exports.List(t.Context(), export.Query{})
	if len(list) != 1 || len(list[0].Sessions) != 1 || list[0].Sessions[0].Initiator != first || list[0].Counts.Errors == 0 {
		t.Errorf("%+v", list)
	}
	if c := s.exports.Totals()["iscsi"]; c.WriteOperations != 1 || c.Errors != list[0].Counts.Errors || c.WriteLatency.Sum <= 0 || total(c.WriteLatency) != 1 {
		t.Errorf("in all %+v", c)
	}
}

// total is how many operations were measured.
func total(l export.Latency) (n uint64) {
	for _, b := range l.Buckets {
		n += b
	}
	return n
}

func TestResizeReachesTheInitiator(t *testing.T) {
	s := newServer(t)
	id := s.create()
	i := s.login(first, s.export(id, bob, first).Access.Target)
	if err := s.Volumes.Resize(t.Context(), id, nil, volume.ResizeRequest{Size: 2 << 20}); err != nil {
		t.Fatal(err)
	}
	if status, _ := i.run([]byte{0}, nil); status != 2 {
		t.Errorf("status %#x, want a unit attention", status)
	}
	if status, _ := i.run(write10(4095, 1), make([]byte, 512)); status != 0 {
		t.Errorf("a write behind the old end has status %#x", status)
	}
}

func TestGateReachesTheInitiator(t *testing.T) {
	s := newServer(t)
	id := s.create()
	i := s.login(first, s.export(id, bob, first).Access.Target)
	gate := s.exports.Standing(id)[0].Gate
	if err := gate.Shut(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if status, _ := i.run(write10(0, 1), make([]byte, 512)); status != 2 {
		t.Errorf("without the pen a write has status %#x", status)
	}
	gate.Open()
	if status, _ := i.run(write10(0, 1), make([]byte, 512)); status != 0 {
		t.Errorf("with the pen a write has status %#x", status)
	}
}

func TestComplete(t *testing.T) {
	s := newServer(t)
	withCHAP := &Kind{cfg: Config{Server: s.iscsi, Portals: s.kind.cfg.Portals}}
	for _, tt := range []struct {
		name string
		kind *Kind
		q    export.Request
		ok   bool
	}{
		{"CHAP", withCHAP, export.Request{}, true},
		{"CHAP and an initiator", withCHAP, export.Request{Initiator: "iqn.1993-08.org.debian:01:ABC"}, true},
		{"no initiator without CHAP", s.kind, export.Request{}, false},
		{"an initiator without CHAP", s.kind, export.Request{Initiator: first}, true},
		{"no name", withCHAP, export.Request{Initiator: "machine"}, false},
		{"our portal", withCHAP, export.Request{Portals: []string{"[2001:db8::1]:3260"}}, true},
		{"another portal", withCHAP, export.Request{Portals: []string{"192.0.2.1:3260", "192.0.2.2:3260"}}, false},
		{"a path", withCHAP, export.Request{Path: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r export.Record
			err := tt.kind.Complete(nil, &tt.q, &r)
			if (err == nil) != tt.ok || err != nil && !fault.Is(err, fault.BadRequest) {
				t.Fatalf("got %v", err)
			}
			if !tt.ok {
				return
			}
			chap := tt.kind == withCHAP
			if (r.User != "") != chap || r.Secret.IsZero() == chap || r.PeerSecret.IsZero() == chap || chap && (r.Secret.Equal(r.PeerSecret) || len(r.Secret.Reveal()) != 16) {
				t.Errorf("%+v", r)
			}
			if r.Initiator != tt.q.Initiator || r.Initiator == "iqn.1993-08.org.debian:01:ABC" {
				t.Errorf("initiator %q", r.Initiator)
			}
			before := r
			if err := tt.kind.Complete(nil, &tt.q, &r); err != nil || r.User != before.User || chap && r.Secret.Equal(before.Secret) {
				t.Errorf("completed again: %v, %+v after %+v", err, r, before)
			}
		})
	}
}

func FuzzParseSaved(f *testing.F) {
	f.Add([]byte(`{"boot_id":"b","reservations":{"generation":1,"aptpl":true,"registrations":[{"initiator":"i","port":"p","port_id":1,"key":7}],"type":1,"holder":{"initiator":"i","port":"p","port_id":1,"key":7}},"owners":[{"initiator":"i","port":"p","attachment":"0123456789abcdef0123456789abcdef"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSaved(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseSaved(text); err != nil || len(again.Owners) != len(s.Owners) {
			t.Errorf("%v: %s came out as %+v", err, text, again)
		}
	})
}

func TestStopAsksForLogout(t *testing.T) {
	s := newServer(t)
	id := s.create()
	i := s.login(first, s.export(id, bob, first).Access.Target)
	done := make(chan error, 1)
	go func() { done <- s.exports.Close(t.Context()) }()
	if r, ok := i.next(); !ok || r.h.Opcode() != pdu.OpAsync {
		t.Errorf("got %v, %t", r.h.Opcode(), ok)
	}
	i.conn.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(s.exports.List(t.Context(), export.Query{})) > 0 {
		t.Error("something stands still")
	}
}
