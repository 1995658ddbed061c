package iscsi

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"elstore/export/iscsi/login"
	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

// text sends a Text Request and returns the pairs of the answer.
func (p *peer) text(pairs ...string) []string {
	p.t.Helper()
	p.itt++
	r := pdu.Text{Immediate: true, Final: true, InitiatorTaskTag: p.itt, TargetTransferTag: pdu.ReservedTag, CmdSN: p.cmdSN}
	var h pdu.BHS
	r.Encode(&h)
	p.send(&h, []byte(strings.Join(pairs, "\x00")+"\x00"))
	in := p.want(pdu.OpTextResponse)
	if len(in.data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(in.data), "\x00"), "\x00")
}

// chapLogin logs in with CHAP and MD5.
func (p *peer) chapLogin(name, secret string) pdu.LoginStatus {
	p.t.Helper()
	say := func(transit bool, nsg pdu.Stage, pairs ...string) map[string]string {
		l := pdu.Login{
			Transit: transit, NSG: nsg, ISID: p.isid, InitiatorTaskTag: 1, CID: 1, CmdSN: p.cmdSN,
		}
		var h pdu.BHS
		l.Encode(&h)
		p.send(&h, []byte(strings.Join(pairs, "\x00")+"\x00"))
		var r pdu.LoginResponse
		in := p.want(pdu.OpLoginResponse)
		r.Decode(&in.h)
		p.status, p.tsih = r.Status, r.TSIH
		got := map[string]string{}
		for pair := range strings.SplitSeq(string(in.data), "\x00") {
			key, value, _ := strings.Cut(pair, "=")
			got[key] = value
		}
		return got
	}
	identity := []string{"InitiatorName=" + p.name, "AuthMethod=CHAP", "SessionType=Normal", "TargetName=" + string(targetName)}
	if p.keys["SessionType"] == "Discovery" {
		identity = []string{"InitiatorName=" + p.name, "AuthMethod=CHAP", "SessionType=Discovery"}
	}
	say(false, 0, identity...)
	got := say(false, 0, "CHAP_A=5")
	id, err := strconv.Atoi(got["CHAP_I"])
	if err != nil {
		p.t.Fatalf("the challenge is %q", got)
	}
	challenge, err := hex.DecodeString(strings.TrimPrefix(got["CHAP_C"], "0x"))
	if err != nil {
		p.t.Fatal(err)
	}
	sum := md5.Sum(append(append([]byte{byte(id)}, secret...), challenge...))
	say(true, pdu.FullFeaturePhase, "CHAP_N="+name, "CHAP_R=0x"+hex.EncodeToString(sum[:]))
	p.itt = 10
	return p.status
}

func discover(p *peer) *peer {
	p.keys["SessionType"], p.keys["TargetName"] = "Discovery", ""
	return p
}

// another adds a second target to the stage.
func (s *stage) another(name pdu.Name) *Target {
	s.t.Helper()
	unit, err := scsi.New(s.t.Context(), scsi.Config{Device: newRAM(), ID: scsi.ID{2}})
	if err != nil {
		s.t.Fatal(err)
	}
	t, err := s.server.AddTarget(TargetConfig{Name: name, Unit: unit})
	if err != nil {
		s.t.Fatal(err)
	}
	return t
}

func TestDiscovery(t *testing.T) {
	const second = "iqn.2004-10.cloud.elemento:01:second"
	first := []string{"TargetName=" + string(targetName), "TargetAddress=192.0.2.1:3260,1", "TargetAddress=[2001:db8::1]:3260,1"}
	other := []string{"TargetName=" + second, "TargetAddress=192.0.2.1:3260,1", "TargetAddress=[2001:db8::1]:3260,1"}
	setting := func(t *testing.T) *stage {
		s := newStage(t, func(c *Config, _ *TargetConfig) { c.Advertise = []string{"192.0.2.1:3260", "[2001:db8::1]:3260"} })
		s.attach(AttachmentConfig{Initiator: initiatorName, Shared: true})
		s.attach(AttachmentConfig{CHAPName: "vm-1", Secret: login.NewSecret("correct horse battery")})
		if _, err := s.another(second).Attach(AttachmentConfig{CHAPName: "vm-2", Secret: login.NewSecret("another secret here")}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct {
		name  string
		begin func(p *peer)
		ask   string
		want  []string
	}{
		{"all, of an initiator that is let in", func(p *peer) { discover(p).login() }, "All", first},
		{"all, of one that is not", func(p *peer) {
			p.name = "iqn.1993-08.org.debian:01:another"
			discover(p).login()
		}, "All", nil},
		{"all, with CHAP", func(p *peer) { discover(p).chapLogin("vm-2", "another secret here") }, "All", other},
		{"one by name", func(p *peer) { discover(p).login() }, string(targetName), first},
		{"one that may not be seen", func(p *peer) { discover(p).login() }, second, nil},
		{"its own, in a normal session", func(p *peer) { p.login() }, "", first},
		{"another, in a normal session", func(p *peer) { p.login() }, second, []string{"SendTargets=Reject"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := setting(t)
			p := newPeer(t, s.pipe())
			c.begin(p)
			if p.status != pdu.Success {
				t.Fatalf("the login ended with %v", p.status)
			}
			if got := p.text("SendTargets=" + c.ask); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			p.logout()
			p.closed()
		})
	}
	t.Run("has no commands", func(t *testing.T) {
		p := discover(newPeer(t, setting(t).pipe())).login()
		p.start(command{cdb: []byte{0}})
		p.want(pdu.OpReject)
		p.nop()
	})
}

func TestRenegotiation(t *testing.T) {
	s := newStage(t)
	s.attach(AttachmentConfig{})
	p := newPeer(t, s.pipe()).login().ready()
	if got := p.text("MaxRecvDataSegmentLength=512", "X-unknown=1"); !slices.Equal(got, []string{"X-unknown=NotUnderstood"}) {
		t.Errorf("got %q", got)
	}
	p.start(read10(0, 2))
	for range 2 {
		if in := p.want(pdu.OpDataIn); len(in.data) != 512 {
			t.Errorf("a Data-In has %d bytes", len(in.data))
		}
	}
}

func TestCHAP(t *testing.T) {
	const secret = "correct horse battery"
	setting := func(t *testing.T) (*stage, *Attachment) {
		s := newStage(t)
		return s, s.attach(AttachmentConfig{CHAPName: "vm-1", Secret: login.NewSecret(secret), Initiator: initiatorName})
	}
	t.Run("gets in", func(t *testing.T) {
		s, a := setting(t)
		p := newPeer(t, s.pipe())
		if got := p.chapLogin("vm-1", secret); got != pdu.Success {
			t.Fatalf("got %v", got)
		}
		p.ready()
		if got := a.Sessions(); len(got) != 1 || got[0].CHAPName != "vm-1" || got[0].Initiator != initiatorName ||
			got[0].ISID != "00023d010000" || got[0].TSIH != p.tsih {
			t.Errorf("the sessions are %+v", got)
		}
	})
	for _, c := range []struct {
		name   string
		chap   string
		secret string
		who    string
	}{
		{"a wrong secret", "vm-1", "wrong", initiatorName},
		{"a wrong name", "vm-2", secret, initiatorName},
		{"another initiator", "vm-1", secret, "iqn.1993-08.org.debian:01:another"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, a := setting(t)
			p := newPeer(t, s.pipe())
			p.name = c.who
			if got := p.chapLogin(c.chap, c.secret); got != pdu.AuthenticationFailure {
				t.Errorf("got %v", got)
			}
			p.closed()
			if len(a.Sessions()) != 0 {
				t.Error("there is a session")
			}
		})
	}
	t.Run("without CHAP", func(t *testing.T) {
		s, _ := setting(t)
		if got := newPeer(t, s.pipe()).tryLogin(); got != pdu.AuthenticationFailure {
			t.Errorf("got %v", got)
		}
	})
	t.Run("a name for two", func(t *testing.T) {
		s, a := setting(t)
		again := AttachmentConfig{CHAPName: "vm-1", Secret: login.NewSecret("x")}
		if _, err := s.another("iqn.2004-10.cloud.elemento:01:second").Attach(again); !errors.Is(err, ErrExists) {
			t.Errorf("got %v", err)
		}
		if err := a.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.attach(again) // the name is free again
	})
	t.Run("a session of another attachment is not taken over", func(t *testing.T) {
		s, _ := setting(t)
		s.attach(AttachmentConfig{CHAPName: "vm-2", Secret: login.NewSecret("another secret here")})
		p := newPeer(t, s.pipe())
		p.chapLogin("vm-1", secret)
		thief := newPeer(t, s.pipe()) // with the same InitiatorName and ISID
		if got := thief.chapLogin("vm-2", "another secret here"); got != pdu.AuthorizationFailure {
			t.Errorf("got %v", got)
		}
		p.ready()
	})
}

func TestTargets(t *testing.T) {
	s := newStage(t)
	if got := newPeer(t, s.pipe()).tryLogin(); got != pdu.AuthenticationFailure {
		t.Errorf("a login that nothing lets in: %v", got)
	}
	if _, err := s.server.AddTarget(TargetConfig{Name: targetName, Unit: s.unit}); !errors.Is(err, ErrExists) {
		t.Errorf("the same target again: %v", err)
	}
	s.attach(AttachmentConfig{})
	p := newPeer(t, s.pipe()).login()
	if err := s.target.Remove(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.closed()
	if got := newPeer(t, s.pipe()).tryLogin(); got != pdu.TargetNotFound {
		t.Errorf("a login to what was removed: %v", got)
	}
	if _, err := s.target.Attach(AttachmentConfig{}); !errors.Is(err, ErrRemoved) {
		t.Errorf("an attachment to what was removed: %v", err)
	}
}
