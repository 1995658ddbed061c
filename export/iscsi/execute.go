package iscsi

import (
	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

// quickMost is how many bytes the reader copies at most, of what is in the page cache, while other commands are there:
// more of them go to the connection without a copy, or one thread copies the next while another sends what was copied.
const quickMost = 128 << 10

// isQuick reports whether a command may be one that needs no waiting.
func (s *session) isQuick(t *task) bool {
	switch {
	case t.noUnit || t.condition != 0 || s.target.cfg.Limiter.limits():
		return false
	case t.plan.Kind == scsi.KindRead:
		if !t.plan.Direct || s.target.reader == nil || t.inRoom() == 0 {
			return false
		}
		if s.splices(t) {
			return s.cached(t)
		}
		return t.plan.Length <= quickMost
	case t.plan.Kind == scsi.KindWrite:
		return !t.plan.Stable && s.target.writer != nil && s.target.writer.WritesNow(t.plan.Length)
	}
	return false
}

// runNow runs a read that is quick. False leaves it to a worker.
func (s *session) runNow(t *task) bool {
	unit := s.nexus.Unit()
	if !unit.Admit(s.nexus, &t.cmd) {
		t.take()
		return true
	}
	n := int(min(t.plan.Length, t.inRoom()))
	t.in = pdu.Get(n)
	if !s.target.reader.ReadNow(t.in.Bytes()[:n], t.plan.Offset) {
		t.in.Release()
		t.in = nil
		return false
	}
	unit.Finish(s.nexus, &t.cmd, int64(n), nil)
	t.take()
	t.length = n
	return true
}

// execute runs a command whose data is there, if it may run now.
func (s *session) execute(t *task) {
	gate := s.attachment.cfg.Gate
	if gate == nil || t.noUnit || !t.plan.Changes {
		s.run(t)
		return
	}
	if !gate.Enter(&t.ctx) {
		t.refuse(scsi.DataProtect, scsi.WriteProtected)
		return
	}
	s.run(t)
	gate.Leave()
}

func (s *session) run(t *task) {
	if s.splices(t) && s.splice(t) {
		return
	}
	if n := int(min(t.inRoom(), t.plan.In)); n > 0 {
		t.in = pdu.Get(n)
		t.cmd.In = t.in.Bytes()[:n]
	}
	t.cmd.Out = t.out
	if t.noUnit {
		scsi.NoUnit(&t.cmd)
	} else {
		s.nexus.Unit().Execute(&t.ctx, s.nexus, &t.cmd)
	}
	t.take()
	t.length = t.cmd.Received
}

// take takes over the answer that the command has.
func (t *task) take() {
	t.status = t.cmd.Status
	t.sense = nil
	if sense := t.cmd.Sense(); len(sense) > 0 {
		t.sense = pdu.AppendSense(t.senseRoom[:0], sense)
	}
}

// condemn makes the answer the condition's.
func (t *task) condemn() { t.refuse(scsi.AbortedCommand, scsi.SenseCode(t.condition)) }

// refuse makes the answer a CHECK CONDITION with fixed format sense data; SPC-4 section 4.5.3.
func (t *task) refuse(key scsi.SenseKey, code scsi.SenseCode) {
	sense := [18]byte{0: 0x70, 2: byte(key), 7: 10, 12: byte(code >> 8), 13: byte(code)}
	t.status, t.length, t.cmd.Transfer = scsi.StatusCheckCondition, 0, 0
	t.cmd.Expected = t.expected
	t.sense = pdu.AppendSense(t.senseRoom[:0], sense[:])
}

// finish ends a task that the caller has: its answer goes into the queue, unless it was aborted.
func (s *session) finish(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked(t)
}

func (s *session) finishLocked(t *task) {
	s.unlist(t)
	t.releaseOut()
	switch {
	case s.closed, t.aborted == abortQuietly, t.aborted == abortDraining:
		s.drop(t)
		return
	case t.aborted == abortWithStatus:
		t.status, t.sense, t.length, t.cmd.Transfer = scsi.StatusTaskAborted, nil, 0, 0
	case t.condition != 0:
		t.condemn()
	}
	if t.in == nil && t.pages.Empty() { // else it is held until it was sent
		s.ungrant(t)
	}
	s.postLocked(message{task: t, credit: !t.immediate})
	s.release(t)
}

// unlist takes a task out of the session's. s.mu is held.
func (s *session) unlist(t *task) {
	delete(s.tasks, t.itt)
	if t.timer != nil {
		t.timer.Stop()
	}
	if t.immediate {
		s.immediates--
	}
	if t.cmd.Attribute == scsi.Ordered {
		s.ordered--
	}
	if s.blocked.len() > 0 {
		s.unblock()
	}
}

// drop forgets a task that is not answered. s.mu is held.
func (s *session) drop(t *task) {
	if !t.immediate {
		s.maxCmdSN.Add(1)
	}
	s.release(t)
	s.recycle(t)
}

// release tells those who wait for the task's end. s.mu is held.
func (s *session) release(t *task) {
	for _, w := range t.waiters {
		w.done()
	}
	t.waiters = t.waiters[:0]
}
