package iscsi

import (
	"fmt"
	"time"

	"elstore/export/scsi"
)

// Counters is told of each command of a target's sessions that ended. It is called from many goroutines at
// once, and must be quick.
type Counters interface{ scsi.Counters }

// counters is what the nexus of a session counts with.
func (s *session) counters() scsi.Counters {
	switch {
	case s.attachment.cfg.Counters != nil:
		return s.attachment.cfg.Counters
	case s.target.cfg.Counters != nil:
		return s.target.cfg.Counters
	}
	return nil
}

// SessionInfo is what can be told of a session.
type SessionInfo struct {
	Initiator string // InitiatorName
	Alias     string // InitiatorAlias
	ISID      string // in hexadecimal digits
	TSIH      uint16
	Remote    string // the initiator's address
	CHAPName  string // that it proved to be; "" without CHAP
	Port      string // SCSI initiator port name, as scsi.Registration has it
	Since     time.Time
}

// Sessions returns the sessions that are logged in through the attachment.
func (a *Attachment) Sessions() []SessionInfo {
	a.target.mu.Lock()
	defer a.target.mu.Unlock()
	var list []SessionInfo
	for _, s := range a.sessions() {
		list = append(list, s.info())
	}
	return list
}

func (s *session) info() SessionInfo {
	return SessionInfo{
		Initiator: string(s.peer().InitiatorName), Alias: s.peer().InitiatorAlias, ISID: s.peer().ISID.String(),
		TSIH: s.tsih, Remote: s.conn.net.RemoteAddr().String(), CHAPName: s.result.CHAPName, Port: s.portName(), Since: s.since,
	}
}

// portName is the name of the SCSI initiator port; section 4.4.1.
func (s *session) portName() string {
	return fmt.Sprintf("%s,i,0x%s", s.peer().InitiatorName, s.peer().ISID)
}

// notify tells the attachment's owner that the session began, or has ended.
func (s *session) notify(began bool) {
	if s.attachment != nil && s.attachment.cfg.Notify != nil {
		s.attachment.cfg.Notify(s.info(), began)
	}
}
