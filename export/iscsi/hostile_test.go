package iscsi

import (
	"bytes"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"elstore/export/iscsi/pdu"
)

// raw makes a header out of its bytes from the first on.
func raw(b ...byte) (h pdu.BHS) {
	copy(h[:], b)
	return h
}

func TestRefusedPDUs(t *testing.T) {
	tagged := func(h pdu.BHS) pdu.BHS {
		h[19] = 0x77
		return h
	}
	for _, c := range []struct {
		name string
		h    pdu.BHS
		data int
		want pdu.Reason
	}{
		{"unknown opcode", tagged(raw(0x1c, 0x80)), 0, pdu.ReasonNotSupported},
		{"opcode of a target", tagged(raw(0x25, 0x80)), 0, pdu.ReasonNotSupported},
		{"login again", tagged(raw(0x43, 0x87)), 0, pdu.ReasonProtocolError},
		{"SNACK", tagged(raw(0x10, 0x80)), 0, pdu.ReasonSNACK},
		{"data of a logout", tagged(raw(0x46, 0x80)), 4, pdu.ReasonInvalidField},
		{"reserved logout reason", tagged(raw(0x46, 0x85)), 0, pdu.ReasonInvalidField},
		{"command without a tag", raw(0x41, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff), 0, pdu.ReasonInvalidField},
		{"reserved attribute", tagged(raw(0x41, 0x87)), 0, pdu.ReasonInvalidField},
		{"immediate data of a read", tagged(raw(0x41, 0xc1)), 8, pdu.ReasonInvalidField},
		{"more data than expected", tagged(raw(0x41, 0xa1)), 8, pdu.ReasonInvalidField},
		{"text that is none", tagged(raw(0x44, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)), 8, pdu.ReasonProtocolError},
		{"text of no negotiation", tagged(raw(0x44, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9)), 0, pdu.ReasonProtocolError},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			s.attach(AttachmentConfig{})
			p := newPeer(t, s.pipe()).login().ready()
			sent := c.h
			p.send(&sent, bytes.Repeat([]byte{'='}, c.data))
			var r pdu.Reject
			in := p.want(pdu.OpReject)
			r.Decode(&in.h)
			if r.Reason != c.want {
				t.Errorf("rejected for %v, want %v", r.Reason, c.want)
			}
			if !bytes.Equal(in.data, sent[:]) {
				t.Errorf("the Reject has the header % x, want % x", in.data, sent[:])
			}
			p.ready() // the session lives
		})
	}
}

func TestRefusedCommands(t *testing.T) {
	data := pattern(1<<17, 0)
	for _, c := range []struct {
		name    string
		keys    map[string]string
		command command
		want    string
	}{
		{
			"immediate data that was not agreed on",
			map[string]string{"ImmediateData": "No"},
			write10(0, 1, data[:512]), "status 0x02 sense b/0c/0c over false under true 512",
		},
		{
			"more than the first burst",
			map[string]string{"FirstBurstLength": "1024"},
			write10(0, 4, data[:2048]), "status 0x02 sense b/0c/0c over false under true 2048",
		},
		{
			"unsolicited data that was not agreed on",
			map[string]string{"InitialR2T": "Yes"},
			command{cdb: cdb10(0x2a, 0, 2), write: true, expected: 1024, data: data[:512], more: true},
			"status 0x02 sense b/0c/0c over false under true 1024",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			s.attach(AttachmentConfig{})
			p := newPeer(t, s.pipe())
			maps.Copy(p.keys, c.keys)
			p.login().ready()
			if got := p.do(c.command).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			p.ready()
			if s.disk.landed() != 0 {
				t.Error("something was written")
			}
		})
	}
}

func TestConnectionEndsOn(t *testing.T) {
	digests := map[string]string{"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}
	tur := func(p *peer) []byte {
		h := p.header(command{cdb: []byte{0}})
		return pdu.Append(nil, &h, nil, nil, true, true)
	}
	for _, c := range []struct {
		name  string
		keys  map[string]string
		bytes func(p *peer) []byte
	}{
		{"a wrong header digest", digests, func(p *peer) []byte {
			b := tur(p)
			b[pdu.BHSLength]++
			return b
		}},
		{"a data segment over the limit", nil, func(p *peer) []byte {
			h := p.header(command{cdb: cdb10(0x2a, 0, 2000), write: true, expected: 2000 * blockSize})
			return pdu.Append(nil, &h, nil, make([]byte, 1<<18+4), false, false)[:pdu.BHSLength]
		}},
		{"half a header", nil, func(*peer) []byte { return make([]byte, 20) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			s.attach(AttachmentConfig{})
			p := newPeer(t, s.pipe())
			maps.Copy(p.keys, c.keys)
			p.login().ready()
			if _, err := p.conn.Write(c.bytes(p)); err != nil {
				t.Fatal(err)
			}
			if c.name == "half a header" {
				p.conn.Close()
			}
			p.closed()
			s.quiet()
		})
	}
}

// quiet waits until the server has no session.
func (s *stage) quiet() {
	for _, ses := range s.server.sessions() {
		<-ses.gone
	}
}

func TestWrongDataDigest(t *testing.T) {
	s := newStage(t)
	s.attach(AttachmentConfig{})
	p := newPeer(t, s.pipe())
	maps.Copy(p.keys, map[string]string{"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"})
	p.login().ready()

	// A command is not received; it may come again with the same number.
	p.itt++
	w := write10(0, 1, pattern(512, 1))
	h := p.header(w)
	b := pdu.Append(nil, &h, nil, w.data, true, true)
	b[len(b)-1]++
	if _, err := p.conn.Write(b); err != nil {
		t.Fatal(err)
	}
	var r pdu.Reject
	in := p.want(pdu.OpReject)
	r.Decode(&in.h)
	if r.Reason != pdu.ReasonDataDigest {
		t.Errorf("rejected for %v", r.Reason)
	}
	w.cmdSN = p.cmdSN - 1
	if e := p.do(w); e.status != 0 {
		t.Errorf("the same again: %v", e)
	}

	// The task of a Data-Out ends when all its data came.
	itt := p.start(write10(0, 2, nil))
	in = p.want(pdu.OpR2T)
	d := pdu.DataOut{InitiatorTaskTag: itt, TargetTransferTag: in.h.TargetTransferTag()}
	d.Encode(&h)
	b = pdu.Append(nil, &h, nil, make([]byte, 512), true, true)
	b[len(b)-1]++
	if _, err := p.conn.Write(b); err != nil {
		t.Fatal(err)
	}
	p.want(pdu.OpReject)
	p.dataOut(itt, in.h.TargetTransferTag(), 1, 512, make([]byte, 512), true)
	if got := p.finish(itt).String(); got != "status 0x02 sense b/47/05 over false under true 1024" {
		t.Errorf("got %s", got)
	}
	if s.disk.landed() != 1 {
		t.Errorf("%d writes", s.disk.landed())
	}
}

func TestTaskTagInUse(t *testing.T) {
	s := newStage(t)
	s.attach(AttachmentConfig{})
	p := newPeer(t, s.pipe()).login().ready()
	itt := p.start(write10(0, 16, nil))
	in := p.want(pdu.OpR2T)
	p.itt = itt - 1
	p.start(command{cdb: []byte{0}})
	p.cmdSN-- // it does not count
	var r pdu.Reject
	rejected := p.want(pdu.OpReject)
	r.Decode(&rejected.h)
	if r.Reason != pdu.ReasonTaskInProgress {
		t.Errorf("rejected for %v", r.Reason)
	}
	p.dataOut(itt, in.h.TargetTransferTag(), 0, 0, make([]byte, 8192), true)
	if e := p.finish(itt); e.status != 0 {
		t.Errorf("the first task ended with %v", e)
	}
	p.ready()
}

func TestPeerThatVanishes(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(p *peer)
	}{
		{"after a command", func(p *peer) { p.start(write10(0, 16, nil)) }},
		{"in the middle of unsolicited data", func(p *peer) {
			w := write10(0, 16, make([]byte, 512))
			w.more = true
			itt := p.start(w)
			p.dataOut(itt, pdu.ReservedTag, 0, 512, make([]byte, 1000), false)
		}},
		{"in the middle of a burst", func(p *peer) {
			itt := p.start(write10(0, 16, nil))
			in := p.want(pdu.OpR2T)
			p.dataOut(itt, in.h.TargetTransferTag(), 0, 0, make([]byte, 1000), false)
		}},
		{"in the middle of a PDU", func(p *peer) {
			w := write10(0, 16, make([]byte, 8192))
			h := p.header(w)
			b := pdu.Append(nil, &h, nil, w.data, false, false)
			_, _ = p.conn.Write(b[:5000])
		}},
		{"with commands out of turn", func(p *peer) {
			p.cmdSN++
			for range 20 {
				p.start(write10(0, 1, make([]byte, 512)))
			}
		}},
		{"without reading what it asked for", func(p *peer) {
			for range 20 {
				p.start(read10(0, 1000))
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, options ...option) {
				s := newStage(t, options...)
				s.attach(AttachmentConfig{})
				p := newPeer(t, s.pipe()).login().ready()
				c.do(p)
				p.conn.Close()
				s.quiet()
				if n := s.server.granted.Load(); n != 0 {
					t.Errorf("%d bytes are still granted", n)
				}
				if s.disk.landed() != 0 {
					t.Error("something was written")
				}
				newPeer(t, s.pipe()).login().ready()
			})
		})
	}
}

func TestPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(c *Config, _ *TargetConfig) { c.SessionBytes = 1 << 20 })
		s.attach(AttachmentConfig{})
		p := newPeer(t, s.pipe()).login().ready()
		slow := newSlowPeer(t, s.pipe(), 1)
		slow.name = "iqn.1993-08.org.debian:01:slow"
		s.target.open[0].cfg.Shared = true
		slow.login()
		begin := time.Now()
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for i := range 400 { // commands beyond the window too
				r := read10(0, 256)
				r.cmdSN = 100 + pdu.SN(i)
				slow.itt++
				h := slow.header(r)
				if _, err := slow.conn.Write(h[:]); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		if n := s.server.granted.Load(); n > 1<<20 {
			t.Errorf("%d bytes are granted", n)
		}
		for range 3 { // the others don't notice
			if e := p.do(read10(0, 8)); e.status != 0 {
				t.Errorf("another session's read: %v", e)
			}
		}
		<-time.After(14 * time.Second)
		p.ready()
		var ses *session
		for _, other := range s.server.sessions() {
			if string(other.peer().InitiatorName) == slow.name {
				ses = other
			}
		}
		<-ses.gone
		if took := time.Since(begin); took != 20*time.Second {
			t.Errorf("the session ended after %v", took)
		}
		slow.conn.Close()
		<-stop
		p.ready()
	})
}

func TestPeerThatWritesSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.attach(AttachmentConfig{})
		p := newPeer(t, s.pipe()).login().ready()
		w := write10(0, 1, pattern(512, 9))
		p.itt++
		h := p.header(w)
		for _, b := range pdu.Append(nil, &h, nil, w.data, false, false) {
			if _, err := p.conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Second / 4)
		}
		if e := p.finish(p.itt); e.status != 0 || !bytes.Equal(s.disk.bytes(0, 512), w.data) {
			t.Errorf("the write ended with %v", e)
		}
	})
}

func TestServerThatIsFull(t *testing.T) {
	s := newStage(t, func(c *Config, _ *TargetConfig) { c.ServerBytes = 64 << 10 })
	s.attach(AttachmentConfig{})
	p := newPeer(t, s.pipe()).login().ready()
	g := newGate()
	defer g.open()
	s.disk.hold(g.pass)
	first := p.start(write10(0, 100, make([]byte, 100*blockSize)))
	<-g.arrived
	if e := p.do(write10(0, 100, make([]byte, 100*blockSize))); e.status != 0x28 {
		t.Errorf("a write beyond what all may hold: %v", e)
	}
	g.open()
	if e := p.finish(first); e.status != 0 {
		t.Errorf("the first: %v", e)
	}
	if e := p.do(write10(0, 100, make([]byte, 100*blockSize))); e.status != 0 {
		t.Errorf("and again: %v", e)
	}
}

// TestNothingIsLeftBehind closes a server with commands in every state. That goroutines are left fails a bubble.
func TestNothingIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.attach(AttachmentConfig{Shared: true})
		g := newGate()
		var peers []*peer
		for i := range 8 {
			p := newPeer(t, s.pipe())
			p.isid[4] = byte(i)
			peers = append(peers, p.login().ready())
		}
		s.disk.hold(g.pass)
		for _, p := range peers {
			p.start(read10(0, 64))
			<-g.arrived // at the device
		}
		for _, p := range peers {
			p.start(write10(0, 64, nil))
			ordered := read10(0, 64)
			ordered.attr = pdu.Ordered
			p.start(ordered)
			p.start(read10(0, 64))
			p.manage(pdu.AbortTaskSet, pdu.ReservedTag, 0)
			p.cmdSN++ // a gap
			p.start(read10(0, 64))
		}
		closed := make(chan error)
		go func() { closed <- s.server.Close() }()
		synctest.Wait()
		for _, p := range peers {
			p.closed()
		}
		select {
		case <-closed:
			t.Fatal("Close returned, and commands are at the device")
		default:
		}
		g.open()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if n := len(s.server.sessions()); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}
