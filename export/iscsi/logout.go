package iscsi

import "elstore/export/iscsi/pdu"

// logout takes a Logout Request; section 11.14. Commands that still run are aborted, and what they have done
// stays done. After the response the connection ends.
func (s *session) logout(p *pdu.PDU) (taken bool, err error) {
	var l pdu.Logout
	l.Decode(p.BHS)
	r := pdu.LogoutResponse{
		InitiatorTaskTag: l.InitiatorTaskTag,
		Time2Wait:        uint16(s.result.Params.DefaultTime2Wait), Time2Retain: uint16(s.result.Params.DefaultTime2Retain),
	}
	m := message{status: true, credit: !l.Immediate}
	switch {
	case l.Reason == pdu.RemoveConnection:
		r.Response = pdu.LogoutRecoveryNotSupported
	case l.Reason == pdu.CloseConnection && l.CID != s.peer().CID:
		r.Response = pdu.LogoutCIDNotFound
	default:
		m.last = true
	}
	r.Encode(&m.header)
	if !m.last {
		s.post(m)
		return true, nil
	}
	s.mu.Lock()
	s.leaving = true // copies that came through other sessions don't use this one any more
	s.mu.Unlock()
	w := newWaiter()
	s.abort(w, func(*task) bool { return true }, abortQuietly)
	s.dropInline()
	select {
	case <-w.wait():
	case <-s.conn.closing():
		return true, s.conn.why()
	}
	if s.target != nil {
		// Before the initiator knows that its nexus is lost: it may log in again before this connection has ended,
		// and must not meet what the nexus held.
		s.nexus.Detach()
	}
	if !l.Immediate {
		s.expCmdSN.Add(1)
	}
	s.post(m)
	s.sender()
	<-s.conn.closing() // by whoever sends it
	return true, errLoggedOut
}
