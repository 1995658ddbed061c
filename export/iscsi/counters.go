package iscsi

import "elstore/export/scsi"

// Counters is told of each command of a target's sessions that ended. It is called from many goroutines at
// once, and must be quick.
type Counters interface{ scsi.Counters }

// counters is what the nexus of a session counts with.
func (s *session) counters() scsi.Counters {
	if s.target.cfg.Counters == nil {
		return nil
	}
	return s.target.cfg.Counters
}

// SessionInfo is what can be told of a session.
type SessionInfo struct {
	Initiator string // InitiatorName
	Alias     string // InitiatorAlias
	ISID      string // in hexadecimal digits
	TSIH      uint16
	Remote    string // the initiator's address
	CHAPName  string // that it proved to be; "" without CHAP
}

// Sessions returns the sessions that are logged in through the attachment.
func (a *Attachment) Sessions() []SessionInfo {
	a.target.mu.Lock()
	defer a.target.mu.Unlock()
	var list []SessionInfo
	for _, s := range a.sessions() {
		list = append(list, SessionInfo{
			Initiator: string(s.peer().InitiatorName), Alias: s.peer().InitiatorAlias, ISID: s.peer().ISID.String(),
			TSIH: s.tsih, Remote: s.conn.net.RemoteAddr().String(), CHAPName: s.result.CHAPName,
		})
	}
	return list
}
