package iscsi

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"elstore/export/iscsi/pdu"
)

// gate holds up device calls until it is opened.
type gate struct {
	once    sync.Once
	opened  chan struct{}
	arrived chan struct{}
}

func newGate() *gate { return &gate{opened: make(chan struct{}), arrived: make(chan struct{}, 256)} }

func (g *gate) pass(string, int64) {
	g.arrived <- struct{}{}
	<-g.opened
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

func TestIdlePeerIsPingedAndThenDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.attach(AttachmentConfig{})
		p := newPeer(t, s.pipe()).login()
		begin := time.Now()
		in := p.want(pdu.OpNOPIn)
		if took := time.Since(begin); took != 15*time.Second {
			t.Errorf("the ping came after %v", took)
		}
		if in.h.InitiatorTaskTag() != pdu.ReservedTag || in.h.TargetTransferTag() == pdu.ReservedTag {
			t.Errorf("the ping is % x", in.h[:])
		}
		p.pong(in.h.TargetTransferTag())
		p.want(pdu.OpNOPIn)
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("the second ping came after %v", took)
		}
		p.closed()
		if took := time.Since(begin); took != 35*time.Second {
			t.Errorf("the session ended after %v", took)
		}
	})
}

// pong answers a ping.
func (p *peer) pong(tag uint32) {
	n := pdu.NOPOut{Immediate: true, InitiatorTaskTag: pdu.ReservedTag, TargetTransferTag: tag, CmdSN: p.cmdSN}
	var h pdu.BHS
	n.Encode(&h)
	p.send(&h, nil)
}

func TestSilentConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(c *Config, _ *TargetConfig) { c.MaxHalfOpen = 900 })
		s.attach(AttachmentConfig{})
		var conns []net.Conn
		for range 1000 {
			conns = append(conns, s.pipe())
		}
		synctest.Wait()
		alive := newPeer(t, s.pipe()).login()
		<-time.After(10 * time.Second)
		synctest.Wait()
		for _, c := range conns {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Fatal("a silent connection lives on")
			}
			c.Close()
		}
		alive.ready()
	})
}

func TestReinstatement(t *testing.T) {
	s := newStage(t)
	s.attach(AttachmentConfig{})
	first := newPeer(t, s.pipe()).login().ready()
	second := newPeer(t, s.pipe()).login()
	first.closed()
	if e := second.do(command{cdb: []byte{0}}); e.String() != "status 0x02 sense 6/29/07" {
		t.Errorf("the first command of the new session: %v", e)
	}
	second.ready()
}

func TestExclusiveAttachment(t *testing.T) {
	for _, c := range []struct {
		name   string
		config AttachmentConfig
		same   bool // the same InitiatorName
		alive  bool // the old session answers pings
		want   pdu.LoginStatus
		after  time.Duration
	}{
		{name: "old session lives", alive: true, want: pdu.ServiceUnavailable},
		{name: "old session is dead", want: pdu.Success, after: 5 * time.Second},
		{name: "same initiator, not multipath", same: true, alive: true, want: pdu.ServiceUnavailable},
		{name: "multipath", config: AttachmentConfig{Multipath: true}, same: true, alive: true, want: pdu.Success},
		{name: "multipath of another", config: AttachmentConfig{Multipath: true}, alive: true, want: pdu.ServiceUnavailable},
		{name: "shared", config: AttachmentConfig{Shared: true}, alive: true, want: pdu.Success},
		{name: "read-only", config: AttachmentConfig{ReadOnly: true}, alive: true, want: pdu.Success},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				s.attach(c.config)
				old := newPeer(t, s.pipe()).login().ready()
				go func() {
					for c.alive {
						select {
						case r := <-old.got:
							if r.h.Opcode() == pdu.OpNOPIn {
								old.pong(r.h.TargetTransferTag())
							}
						case <-old.ended:
							return
						}
					}
				}()
				p := newPeer(t, s.pipe())
				p.isid[3]++
				if !c.same {
					p.name = "iqn.1993-08.org.debian:01:another"
				}
				begin := time.Now()
				if got := p.tryLogin(); got != c.want {
					t.Errorf("the login ended with %v, want %v", got, c.want)
				}
				if took := time.Since(begin); took != c.after {
					t.Errorf("the login took %v, want %v", took, c.after)
				}
				if c.want == pdu.Success {
					p.ready()
				}
			})
		})
	}
}

func TestFencing(t *testing.T) {
	s := newStage(t)
	a := s.attach(AttachmentConfig{})
	p := newPeer(t, s.pipe()).login().ready()
	g := newGate()
	defer g.open()
	s.disk.hold(g.pass)
	for i := range 32 {
		p.start(write10(i, 1, pattern(512, i)))
	}
	for range defaultWorkers { // as many as may be at the device
		<-g.arrived
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Remove(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("fencing returned %v, and writes were at the device", err)
	}
	p.closed()
	late := newPeer(t, s.pipe())
	if got := late.tryLogin(); got != pdu.AuthenticationFailure {
		t.Errorf("a login after the fence ended with %v", got)
	}
	g.open()
	if err := a.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	landed := s.disk.landed()
	if most := defaultWorkers + 1; landed > most { // the reader ran one itself
		t.Errorf("%d writes landed, and %d were at the device", landed, most)
	}
	if again := s.disk.landed(); again != landed {
		t.Error("a write landed after the fence had returned")
	}
}

func TestShutdownAsksForLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.attach(AttachmentConfig{Shared: true})
		polite, rude := newPeer(t, s.pipe()).login(), newPeer(t, s.pipe())
		rude.isid[3]++
		rude.login()
		done := make(chan error)
		begin := time.Now()
		go func() { done <- s.server.Shutdown(context.Background()) }()
		var a pdu.Async
		in := polite.want(pdu.OpAsync)
		a.Decode(&in.h)
		if a.AsyncEvent != pdu.AsyncLogoutRequest || a.Parameter3 != 5 {
			t.Errorf("got %+v", a)
		}
		polite.logout()
		polite.closed()
		rude.want(pdu.OpAsync)
		if err := <-done; err != nil || time.Since(begin) != 5*time.Second {
			t.Errorf("Shutdown returned %v after %v", err, time.Since(begin))
		}
		rude.closed()
	})
}

// logout logs out.
func (p *peer) logout() {
	p.t.Helper()
	p.itt++
	l := pdu.Logout{Immediate: true, InitiatorTaskTag: p.itt, CmdSN: p.cmdSN}
	var h pdu.BHS
	l.Encode(&h)
	p.send(&h, nil)
	var r pdu.LogoutResponse
	in := p.want(pdu.OpLogoutResponse)
	r.Decode(&in.h)
	if r.Response != pdu.LogoutClosed {
		p.t.Errorf("logout: %+v", r)
	}
}

// Who logged out holds nothing any more as soon as it knows.
func TestLogoutEndsTheNexus(t *testing.T) {
	s := newStage(t)
	s.attach(AttachmentConfig{Shared: true})
	stays := newPeer(t, s.pipe())
	stays.isid[3]++
	stays.login().ready()
	for range 50 {
		goes := newPeer(t, s.pipe()).login().ready()
		if e := goes.do(command{cdb: []byte{0x16, 0, 0, 0, 0, 0}}); e.status != 0 { // RESERVE(6)
			t.Fatal(e)
		}
		goes.logout()
		if e := stays.do(read10(0, 1)); e.status != 0 {
			t.Fatalf("after the logout of who had reserved it, the unit answers %v", e)
		}
		goes.closed()
	}
}

func TestCommandOrder(t *testing.T) {
	s := newStage(t)
	s.attach(AttachmentConfig{})
	p := newPeer(t, s.pipe()).login().ready()
	sn := p.cmdSN
	tur := command{cdb: []byte{0}}
	late := tur
	late.cmdSN = sn + 1
	second := p.start(late) // waits for the first
	again := tur
	again.cmdSN = sn + 1
	p.start(again)       // a duplicate: silently ignored
	again.cmdSN = sn - 1 // below the window
	p.start(again)
	again.cmdSN = sn + 500 // above it
	p.start(again)
	late.cmdSN = sn
	first := p.start(late)
	for range 2 {
		in := p.want(pdu.OpSCSIResponse)
		if tag := in.h.InitiatorTaskTag(); tag != first && tag != second {
			t.Errorf("an answer to task %d", tag)
		}
	}
	p.cmdSN = sn + 2
	p.ready()
	if p.exp != p.cmdSN || p.maxCmd.Since(p.exp) != 127 {
		t.Errorf("ExpCmdSN %d, MaxCmdSN %d, want %d and 127 more", p.exp, p.maxCmd, p.cmdSN)
	}
}

func TestTaskManagement(t *testing.T) {
	t.Run("abort of a task at the device", func(t *testing.T) {
		s := newStage(t)
		s.attach(AttachmentConfig{})
		p := newPeer(t, s.pipe()).login().ready()
		g := newGate()
		defer g.open()
		s.disk.hold(g.pass)
		itt := p.start(write10(0, 1, pattern(512, 1)))
		<-g.arrived
		p.manage(pdu.AbortTask, itt, p.cmdSN-1)
		p.itt++
		n := pdu.NOPOut{Immediate: true, InitiatorTaskTag: p.itt, TargetTransferTag: pdu.ReservedTag, CmdSN: p.cmdSN}
		var h pdu.BHS
		n.Encode(&h)
		p.send(&h, []byte("still there"))
		if in := p.want(pdu.OpNOPIn); string(in.data) != "still there" {
			t.Errorf("the ping came back as %q", in.data)
		}
		g.open()
		if got := p.managed(); got != pdu.FunctionComplete {
			t.Errorf("got %v", got)
		}
		p.ready()
	})
	t.Run("abort of a task that is not there", func(t *testing.T) {
		s := newStage(t)
		s.attach(AttachmentConfig{})
		p := newPeer(t, s.pipe()).login().ready()
		p.manage(pdu.AbortTask, 4711, p.cmdSN-1)
		if got := p.managed(); got != pdu.TaskDoesNotExist {
			t.Errorf("got %v", got)
		}
	})
	t.Run("task set with data to come", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			s.attach(AttachmentConfig{})
			p := newPeer(t, s.pipe()).login().ready()
			itt := p.start(write10(0, 16, nil))
			in := p.want(pdu.OpR2T)
			p.manage(pdu.AbortTaskSet, pdu.ReservedTag, 0)
			begin := time.Now()
			<-time.After(time.Second)
			p.dataOut(itt, in.h.TargetTransferTag(), 0, 0, make([]byte, 8192), true)
			if got := p.managed(); got != pdu.FunctionComplete || time.Since(begin) != time.Second {
				t.Errorf("got %v after %v", got, time.Since(begin))
			}
			p.start(write10(0, 16, nil))
			p.want(pdu.OpR2T)
			p.manage(pdu.AbortTaskSet, pdu.ReservedTag, 0) // and the data never comes
			begin = time.Now()
			if got := p.managed(); got != pdu.FunctionComplete || time.Since(begin) != drainTimeout {
				t.Errorf("got %v after %v", got, time.Since(begin))
			}
			if s.disk.landed() != 0 {
				t.Error("something was written")
			}
			p.ready()
		})
	})
	t.Run("reset with two sessions", func(t *testing.T) {
		s := newStage(t)
		s.attach(AttachmentConfig{Shared: true})
		a, b := newPeer(t, s.pipe()).login().ready(), newPeer(t, s.pipe())
		b.isid[3]++
		b.login().ready()
		g := newGate()
		defer g.open()
		s.disk.hold(g.pass)
		itt := b.start(read10(0, 1))
		<-g.arrived
		a.manage(pdu.LogicalUnitReset, pdu.ReservedTag, 0)
		a.nop() // it has been taken in
		g.open()
		if got := a.managed(); got != pdu.FunctionComplete {
			t.Errorf("got %v", got)
		}
		if e := b.finish(itt); e.status != 0x40 {
			t.Errorf("the task of the other session ended with %v", e)
		}
		if e := b.do(command{cdb: []byte{0}}); e.String() != "status 0x02 sense 6/29/03" {
			t.Errorf("and its next one with %v", e)
		}
		if e := a.do(command{cdb: []byte{0}}); e.String() != "status 0x02 sense 6/29/03" {
			t.Errorf("and the asker's with %v", e)
		}
		a.ready()
	})
	for _, c := range []struct {
		name string
		f    pdu.Function
		want pdu.FunctionResponse
	}{
		{"clear task set", pdu.ClearTaskSet, pdu.FunctionComplete},
		{"warm reset", pdu.TargetWarmReset, pdu.FunctionComplete},
		{"clear ACA", pdu.ClearACA, pdu.FunctionNotSupported},
		{"reassign", pdu.TaskReassign, pdu.ReassignmentNotSupported},
		{"query task", pdu.QueryTask, pdu.FunctionNotSupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			s.attach(AttachmentConfig{})
			p := newPeer(t, s.pipe()).login().ready()
			p.manage(c.f, pdu.ReservedTag, 0)
			if got := p.managed(); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			p.ready()
		})
	}
	t.Run("cold reset ends the sessions", func(t *testing.T) {
		s := newStage(t)
		s.attach(AttachmentConfig{})
		p := newPeer(t, s.pipe()).login().ready()
		p.manage(pdu.TargetColdReset, pdu.ReservedTag, 0)
		if got := p.managed(); got != pdu.FunctionComplete {
			t.Errorf("got %v", got)
		}
		p.want(pdu.OpAsync)
		p.closed()
	})
}

// TestAnInitiatorComesBack: what is left of the session that it hung up on has ended when it is let in again.
func TestAnInitiatorComesBack(t *testing.T) {
	s := newStage(t)
	s.attach(AttachmentConfig{Shared: true})
	for i := range 50 {
		conn, theirs := socketPair(t)
		s.server.Take(theirs)
		p := newPeer(t, conn)
		p.isid[5] = byte(i)
		p.login()
		if n := len(s.server.sessions()); n != 1 {
			t.Fatalf("login %d: there are %d sessions", i, n)
		}
		conn.Close()
	}
}
