package iscsi

import (
	"context"
	"slices"

	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

// copyTarget is scsi.NexusConfig's: it finds a session of the same initiator through an attachment of the same group.
func (s *session) copyTarget(d scsi.Designator) *scsi.Nexus {
	if s.attachment.cfg.CopyGroup == "" {
		return nil
	}
	for _, t := range s.server.allTargets() {
		if other := t.sessionLike(s); other != nil && slices.Contains(t.cfg.Unit.Designators(), d) {
			return other.nexus
		}
	}
	return nil
}

// sessionLike returns a session that has the initiator and the group of s, one that may write before one that may not, or nil.
func (t *Target) sessionLike(s *session) (found *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other := range t.sessions {
		switch {
		case other.attachment.cfg.CopyGroup != s.attachment.cfg.CopyGroup, other.attachment.removed:
		case other.peer().InitiatorName != s.peer().InitiatorName, other.conn.why() != nil:
		case found == nil || !other.attachment.cfg.ReadOnly:
			found = other
		}
	}
	return found
}

// visit is scsi.NexusConfig's. A segment of a copy counts as a task of the session from here to leave: what aborts the session's tasks
// aborts it too, and who waits for those waits for it. Only the gate may have it wait, and it holds nothing else meanwhile that a gate
// could wait for.
func (s *session) visit(ctx context.Context, kind scsi.Kind) (visit context.Context, leave func(), ok bool) {
	v := &task{itt: pdu.ReservedTag, state: held}
	s.mu.Lock()
	if s.closed || s.conn.why() != nil {
		s.mu.Unlock()
		return nil, nil, false
	}
	v.cmdSN = s.expected() - 1 // the latest of what came
	s.visits[v] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	visit, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(&v.ctx, cancel)
	gate := s.attachment.cfg.Gate
	end := func() {
		stop()
		cancel()
		s.mu.Lock()
		delete(s.visits, v)
		s.release(v)
		s.mu.Unlock()
		s.running.Done()
	}
	if kind != scsi.KindWrite || gate == nil {
		return visit, end, true
	}
	if !gate.Enter(visit) {
		end()
		return nil, nil, false
	}
	return visit, func() {
		gate.Leave()
		end()
	}, true
}
