package iscsi

import (
	"log/slog"
	"slices"

	"elstore/export/iscsi/pdu"
)

// textRequest takes a Text Request; section 6.4.
func (s *session) textRequest(p *pdu.PDU) (taken bool) {
	reply := s.text.Step(p.BHS, p.Data)
	if reply.Reject != 0 {
		s.server.cfg.Log.Info("iscsi text request rejected",
			slog.String("initiator", string(s.peer().InitiatorName)), slog.Any("error", reply.Err))
		s.reject(p.BHS, p.AHS, reply.Reject, 0)
		return false
	}
	m := message{data: slices.Clone(reply.Text), status: true, credit: !p.BHS.Immediate()}
	if reply.Changed {
		m.segment = s.result.Params.MaxRecvDataSegmentLength
	}
	reply.Response.Encode(&m.header)
	s.post(m)
	return true
}
