package iscsi

import (
	"time"

	"elstore/export/iscsi/pdu"
)

// askLogout asks the initiator to log out, as the server is about to stop; section 11.9.1.
func (s *session) askLogout() {
	a := pdu.Async{
		AsyncEvent: pdu.AsyncLogoutRequest,
		Parameter3: uint16(min((s.server.cfg.LogoutTimeout+time.Second-1)/time.Second, 1<<16-1)),
	}
	m := message{status: true}
	a.Encode(&m.header)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.postLocked(m)
	s.sendLater()
}
