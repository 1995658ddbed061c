package iscsi

import (
	"errors"
	"slices"
	"time"

	"elstore/export/iscsi/pdu"
)

// drainTimeout is how long a task management function waits for data that R2Ts asked for. Section 4.2.3.3 has
// the initiator send it all; one that does not, would not get an answer ever.
const drainTimeout = 3 * time.Second

var errColdReset = errors.New("the target was reset")

// taskMgmt takes a Task Management Function Request; section 11.5.
func (s *session) taskMgmt(p *pdu.PDU) (taken bool) {
	var r pdu.TaskMgmt
	r.Decode(p.BHS)
	switch r.Function {
	case pdu.AbortTask, pdu.AbortTaskSet, pdu.ClearTaskSet, pdu.LogicalUnitReset:
		if !isUnit(r.LUN) {
			s.respond(&r, pdu.LUNDoesNotExist)
			return true
		}
	default:
	}
	switch r.Function {
	case pdu.AbortTask:
		s.abortTask(&r)
	case pdu.AbortTaskSet, pdu.ClearTaskSet: // the same: each nexus has a task set of its own (TST)
		s.plugAll(r.CmdSN)
		s.manage(&r, func(w *waiter) { s.abort(w, earlier(&r), abortDraining) }, nil)
	case pdu.LogicalUnitReset, pdu.TargetWarmReset, pdu.TargetColdReset:
		if s.attachment.cfg.ReadOnly {
			s.respond(&r, pdu.FunctionNotAuthorized) // who may not write may not undo what writers rely on
			break
		}
		s.reset(&r)
	case pdu.TaskReassign:
		s.respond(&r, pdu.ReassignmentNotSupported)
	default:
		s.respond(&r, pdu.FunctionNotSupported)
	}
	return true
}

// earlier matches the tasks that came before a task management function.
func earlier(r *pdu.TaskMgmt) func(*task) bool {
	sn := r.CmdSN
	return func(t *task) bool { return t.cmdSN.Less(sn) || t.immediate && t.cmdSN == sn }
}

// respond queues the answer to a task management function.
func (s *session) respond(r *pdu.TaskMgmt, how pdu.FunctionResponse) {
	answer := pdu.TaskMgmtResponse{Response: how, InitiatorTaskTag: r.InitiatorTaskTag}
	m := message{status: true, credit: !r.Immediate}
	answer.Encode(&m.header)
	s.post(m)
}

// abortTask is ABORT TASK. Section 11.6.1 says what is answered where there is no such task.
func (s *session) abortTask(r *pdu.TaskMgmt) {
	s.mu.Lock()
	found := s.tasks[r.ReferencedTaskTag] != nil
	s.mu.Unlock()
	if !found {
		if !r.RefCmdSN.Less(r.CmdSN) || !r.RefCmdSN.In(s.expected(), pdu.SN(s.maxCmdSN.Load())) {
			s.respond(r, pdu.TaskDoesNotExist)
			return
		}
		s.plug(r.RefCmdSN)
		s.respond(r, pdu.FunctionComplete)
		return
	}
	s.manage(r, func(w *waiter) { s.abort(w, matchTag(r.ReferencedTaskTag), abortQuietly) }, nil)
}

// plug has a command count as received that has not come.
func (s *session) plug(sn pdu.SN) {
	for i := range s.early {
		if s.early[i].sn == sn {
			s.early[i].buf.Release()
			s.early[i] = early{sn: sn, plugged: true}
			return
		}
	}
	s.keep(early{sn: sn, plugged: true})
}

// plugAll has all the commands count as received that came, or should have come, before a task management
// function that aborts them.
func (s *session) plugAll(before pdu.SN) {
	missing := before.Since(s.expected())
	if missing <= 0 || !(before-1).In(s.expected(), pdu.SN(s.maxCmdSN.Load())) {
		return
	}
	for len(s.early) > 0 && s.early[0].sn.Less(before) {
		s.early[0].buf.Release()
		s.early = slices.Delete(s.early, 0, 1)
	}
	s.maxCmdSN.Add(uint32(missing))
	s.expCmdSN.Add(uint32(missing))
}

// reset is LOGICAL UNIT RESET and the two resets of the target, whose one unit it is.
func (s *session) reset(r *pdu.TaskMgmt) {
	unit := s.nexus.Unit()
	cold := r.Function == pdu.TargetColdReset
	s.plugAll(r.CmdSN)
	s.manage(r, func(w *waiter) {
		s.abort(w, earlier(r), abortDraining)
		for _, other := range s.server.sessionsOf(unit) {
			if other != s {
				other.abort(w, func(*task) bool { return true }, abortWithStatus)
				other.mu.Lock()
				other.sendLater()
				other.mu.Unlock()
			}
		}
	}, func() {
		unit.Reset(nil) // SAM-5 section 6.3.3: every nexus gets a unit attention, that of the asker too
		if !cold {
			return
		}
		for _, other := range s.server.sessionsOf(unit) {
			if other != s && other.target == s.target {
				other.kill(errColdReset)
			}
		}
	})
}

// manage aborts tasks and answers once they are gone. What follows is done before the answer.
func (s *session) manage(r *pdu.TaskMgmt, abort func(w *waiter), follow func()) {
	w := newWaiter()
	abort(w)
	request := *r
	s.spawn(func() {
		timer := time.NewTimer(drainTimeout)
		defer timer.Stop()
		gone := w.wait()
		for waiting := true; waiting; {
			select {
			case <-gone:
				waiting = false
			case <-timer.C:
				s.abort(newWaiter(), func(t *task) bool { return t.aborted == abortDraining }, abortQuietly)
			case <-s.conn.closing():
				return
			}
		}
		if follow != nil {
			follow()
		}
		s.respond(&request, pdu.FunctionComplete)
		if request.Function == pdu.TargetColdReset {
			s.post(message{last: true, status: true, header: goodbye()})
		}
		s.sender()
	})
}

// goodbye is the header of an Asynchronous Message that says that the connection is dropped.
func goodbye() (h pdu.BHS) {
	a := pdu.Async{AsyncEvent: pdu.AsyncDropAllConnections}
	a.Encode(&h)
	return h
}
