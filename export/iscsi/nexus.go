package iscsi

import "elstore/export/scsi"

// Nexuses returns those of the sessions that are logged in through the attachment. They may end at any time.
func (a *Attachment) Nexuses() []*scsi.Nexus {
	t := a.target
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*scsi.Nexus
	for _, s := range a.sessions() {
		list = append(list, s.nexus)
	}
	return list
}
