package iscsi

import (
	"runtime"

	"elstore/export/scsi"
)

// settle takes a task that the reader has to where it goes on.
func (s *session) settle(t *task) {
	switch {
	case t.open || len(t.bursts) > 0:
		// More data is on its way. With R2Ts outstanding the next may go out.
	case t.condition != 0:
		s.finish(t)
		return
	case t.offset >= t.want:
		s.runOrQueue(t)
		return
	case !t.admitted:
		if !t.noUnit && s.mayJudge(t) && !s.nexus.Unit().Admit(s.nexus, &t.cmd) {
			t.take()
			s.finish(t)
			return
		}
		t.admitted = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.aborted != notAborted && (t.aborted != abortDraining || !t.open && len(t.bursts) == 0) {
		s.finishLocked(t)
		return
	}
	t.state = waiting
	if t.open || t.condition != 0 || t.aborted != notAborted {
		return
	}
	if t.reserved > 0 {
		s.solicit(t)
		return
	}
	s.enqueue(t)
}

// mayJudge reports whether a task can be refused before its data is asked for. Where a gate is shut that is left for later: to open
// it may move reservations.
func (s *session) mayJudge(t *task) bool {
	gate := s.attachment.cfg.Gate
	if gate == nil || !t.plan.Changes {
		return true
	}
	if !gate.Try() {
		return false
	}
	gate.Leave()
	return true
}

// needsGrant reports whether a task has to wait its turn for memory. One that has its own must never do that: it
// is what the others wait for.
func (t *task) needsGrant() bool { return t.reserved == 0 && t.need() > 0 }

// need is how many bytes a task has to be granted.
func (t *task) need() int64 {
	if t.offset < t.want {
		return t.want - t.offset
	}
	return min(t.inRoom(), t.plan.In)
}

// runOrQueue answers a task at once where that takes no waiting, and else leaves it to the workers.
func (s *session) runOrQueue(t *task) {
	if s.isQuick(t) {
		s.mu.Lock()
		ok := t.aborted == notAborted && (!t.needsGrant() || s.pending.len() == 0) &&
			s.mayRun(t) && s.reserve(t)
		later := t.plan.Kind == scsi.KindWrite || s.splices(t)
		ok = ok && (!later || s.inline.allowed(s))
		s.mu.Unlock()
		if ok && later {
			s.inline.tasks = append(s.inline.tasks, t)
			return
		}
		if ok && s.runNow(t) {
			s.finish(t)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.aborted != notAborted {
		s.finishLocked(t)
		return
	}
	if s.comesAlone(t) && s.inline.allowed(s) && s.mayRun(t) && s.reserve(t) {
		s.inline.tasks, s.inline.alone = append(s.inline.tasks, t), true
		return
	}
	t.state = queued
	s.enqueue(t)
}

// enqueue puts a task behind those that wait for a grant, or where it goes on with one. s.mu is held.
func (s *session) enqueue(t *task) {
	if t.needsGrant() && (s.pending.len() > 0 || !s.reserve(t)) {
		t.state = queued
		s.pending.push(t)
		return
	}
	s.launch(t)
}

// launch lets a task with a grant go on. s.mu is held.
func (s *session) launch(t *task) {
	switch {
	case t.offset < t.want:
		t.state = waiting
		s.solicit(t)
	case !s.mayRun(t):
		t.state = queued
		s.blocked.push(t)
	case s.delay(t):
	default:
		t.state = queued
		s.ready.push(t)
		if s.workers < s.target.most && !s.closed {
			s.workers++
			s.running.Add(1)
			go s.work()
		}
	}
}

// reserve grants a task the memory that it needs, or not. A session whose tasks have none gets it in any case:
// so there is always one that ends and lets others go on. s.mu is held.
func (s *session) reserve(t *task) bool {
	if !t.needsGrant() {
		return true
	}
	n := t.need()
	total := s.server.granted.Add(n)
	if s.granted > 0 && (s.granted+n > s.server.cfg.SessionBytes || total > s.server.cfg.ServerBytes) {
		s.server.granted.Add(-n)
		return false
	}
	s.granted += n
	t.reserved = n
	return true
}

// charge notes what comes unasked with a write: it is there before it could be refused. False says that all
// sessions together hold too much, and this one something already: the command has to come again later. s.mu
// is held.
func (s *session) charge(t *task, n int64) bool {
	if n == 0 {
		return true
	}
	total := s.server.granted.Add(n)
	if total > s.server.cfg.ServerBytes && s.charged+s.granted > 0 {
		s.server.granted.Add(-n)
		return false
	}
	s.charged += n
	t.charged = n
	return true
}

// ungrant gives back what a task was granted. s.mu is held.
func (s *session) ungrant(t *task) {
	if t.reserved+t.charged == 0 {
		return
	}
	s.server.granted.Add(-t.reserved - t.charged)
	s.granted -= t.reserved
	s.charged -= t.charged
	t.reserved, t.charged = 0, 0
	for s.pending.len() > 0 && !s.closed && s.reserve(s.pending.peek()) {
		s.launch(s.pending.pop())
	}
}

// mayRun reports whether the task attributes let a task run now; SAM-5 section 8.6. s.mu is held.
func (s *session) mayRun(t *task) bool {
	if s.ordered == 0 || t.cmd.Attribute == scsi.HeadOfQueue {
		return true
	}
	for _, other := range s.tasks {
		if other.seq < t.seq && (t.cmd.Attribute == scsi.Ordered || other.cmd.Attribute == scsi.Ordered) {
			return false
		}
	}
	return true
}

// unblock lets tasks go on that waited for one that is gone. s.mu is held.
func (s *session) unblock() {
	for range s.blocked.len() {
		s.launch(s.blocked.pop())
	}
}

// stillborn ends a task that was not begun when the session was killed: whoever fenced an initiator waits for no more of
// it than was at the medium, however long the reader takes to notice. s.mu is held.
func (s *session) stillborn(t *task) bool {
	if s.conn.why() == nil {
		return false
	}
	if t.aborted == notAborted {
		t.aborted = abortQuietly
	}
	s.finishLocked(t)
	return true
}

// gather lets other workers go first whose commands have ended, or are about to begin: what they have to send then leaves
// with one system call.
func (s *session) gather() {
	s.mu.Lock()
	more := s.workers > 1 && !s.sending && s.load <= enough
	s.mu.Unlock()
	if more {
		runtime.Gosched()
	}
}

// worker runs tasks while there are any.
func (s *session) worker() {
	defer s.running.Done()
	for {
		s.mu.Lock()
		t := s.ready.pop()
		if t == nil {
			s.workers--
			s.mu.Unlock()
			return
		}
		t.state = held
		if s.stillborn(t) {
			s.mu.Unlock()
			continue
		}
		s.mu.Unlock()
		s.execute(t)
		s.finish(t)
		s.gather()
		s.sender()
	}
}
