package iscsi

import "elstore/export/scsi"

// splices reports whether the data of a task may go to the connection without being copied: that is worth the pipe where
// it is more than quickMost. What is written meanwhile changes it on its way, as that of every read that has not ended;
// to an initiator that asks for an order such a read has ended when it was executed.
func (s *session) splices(t *task) bool {
	return !t.noUnit && t.plan.Kind == scsi.KindRead && t.plan.Direct && min(t.plan.Length, t.inRoom()) > quickMost &&
		s.target.pages != nil && s.writer.Splices() && !s.orders.Load()
}

// splice runs a read of which splices says that it may. False leaves it to the way that all commands can go: whatever is wrong, that
// finds it out too.
func (s *session) splice(t *task) bool {
	unit := s.nexus.Unit()
	if !unit.Admit(s.nexus, &t.cmd) {
		t.take()
		return true
	}
	n := min(t.plan.Length, t.inRoom())
	if !t.pages.Fill(s.target.pages, t.plan.Offset, n) {
		return false
	}
	unit.Finish(s.nexus, &t.cmd, n, nil)
	t.take()
	t.length = int(n)
	return true
}

// cached reports whether what a task reads is likely to be in the page cache: both its ends are.
func (s *session) cached(t *task) bool {
	end := &s.inline.end
	return s.target.reader.ReadNow(end[:], t.plan.Offset) && s.target.reader.ReadNow(end[:], t.plan.Offset+t.plan.Length-int64(len(end)))
}
