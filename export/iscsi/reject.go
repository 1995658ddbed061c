package iscsi

import (
	"fmt"

	"elstore/export/iscsi/pdu"
)

// condition is an additional sense code and its qualifier that iSCSI ends a command with, whose sense key is
// ABORTED COMMAND; section 11.4.7.2.
type condition uint16

const (
	unexpectedUnsolicited condition = 0x0c0c
	incorrectAmount       condition = 0x0c0d
	serviceCRC            condition = 0x4705
)

// refuse answers a PDU that breaks a rule.
func (s *session) refuse(p *pdu.PDU, broken *pdu.RuleError) error {
	h := p.BHS
	if p.Skipped > 0 || broken == pdu.ErrTooMuchData {
		// What a peer that goes beyond what was declared means by the rest can't be known.
		return fmt.Errorf("%v of %d bytes: %w", h.Opcode(), max(p.Skipped, len(p.Data)), broken)
	}
	if h.Opcode() == pdu.OpSCSICommand && broken.ASC != 0 && s.target != nil {
		if !h.Immediate() {
			if h.CmdSN() != s.expected() {
				return nil
			}
			s.expCmdSN.Add(1)
		}
		s.endAtOnce(h, condition(uint16(broken.ASC)<<8|uint16(broken.ASCQ)))
		return s.catchUp()
	}
	s.reject(h, p.AHS, broken.Reason, 0)
	return nil
}

// reject puts a Reject into the queue; section 11.17.
func (s *session) reject(h *pdu.BHS, ahs []byte, reason pdu.Reason, sn pdu.SN) {
	r := pdu.Reject{Reason: reason, DataSN: sn}
	m := message{data: append(append(make([]byte, 0, len(h)+len(ahs)), h[:]...), ahs...), status: true}
	r.Encode(&m.header)
	s.post(m)
}

// badDigest is for a PDU whose data is not what was sent; section 7.8. A command counts as not received, a
// Data-Out has its task end once all data came.
func (s *session) badDigest(p *pdu.PDU) {
	s.reject(p.BHS, p.AHS, pdu.ReasonDataDigest, 0)
	if p.BHS.Opcode() == pdu.OpDataOut {
		s.dataOut(p)
	}
}
