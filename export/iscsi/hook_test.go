package iscsi

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"elstore/export/iscsi/login"
	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

// door is a Gate that the test opens and shuts.
type door struct {
	open    atomic.Bool
	inside  atomic.Int64
	entered atomic.Int64
}

func (d *door) Enter(context.Context) bool { return d.Try() }

func (d *door) Try() bool {
	if !d.open.Load() {
		return false
	}
	d.inside.Add(1)
	d.entered.Add(1)
	return true
}

func (d *door) Leave() { d.inside.Add(-1) }

func TestGate(t *testing.T) {
	reserve := command{cdb: []byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, write: true, expected: 24, data: append(make([]byte, 15), append([]byte{1}, make([]byte, 8)...)...)}
	for _, c := range []struct {
		name    string
		options []option
	}{
		{"by workers", nil},
		{"in line", []option{withQuickDisk}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, c.options...)
			gate := &door{}
			s.attach(AttachmentConfig{Gate: gate})
			p := newPeer(t, s.pipe()).login().ready()
			for _, change := range []command{write10(0, 1, pattern(512, 1)), reserve} {
				if e := p.do(change); e.status != 2 || len(e.sense) < 13 || e.sense[2]&15 != 7 || e.sense[12] != 0x27 {
					t.Errorf("shut: %v", e)
				}
			}
			if e := p.do(read10(0, 1)); e.status != 0 {
				t.Errorf("a read: %v", e)
			}
			if s.disk.landed() != 0 || gate.entered.Load() != 0 {
				t.Error("something passed the shut gate")
			}
			gate.open.Store(true)
			for _, change := range []command{write10(0, 1, pattern(512, 1)), reserve} {
				if e := p.do(change); e.status != 0 {
					t.Errorf("open: %v", e)
				}
			}
			if s.disk.landed() != 1 || gate.entered.Load() != 2 || gate.inside.Load() != 0 {
				t.Errorf("%d writes, %d entered, %d inside", s.disk.landed(), gate.entered.Load(), gate.inside.Load())
			}
		})
	}
}

// mover is a Gate that moves reservations before it opens, as live migration does.
type mover struct {
	door
	move func(ctx context.Context) error
}

func (m *mover) Enter(ctx context.Context) bool {
	if m.move(ctx) == nil {
		m.open.Store(true)
	}
	return m.Try()
}

// TestGateMovesReservations: what the gate is about to move is in nobody's way, also where the data has to be asked for.
func TestGateMovesReservations(t *testing.T) {
	s := newStage(t)
	s.attach(AttachmentConfig{Initiator: initiatorName})
	gate := &mover{}
	heir := s.attach(AttachmentConfig{Initiator: initiatorName + ".new", Gate: gate})
	gate.move = func(ctx context.Context) error {
		return s.unit.MoveRegistrations(ctx, func(r scsi.Registration) bool { return strings.HasPrefix(r.Initiator, initiatorName+",") }, heir.Nexuses()...)
	}
	old := newPeer(t, s.pipe()).login().ready()
	list := make([]byte, 24)
	list[15] = 1
	if e := old.do(command{cdb: []byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, write: true, expected: 24, data: list}); e.status != 0 {
		t.Fatal(e)
	}
	list = make([]byte, 24)
	list[7] = 1
	if e := old.do(command{cdb: []byte{0x5f, 1, 1, 0, 0, 0, 0, 0, 24, 0}, write: true, expected: 24, data: list}); e.status != 0 {
		t.Fatal(e)
	}
	fresh := newPeer(t, s.pipe())
	fresh.name = initiatorName + ".new"
	fresh.login().ready()
	fresh.answerR2Ts(fresh.start(write10(0, 8, nil)), make([]byte, 8*blockSize), 0)
	if e := old.do(write10(0, 8, make([]byte, 8*blockSize))); e.status != uint8(scsi.StatusReservationConflict) {
		t.Errorf("who had it: %v", e)
	}
	if r := s.unit.Reservations(); len(r.Registrations) != 1 || !strings.HasPrefix(r.Registrations[0].Initiator, initiatorName+".new,") || r.Holder == nil {
		t.Errorf("%+v", r)
	}
}

func TestNotify(t *testing.T) {
	s := newStage(t)
	type event struct {
		info  SessionInfo
		began bool
	}
	events := make(chan event, 4)
	var stats scsi.Stats
	a := s.attach(AttachmentConfig{Counters: &stats, Notify: func(i SessionInfo, began bool) { events <- event{i, began} }})
	p := newPeer(t, s.pipe()).login().ready()
	e := <-events
	if !e.began || e.info.Initiator != initiatorName || e.info.Port != initiatorName+",i,0x00023d010000" || len(a.Sessions()) != 1 {
		t.Errorf("%+v", e)
	}
	if e := p.do(read10(0, 1)); e.status != 0 {
		t.Error(e)
	}
	if got := stats.Snapshot(scsi.KindRead); got.Operations != 1 || got.Bytes != 512 {
		t.Errorf("%+v", got)
	}
	p.conn.Close()
	if e := <-events; e.began || e.info.Initiator != initiatorName {
		t.Errorf("%+v", e)
	}
	refused := newPeer(t, s.pipe())
	refused.name = "iqn.1993-08.org.debian:01:other"
	s.attach(AttachmentConfig{Initiator: "iqn.1993-08.org.debian:01:third", Notify: func(SessionInfo, bool) { t.Error("nobody came") }})
	if status := refused.tryLogin(); status != pdu.Success {
		t.Error(status)
	}
}

func TestTwoTargetsOfOneUnit(t *testing.T) {
	s := newStage(t)
	other, err := s.server.AddTarget(TargetConfig{Name: targetName + "0", Unit: s.unit, PortID: 2})
	if err != nil {
		t.Fatal(err)
	}
	s.attach(AttachmentConfig{})
	if _, err := other.Attach(AttachmentConfig{}); err != nil {
		t.Fatal(err)
	}
	newPeer(t, s.pipe()).login().ready()
	second := newPeer(t, s.pipe())
	second.keys["TargetName"] = string(targetName + "0")
	second.login().ready()
	if got := PortName(other.Name()); got != string(targetName)+"0,t,0x0001" {
		t.Error(got)
	}
}

func TestSetSecrets(t *testing.T) {
	s := newStage(t)
	a := s.attach(AttachmentConfig{CHAPName: "vm", Secret: login.NewSecret("first secret")})
	who := &authority{server: s.server}
	peer := login.Peer{TargetName: targetName, InitiatorName: initiatorName}
	secret := func() login.Secret {
		c, ok := who.Credential(peer, "vm")
		if !ok {
			t.Fatal("no credential")
		}
		return c.Secret
	}
	if !secret().Equal(login.NewSecret("first secret")) {
		t.Error("the first secret is not the one")
	}
	if err := a.SetSecrets(login.NewSecret("second secret"), login.Secret{}); err != nil {
		t.Fatal(err)
	}
	if !secret().Equal(login.NewSecret("second secret")) {
		t.Error("the second secret is not the one")
	}
	if a.SetSecrets(login.Secret{}, login.Secret{}) == nil {
		t.Error("no secret is taken")
	}
	if s.attach(AttachmentConfig{}).SetSecrets(login.NewSecret("x"), login.Secret{}) == nil {
		t.Error("an attachment without CHAP takes a secret")
	}
}
