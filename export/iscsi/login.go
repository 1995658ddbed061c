package iscsi

import (
	"errors"
	"io"
	"time"

	"elstore/export/iscsi/login"
	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

var errLongLogin = errors.New("a PDU of the login is over 8192 bytes")

// login runs the login phase. A session that it returns is registered, with an error too, and must be ended.
func (c *conn) login(reader *pdu.Reader, writer *pdu.Writer) (*session, error) {
	who := &authority{server: c.server, local: localAddress(c.net)}
	cfg := *c.server.negotiation
	cfg.Authority = who
	state := login.New(&cfg)
	var s *session
	for {
		p, err := reader.Next()
		if err != nil {
			return nil, err
		}
		if p.Skipped > 0 {
			return nil, errLongLogin
		}
		reply := state.Step(p.BHS, p.Data)
		if reply.Outcome == login.Admit {
			var status pdu.LoginStatus
			s, status, err = c.admit(state.Result())
			if err != nil {
				s = nil
				reply = state.Refuse(status, err)
			} else {
				reply = state.Admit(s.tsih)
			}
		}
		if reply.Outcome == login.Drop {
			return s, reply.Err
		}
		reply.Response.Encode(writer.Begin())
		writer.End(reply.Text, nil)
		if err := writer.Flush(); err != nil {
			return s, err
		}
		switch reply.Outcome {
		case login.Failed:
			return nil, reply.Err
		case login.Done:
			s.start(&cfg, state.Result(), who, reader, writer)
			return s, nil
		default:
		}
	}
}

// What a login is refused for.
var (
	errNoAttachment = errors.New("nothing lets the initiator in")
	errOtherOwner   = errors.New("the initiator port has a session through another attachment")
	errInUse        = errors.New("a session lives that admits no other")
	errStuck        = errors.New("the session that was in the way has not ended yet")
	errManySessions = errors.New("the target has as many sessions as it may have")
	errReinstated   = errors.New("a login of the same initiator port took its place")
	errSilent       = errors.New("it did not answer when another login wanted its place")
)

// admit makes a session of a login, once all that is in its way is gone. The status is for the error.
func (c *conn) admit(r login.Result) (*session, pdu.LoginStatus, error) {
	s := newSession(c, r)
	if r.Peer.Discovery {
		if !c.server.takeTSIH(s) {
			return nil, pdu.OutOfResources, errManySessions
		}
		return s, pdu.Success, nil
	}
	t := c.server.target(r.Peer.TargetName)
	if t == nil {
		return nil, pdu.TargetRemoved, ErrRemoved
	}
	a, _ := r.Attachment.(*Attachment)
	if a == nil {
		a = t.openFor(r.Peer.InitiatorName)
	}
	if a == nil || a.target != t || !a.admits(r.Peer.InitiatorName) {
		return nil, pdu.AuthorizationFailure, errNoAttachment
	}
	s.target, s.attachment = t, a
	deadline := time.NewTimer(c.server.cfg.LoginTimeout)
	defer deadline.Stop()
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-deadline.C:
		return nil, pdu.ServiceUnavailable, errStuck
	case <-c.closing():
		return nil, pdu.ServiceUnavailable, c.why()
	}
	for {
		old, status, err := t.enter(s)
		if err != nil {
			return nil, status, err
		}
		if old == nil {
			return s, pdu.Success, nil
		}
		switch {
		case old.isPort(&r.Peer):
			old.kill(errReinstated)
		case old.conn.left():
			old.kill(io.EOF)
		default:
			if old.probe(c.server.cfg.PingTimeout, c.closing()) {
				return nil, pdu.ServiceUnavailable, errInUse
			}
			old.kill(errSilent)
		}
		select {
		case <-old.gone:
		case <-deadline.C:
			return nil, pdu.ServiceUnavailable, errStuck
		case <-c.closing():
			return nil, pdu.ServiceUnavailable, c.why()
		}
	}
}

// enter puts a session among those of the target, unless one, which it returns, is in its way.
func (t *Target) enter(s *session) (old *session, status pdu.LoginStatus, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := s.attachment
	if t.removed || a.removed {
		return nil, pdu.TargetRemoved, ErrRemoved
	}
	for other := range t.sessions {
		same := other.isPort(&s.result.Peer)
		switch {
		case same && other.attachment != a:
			return nil, pdu.AuthorizationFailure, errOtherOwner
		case same:
			return other, pdu.Success, nil
		case other.peer().InitiatorName == s.peer().InitiatorName && other.conn.left():
			old = other // what it prevented or reserved must not meet the initiator that comes back
		case other.attachment != a || !a.cfg.exclusive():
		case a.cfg.Multipath && other.peer().InitiatorName == s.peer().InitiatorName:
		default:
			old = other
		}
	}
	if old != nil {
		return old, pdu.Success, nil
	}
	if len(t.sessions) >= t.server.cfg.MaxSessions || !t.server.takeTSIH(s) {
		return nil, pdu.OutOfResources, errManySessions
	}
	s.nexus, err = t.cfg.Unit.Attach(scsi.NexusConfig{
		Initiator: s.portName(),
		Port:      t.port(), ReadOnly: a.cfg.ReadOnly, Abort: s.abortByOther, Counters: s.counters(),
		CopyTarget: s.copyTarget, Visit: s.visit, Pace: t.cfg.Limiter.wait,
	})
	if err != nil {
		t.server.freeTSIH(s)
		return nil, pdu.TargetError, err
	}
	t.sessions[s] = struct{}{}
	return nil, pdu.Success, nil
}
