package iscsi

import (
	"errors"
	"time"

	"elstore/export/iscsi/pdu"
)

var errDead = errors.New("the initiator does not answer")

// pings are the NOP-Ins that the initiator is to answer. All is under session.mu.
type pings struct {
	timer    *time.Timer
	sent     pdu.SN        // Target Transfer Tag of the last one
	answered pdu.SN        // of the last that was answered
	heard    chan struct{} // closed, and replaced, when one is answered
	due      bool          // the idle initiator has been pinged
}

func (p *pings) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

// nopOut answers a ping of the initiator with as much of its data as it can take; section 11.19.
func (s *session) nopOut(p *pdu.PDU) {
	var n pdu.NOPOut
	n.Decode(p.BHS)
	in := pdu.NOPIn{LUN: n.LUN, InitiatorTaskTag: n.InitiatorTaskTag, TargetTransferTag: pdu.ReservedTag}
	m := message{status: true, credit: !n.Immediate}
	in.Encode(&m.header)
	m.data = p.Data[:min(len(p.Data), s.result.Params.MaxRecvDataSegmentLength)]
	if len(m.data) > 0 {
		m.owner = p.Retain()
	}
	s.post(m)
}

// ping asks the initiator whether it is there. s.mu is held.
func (s *session) ping() pdu.SN {
	if s.pings.sent++; s.pings.sent == pdu.ReservedTag {
		s.pings.sent++
	}
	in := pdu.NOPIn{InitiatorTaskTag: pdu.ReservedTag, TargetTransferTag: uint32(s.pings.sent)}
	var m message
	in.Encode(&m.header)
	s.postLocked(m)
	s.sendLater()
	return s.pings.sent
}

// pong takes the answer to a ping.
func (s *session) pong(tag uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.pings
	if tag == pdu.ReservedTag || !pdu.SN(tag).In(p.answered+1, p.sent) {
		return
	}
	p.answered = pdu.SN(tag)
	if p.heard != nil {
		close(p.heard)
		p.heard = nil
	}
}

// probe pings the initiator and reports whether it answers in time. It gives up, with true, when stop is closed.
func (s *session) probe(timeout time.Duration, stop <-chan struct{}) (alive bool) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	tag := s.ping()
	for !tag.AtMost(s.pings.answered) {
		if s.pings.heard == nil {
			s.pings.heard = make(chan struct{})
		}
		heard := s.pings.heard
		s.mu.Unlock()
		select {
		case <-heard:
		case <-s.gone:
			return false
		case <-timer.C:
			return false
		case <-stop:
			return true
		}
		s.mu.Lock()
	}
	s.mu.Unlock()
	return true
}

// keepAlive begins to look after the initiator.
func (s *session) keepAlive() {
	s.conn.life.note()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.pings.timer = time.AfterFunc(s.server.cfg.IdleTimeout, s.lookAfter)
	}
}

// lookAfter pings an initiator that was silent for IdleTimeout, and ends the session where nothing came
// for PingTimeout after that. As long as an answer is leaving bit by bit it lives, though it may be slow.
func (s *session) lookAfter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	cfg := &s.server.cfg
	last := s.conn.life.last.Load()
	if s.sending {
		last = max(last, s.flushed.Load())
	}
	silent := time.Since(s.conn.life.started) - time.Duration(last)
	switch {
	case silent < cfg.IdleTimeout:
		s.pings.due = false
		s.pings.timer.Reset(cfg.IdleTimeout - silent)
	case !s.pings.due:
		s.pings.due = true
		s.ping()
		s.pings.timer.Reset(cfg.PingTimeout)
	case silent < cfg.IdleTimeout+cfg.PingTimeout:
		s.pings.timer.Reset(cfg.IdleTimeout + cfg.PingTimeout - silent)
	default:
		s.kill(errDead)
	}
}
