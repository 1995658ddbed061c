package iscsi

import (
	"errors"
	"slices"

	"elstore/export/iscsi/pdu"
)

var errLoggedOut = errors.New("the initiator logged out")

// read takes in PDUs until the connection ends, or a logout was answered. Answers leave once no further PDU is
// there. It returns when nobody reads any more, also where another goroutine went on with it.
func (s *session) read() error {
	defer s.dropInline()
	for {
		p, err := s.reader.Next()
		if err != nil {
			return err
		}
		if err := s.handle(p); err != nil {
			return err
		}
		if s.reader.Buffered() && !s.heavy() {
			continue
		}
		if relief := s.runInline(); relief != nil {
			s.sender()
			return <-relief
		}
		s.flush()
	}
}

// early is a command that came before its turn: CmdSNs are missing before it.
type early struct {
	sn      pdu.SN
	pdu     pdu.PDU
	buf     *pdu.Buffer
	plugged bool // there is no PDU: the number counts as received; section 11.6.1
}

// handle takes one PDU. What waits for its turn waits for CmdSN alone: it has been checked.
func (s *session) handle(p *pdu.PDU) error {
	h := p.BHS
	if broken := s.rules.Check(h, p.AHS); broken != nil {
		return s.refuse(p, broken)
	}
	if p.BadDataDigest {
		s.badDigest(p)
		return nil
	}
	switch {
	case h.Opcode() == pdu.OpDataOut:
		s.dataOut(p)
		return nil
	case h.Opcode() == pdu.OpNOPOut && h.InitiatorTaskTag() == pdu.ReservedTag:
		s.pong(h.TargetTransferTag())
		return nil
	case h.Immediate():
		if _, err := s.deliver(p); err != nil {
			return err
		}
		return s.catchUp() // it may have plugged a gap
	}
	sn, expected := h.CmdSN(), s.expected()
	switch {
	case !sn.In(expected, pdu.SN(s.maxCmdSN.Load())): // section 4.2.2.1: silently ignored
		return nil
	case sn != expected:
		s.keep(early{sn: sn, pdu: *p, buf: p.Retain()})
		return nil
	}
	if taken, err := s.deliver(p); err != nil || !taken {
		return err
	}
	s.expCmdSN.Add(1)
	return s.catchUp()
}

func (s *session) expected() pdu.SN { return pdu.SN(s.expCmdSN.Load()) }

// keep holds a command until its turn. A second one with the same number is ignored.
func (s *session) keep(e early) {
	i, found := slices.BinarySearchFunc(s.early, e.sn, func(e early, sn pdu.SN) int { return e.sn.Since(sn) })
	if found {
		e.buf.Release()
		return
	}
	s.early = slices.Insert(s.early, i, e)
}

// catchUp delivers what was kept and has its turn now.
func (s *session) catchUp() error {
	for len(s.early) > 0 && s.early[0].sn == s.expected() {
		e := s.early[0]
		s.early = slices.Delete(s.early, 0, 1)
		if e.plugged {
			s.expCmdSN.Add(1)
			s.maxCmdSN.Add(1)
			continue
		}
		taken, err := s.deliver(&e.pdu)
		e.buf.Release()
		if err != nil || !taken {
			return err
		}
		s.expCmdSN.Add(1)
	}
	return nil
}

// deliver is for a command whose turn it is. It is not taken where it was rejected: its CmdSN counts as not
// received then; section 11.17.
func (s *session) deliver(p *pdu.PDU) (taken bool, err error) {
	op := p.BHS.Opcode()
	if s.target == nil && (op == pdu.OpSCSICommand || op == pdu.OpTaskMgmt) { // a discovery session; section 4.3
		s.reject(p.BHS, p.AHS, pdu.ReasonNotSupported, 0)
		return false, nil
	}
	switch op {
	case pdu.OpSCSICommand:
		return s.command(p), nil
	case pdu.OpTaskMgmt:
		return s.taskMgmt(p), nil
	case pdu.OpText:
		return s.textRequest(p), nil
	case pdu.OpNOPOut:
		s.nopOut(p)
		return true, nil
	case pdu.OpLogout:
		return s.logout(p)
	default: // Check knows no other
		s.reject(p.BHS, p.AHS, pdu.ReasonNotSupported, 0)
		return false, nil
	}
}
