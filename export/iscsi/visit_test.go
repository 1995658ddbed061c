package iscsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"

	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

// patience is for what should take milliseconds.
const patience = 30 * time.Second

// beside adds a server's next target, with a disk of its own.
func (s *stage) beside(n byte, change ...func(*TargetConfig)) *stage {
	s.t.Helper()
	disk := newRAM()
	unit, err := scsi.New(s.t.Context(), scsi.Config{Device: disk, ID: scsi.ID{n}, Thin: true})
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := TargetConfig{Name: pdu.Name(fmt.Sprintf("%s.%d", targetName, n)), Unit: unit}
	for _, fn := range change {
		fn(&cfg)
	}
	added, err := s.server.AddTarget(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return &stage{t: s.t, server: s.server, target: added, disk: disk, unit: unit}
}

// peer returns an initiator of the target, logged in.
func (s *stage) peer(name string) *peer {
	s.t.Helper()
	p := newPeer(s.t, s.pipe())
	p.name, p.keys = name, map[string]string{"TargetName": string(s.target.name)}
	return p.login().ready()
}

// copies is an EXTENDED COPY of blocks between two units, each segment of 100 blocks or less.
func copies(from, to *scsi.LogicalUnit, blocks, sourceLBA, destinationLBA int) command {
	var targets, segments []byte
	for _, lu := range []*scsi.LogicalUnit{from, to} {
		d := lu.Designators()[0]
		t := make([]byte, 32)
		t[0], t[4], t[5], t[7] = 0xe4, d.CodeSet, d.Association<<4|d.Type, byte(len(d.ID))
		copy(t[8:], d.ID)
		binary.BigEndian.PutUint32(t[28:], blockSize)
		targets = append(targets, t...)
	}
	for blocks > 0 {
		n := min(blocks, 100)
		s := make([]byte, 28)
		s[0], s[3], s[7] = 0x02, 24, 1
		binary.BigEndian.PutUint16(s[10:], uint16(n))
		binary.BigEndian.PutUint64(s[12:], uint64(sourceLBA))
		binary.BigEndian.PutUint64(s[20:], uint64(destinationLBA))
		segments = append(segments, s...)
		blocks, sourceLBA, destinationLBA = blocks-n, sourceLBA+n, destinationLBA+n
	}
	list := make([]byte, 16, 16+len(targets)+len(segments))
	binary.BigEndian.PutUint16(list[2:], uint16(len(targets)))
	binary.BigEndian.PutUint32(list[8:], uint32(len(segments)))
	list = append(append(list, targets...), segments...)
	cdb := make([]byte, 16)
	cdb[0] = 0x83
	binary.BigEndian.PutUint32(cdb[10:], uint32(len(list)))
	return command{cdb: cdb, write: true, expected: len(list), data: list}
}

// What a copy between two targets is refused with.
const (
	unreachable = "status 0x02 sense a/0d/02"
	protected   = "status 0x02 sense 7/27/00"
	conflicting = "status 0x18"
	copied      = "status 0x00"
)

// situation is everything that may forbid a copy.
type situation struct {
	group, otherGroup       string
	otherName               string // of the initiator at the other target
	away, gone, killed      bool   // it is not logged in there, or was, or its attachment was removed
	readonly, shut, held    bool   // the other attachment, its gate, its unit reserved by somebody else
	backwards, through, own bool   // from the other unit to this; the other is both ends; this is both ends
}

func (c situation) want() string {
	switch {
	case c.own:
		return copied
	case c.group == "" || c.group != c.otherGroup || c.otherName != initiatorName || c.away || c.gone || c.killed:
		return unreachable
	case c.backwards:
		return copied
	case c.shut:
		return unreachable
	case c.held:
		return conflicting
	case c.readonly:
		return protected
	}
	return copied
}

// TestCopyReachesWhatTheInitiatorHas plays random situations. What is refused must change nothing.
func TestCopyReachesWhatTheInitiatorHas(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	rarely := func() bool { return random.IntN(8) == 0 }
	allowed := 0
	for i := range 100 {
		c := situation{group: "g", otherGroup: "g", otherName: initiatorName}
		if rarely() {
			c.group = []string{"", "h"}[random.IntN(2)]
		}
		if rarely() {
			c.otherGroup = []string{"", "h", "G"}[random.IntN(3)]
		}
		if rarely() {
			c.otherName += "x"
		}
		c.away, c.gone, c.killed, c.readonly, c.shut, c.held = rarely(), rarely(), rarely(), rarely(), rarely(), rarely()
		switch random.IntN(6) {
		case 0:
			c.backwards = true
		case 1:
			c.through = true
		case 2:
			c.own = true
		}
		got := c.play(t)
		if got != c.want() {
			t.Fatalf("%d: %+v: %s, want %s", i, c, got, c.want())
		}
		if got == copied && !c.own {
			allowed++
		}
	}
	if allowed < 15 {
		t.Errorf("only %d of the copies are allowed", allowed)
	}
}

// play returns what the copy got.
func (c situation) play(t *testing.T) string {
	t.Helper()
	s := newStage(t)
	o := s.beside(2)
	copy(s.disk.data, pattern(50*blockSize, 1))
	copy(o.disk.data, pattern(50*blockSize, 2))
	s.attach(AttachmentConfig{Initiator: initiatorName, CopyGroup: c.group})
	gate := &door{}
	gate.open.Store(!c.shut)
	a := o.attach(AttachmentConfig{Initiator: pdu.Name(c.otherName), CopyGroup: c.otherGroup, ReadOnly: c.readonly, Gate: gate})
	stranger := o.attach(AttachmentConfig{Initiator: "iqn.1993-08.org.debian:01:stranger", CopyGroup: "other"})
	p := s.peer(initiatorName)
	if !c.away {
		there := o.peer(c.otherName)
		switch {
		case c.killed:
			if err := a.Remove(t.Context()); err != nil {
				t.Fatal(err)
			}
		case c.gone:
			there.conn.Close()
			for deadline := time.Now().Add(patience); len(a.Sessions()) > 0; {
				if time.Now().After(deadline) {
					t.Fatal("the session does not end")
				}
				<-time.After(time.Millisecond)
			}
		}
	}
	holder := o.peer("iqn.1993-08.org.debian:01:stranger")
	if len(stranger.Nexuses()) != 1 {
		t.Fatal("the stranger is not there")
	}
	if c.held {
		for _, action := range []byte{0, 1} { // REGISTER, RESERVE
			list := make([]byte, 24)
			list[15-8*action] = 1
			if e := holder.do(command{cdb: []byte{0x5f, action, action, 0, 0, 0, 0, 0, 24, 0}, write: true, expected: 24, data: list}); e.status != 0 {
				t.Fatal(e)
			}
		}
	}
	from, to, disk := s.unit, o.unit, o.disk
	switch {
	case c.own:
		to, disk = s.unit, s.disk
	case c.through:
		from = o.unit
	case c.backwards:
		from, to, disk = o.unit, s.unit, s.disk
	}
	source := s.disk
	if from == o.unit {
		source = o.disk
	}
	before := disk.bytes(0, len(disk.data))
	want := bytes.Clone(before)
	copy(want[60*blockSize:], source.bytes(0, 50*blockSize))
	got := p.do(copies(from, to, 50, 0, 60)).String()
	after := disk.bytes(0, len(disk.data))
	if got == copied && !bytes.Equal(after, want) {
		t.Errorf("%+v: it was not copied", c)
	}
	if got != copied && !bytes.Equal(after, before) {
		t.Errorf("%+v: %s, and something changed", c, got)
	}
	if gate.inside.Load() != 0 {
		t.Errorf("%+v: %d are inside of the gate", c, gate.inside.Load())
	}
	if err := s.server.Close(); err != nil {
		t.Error(err)
	}
	return got
}

// TestCopyEndsWithItsEnds stops the write of a copy, ends what lets it in, and looks that what ends it waits, and nothing lands after.
func TestCopyEndsWithItsEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(s, o *stage, a *Attachment, p, there, other *peer)
		dies bool // the session that asked
		want string
	}{
		{
			name: "fencing of the destination", want: unreachable,
			end: func(s, _ *stage, a *Attachment, _, _, _ *peer) {
				if err := a.Remove(s.t.Context()); err != nil {
					s.t.Error(err)
				}
			},
		},
		{
			name: "a reset of the destination", want: unreachable,
			end: func(s, _ *stage, _ *Attachment, _, _, other *peer) {
				other.manage(pdu.LogicalUnitReset, 0, 0)
				if got := other.managed(); got != pdu.FunctionComplete {
					s.t.Errorf("the reset got %v", got)
				}
			},
		},
		{
			name: "an abort of the task set at the destination", want: unreachable,
			end: func(s, _ *stage, _ *Attachment, _, there, _ *peer) {
				there.manage(pdu.AbortTaskSet, 0, 0)
				if got := there.managed(); got != pdu.FunctionComplete {
					s.t.Errorf("the abort got %v", got)
				}
			},
		},
		{
			name: "PREEMPT AND ABORT at the destination", want: unreachable,
			end: func(s, _ *stage, _ *Attachment, _, there, other *peer) {
				for key, p := range map[byte]*peer{1: there, 2: other} {
					list := make([]byte, 24)
					list[15] = key
					if e := p.do(command{cdb: []byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, write: true, expected: 24, data: list}); e.status != 0 {
						s.t.Error(e)
					}
				}
				list := make([]byte, 24)
				list[7], list[15] = 2, 1
				if e := other.do(command{cdb: []byte{0x5f, 5, 1, 0, 0, 0, 0, 0, 24, 0}, write: true, expected: 24, data: list}); e.status != 0 {
					s.t.Error(e)
				}
			},
		},
		{
			name: "fencing of who asked", dies: true,
			end: func(s, _ *stage, _ *Attachment, _, _, _ *peer) {
				if err := s.target.Remove(s.t.Context()); err != nil {
					s.t.Error(err)
				}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			o := s.beside(2)
			copy(s.disk.data, pattern(400*blockSize, 1))
			s.attach(AttachmentConfig{Initiator: initiatorName, CopyGroup: "g"})
			a := o.attach(AttachmentConfig{Initiator: initiatorName, CopyGroup: "g", Gate: opened()})
			o.attach(AttachmentConfig{Initiator: "iqn.1993-08.org.debian:01:other"})
			p, there, other := s.peer(initiatorName), o.peer(initiatorName), o.peer("iqn.1993-08.org.debian:01:other")
			held := newGate()
			o.disk.hold(held.pass)
			tag := p.start(copies(s.unit, o.unit, 400, 0, 0))
			await(t, held.arrived, "the copy does not write")
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				c.end(s, o, a, p, there, other)
			}()
			// It is told to stop, while it can't.
			for deadline := time.Now().Add(patience); !o.stopping() && !s.stopping(); {
				if time.Now().After(deadline) {
					t.Fatal("the copy is not told to stop")
				}
				<-time.After(time.Millisecond)
			}
			select {
			case <-ended:
				t.Error("what ends the copy did not wait for it")
			default:
			}
			held.open()
			await(t, ended, "what ends the copy waits for ever")
			landed := o.disk.landed()
			if c.dies {
				p.closed()
			} else if e := p.finish(tag); e.String() != c.want {
				t.Errorf("the copy got %v", e)
			}
			if now := o.disk.landed(); now != landed || now != 1 {
				t.Errorf("%d writes landed, and then %d", landed, now)
			}
		})
	}
}

// marked is a connection of the server's that says where its peer is, and stops before it sends a PDU of the opcode stop.
type marked struct {
	net.Conn
	from string
	stop pdu.Opcode
	hold *gate
}

func (m *marked) RemoteAddr() net.Addr { return place(m.from) }

func (m *marked) Write(p []byte) (int, error) {
	if m.hold != nil && len(p) > 0 && pdu.Opcode(p[0]&0x3f) == m.stop {
		m.hold.pass("", 0)
	}
	return m.Conn.Write(p)
}

type place string

func (place) Network() string  { return "tcp" }
func (p place) String() string { return string(p) }

// from returns an initiator of the target, logged in through a connection that change has marked.
func (s *stage) from(name string, isid byte, change func(m *marked)) *peer {
	s.t.Helper()
	ours, theirs := net.Pipe()
	m := &marked{Conn: theirs, from: "192.0.2.1:1000"}
	change(m)
	s.server.Take(m)
	p := newPeer(s.t, ours)
	p.name, p.keys = name, map[string]string{"TargetName": string(s.target.name)}
	p.isid[5] = isid
	return p.login().ready()
}

// TestCopyIsOfOneMachine: two that go by one name don't use each other's sessions.
func TestCopyIsOfOneMachine(t *testing.T) {
	at := func(from string) func(m *marked) { return func(m *marked) { m.from = from } }
	for _, c := range []struct {
		name    string
		asks    string   // from where it is logged in to the first target
		there   []string // and to the other, each through an attachment of its own
		through bool     // or all through one
		want    string
	}{
		{"one machine", "192.0.2.1:1000", []string{"192.0.2.1:1001"}, false, copied},
		{"one machine by IPv6", "[2001:db8::1]:1000", []string{"[2001:db8::1]:1001"}, false, copied},
		{"one machine, several sessions", "192.0.2.1:1000", []string{"192.0.2.1:1001", "192.0.2.1:1002"}, true, copied},
		{"another machine", "192.0.2.1:1000", []string{"192.0.2.2:1001"}, false, unreachable},
		{"another machine too", "192.0.2.1:1000", []string{"192.0.2.1:1001", "192.0.2.2:1001"}, false, copied},
		{"two attachments on one machine", "192.0.2.1:1000", []string{"192.0.2.1:1001", "192.0.2.1:1002"}, false, unreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			o := s.beside(2)
			s.attach(AttachmentConfig{Initiator: initiatorName, CopyGroup: "g"})
			p := s.from(initiatorName, 1, at(c.asks))
			for i, from := range c.there {
				if i == 0 || !c.through {
					o.attach(AttachmentConfig{Initiator: []pdu.Name{"", initiatorName}[i], CopyGroup: "g", Multipath: c.through})
				}
				o.from(initiatorName, byte(10+i), at(from))
			}
			if got := p.do(copies(s.unit, o.unit, 50, 0, 0)).String(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if n := o.disk.landed(); (n > 0) != (c.want == copied) {
				t.Errorf("%d writes landed", n)
			}
		})
	}
}

// TestCopyAfterLogout: a session whose initiator is being told that it is logged out is of no more use to others.
func TestCopyAfterLogout(t *testing.T) {
	s := newStage(t)
	o := s.beside(2)
	s.attach(AttachmentConfig{Initiator: initiatorName, CopyGroup: "g"})
	o.attach(AttachmentConfig{Initiator: initiatorName, CopyGroup: "g"})
	p := s.from(initiatorName, 1, func(*marked) {})
	held := newGate()
	there := o.from(initiatorName, 2, func(m *marked) { m.stop, m.hold = pdu.OpLogoutResponse, held })
	out := make(chan struct{})
	go func() {
		defer close(out)
		there.logout()
	}()
	await(t, held.arrived, "the logout is not answered")
	if got := p.do(copies(s.unit, o.unit, 50, 0, 0)).String(); got != unreachable {
		t.Errorf("the copy got %s", got)
	}
	if n := o.disk.landed(); n != 0 {
		t.Errorf("%d writes landed", n)
	}
	held.open()
	await(t, out, "the initiator does not get out")
}

func opened() *door {
	d := &door{}
	d.open.Store(true)
	return d
}

func await[T any](t *testing.T, c <-chan T, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal(what)
	}
}

// stopping reports whether a visit of the target's sessions was told to stop.
func (s *stage) stopping() bool {
	s.target.mu.Lock()
	defer s.target.mu.Unlock()
	for session := range s.target.sessions {
		session.mu.Lock()
		for v := range session.visits {
			if v.ctx.Err() != nil {
				session.mu.Unlock()
				return true
			}
		}
		session.mu.Unlock()
	}
	return false
}

// TestDerivedContexts derives contexts of a task's, which end with it, and have nothing of it once they ended.
func TestDerivedContexts(t *testing.T) {
	var a abortable
	before := runtime.NumGoroutine()
	first, cancel := context.WithCancel(&a)
	second, drop := context.WithCancel(&a)
	called := make(chan struct{})
	context.AfterFunc(&a, func() { close(called) })
	kept := context.AfterFunc(&a, func() { t.Error("what was stopped is called") })
	if !kept() || kept() {
		t.Error("it is not stopped once")
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines wait", n-before)
	}
	drop()
	if second.Err() == nil || first.Err() != nil || len(a.after) != 2 {
		t.Errorf("one was dropped: %v, %v, %d are left", second.Err(), first.Err(), len(a.after))
	}
	a.abort()
	a.abort()
	if !errors.Is(first.Err(), context.Canceled) {
		t.Errorf("the task is aborted, and what was derived is %v", first.Err())
	}
	await(t, called, "nobody is told")
	late, end := context.WithCancel(&a)
	defer end()
	await(t, late.Done(), "what is derived of an aborted task does not end")
	cancel()
	if len(a.after) > 0 {
		t.Errorf("%d are left", len(a.after))
	}
	a.reset()
	again, end := context.WithCancel(&a)
	defer end()
	if first.Err() == nil || again.Err() != nil {
		t.Errorf("the next command has %v", again.Err())
	}
}
