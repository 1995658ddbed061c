package iscsi

import (
	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

const (
	// maxImmediate is how many SCSI Commands that came as immediate ones a session may have under way: the
	// window does not bound them.
	maxImmediate = 32
	// maxNoUnit is the longest answer for a LUN that does not exist.
	maxNoUnit = 4096
)

// isUnit reports whether a LUN is 0, in peripheral device or in flat addressing; SAM-5 section 4.7.
func isUnit(lun uint64) bool { return lun == 0 || lun == 0x4000<<48 }

// command takes a SCSI Command.
func (s *session) command(p *pdu.PDU) (taken bool) {
	var c pdu.SCSICommand
	c.Decode(p.BHS)
	s.mu.Lock()
	if s.tasks[c.InitiatorTaskTag] != nil {
		s.mu.Unlock()
		s.reject(p.BHS, p.AHS, pdu.ReasonTaskInProgress, 0)
		return false
	}
	if c.Immediate && s.immediates >= maxImmediate {
		s.mu.Unlock()
		s.reject(p.BHS, p.AHS, pdu.ReasonTooManyImmediate, 0)
		return false
	}
	t := s.newTask()
	t.itt, t.lun, t.cmdSN, t.immediate = c.InitiatorTaskTag, c.LUN, c.CmdSN, c.Immediate
	t.read, t.write, t.expected = c.Read, c.Write, int64(c.ExpectedDataTransferLength)
	t.cmd.CDB, t.cmd.Attribute = c.CDB, scsi.Attribute(c.Attr)
	s.add(t)
	s.mu.Unlock()

	if len(p.AHS) > 0 {
		var a pdu.AHS
		a.Decode(p.AHS)
		t.bidi = int64(a.ExpectedBidiReadLength)
	}
	if t.noUnit = !isUnit(c.LUN); t.noUnit {
		t.plan = scsi.Plan{In: maxNoUnit}
	} else {
		t.plan = s.nexus.Unit().Plan(&t.cmd.CDB)
	}
	t.cmd.Expected = t.room()
	t.open, t.firstEnd = !c.Final, min(t.expected, int64(s.result.Params.FirstBurstLength))
	unasked := int64(len(p.Data))
	if t.write {
		t.want = min(t.expected, t.plan.Out)
		if t.open {
			unasked = t.firstEnd
		}
	}
	if !s.accept(t, min(unasked, t.want)) {
		return true
	}
	t.store(p)
	s.settle(t)
	return true
}

// accept charges what comes unasked with a task, or ends it with TASK SET FULL: initiators send it again.
func (s *session) accept(t *task, unasked int64) bool {
	if unasked == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.charge(t, unasked) {
		return true
	}
	t.status, t.cmd.Transfer = scsi.StatusTaskSetFull, 0
	s.finishLocked(t)
	return false
}

// room is how many bytes the initiator has, or has room for, in the direction in which the command moves data:
// none where it said the other one.
func (t *task) room() int64 {
	switch {
	case t.plan.In > 0:
		return t.inRoom()
	case t.plan.Out > 0 && !t.write:
		return 0
	}
	return t.expected
}

// add makes a task one of the session's. s.mu is held.
func (s *session) add(t *task) {
	s.lastSeq++
	t.seq = s.lastSeq
	s.tasks[t.itt] = t
	if t.immediate {
		s.immediates++
	}
	if t.cmd.Attribute == scsi.Ordered {
		s.orders.Store(true)
		s.ordered++
	}
}

// inRoom is how many bytes of data the initiator has room for.
func (t *task) inRoom() int64 {
	switch {
	case !t.read:
		return 0
	case t.write:
		return t.bidi
	}
	return t.expected
}

// endAtOnce answers a command that never became a task.
func (s *session) endAtOnce(h *pdu.BHS, why condition) {
	var c pdu.SCSICommand
	c.Decode(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tasks[c.InitiatorTaskTag] != nil {
		return
	}
	t := s.newTask()
	t.itt, t.lun, t.cmdSN, t.immediate, t.write = c.InitiatorTaskTag, c.LUN, c.CmdSN, c.Immediate, c.Write
	t.expected = int64(c.ExpectedDataTransferLength)
	t.cmd.Attribute = scsi.Simple
	t.condition = why
	s.add(t)
	s.finishLocked(t)
}
