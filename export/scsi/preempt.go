package scsi

import "slices"

// preempt is PREEMPT and PREEMPT AND ABORT, SPC-4 sections 5.12.11.4 and 5.12.11.5.
func (r *outRequest) preempt(m *amendment) (bool, answer) {
	abort := r.action == outPreemptAbort
	me := r.nexus.key
	others := func(key uint64) func(Registration) bool {
		return func(g Registration) bool { return g.Key == key && g.nexus() != me }
	}
	switch {
	case m.Type.allRegistrants() && r.actionKey == 0:
		// Everybody else holds the reservation that is to go.
		if a := r.checkType(); a.status != StatusGood {
			return false, a
		}
		m.remove(func(g Registration) bool { return g.nexus() != me }, abort)
		m.hold(r.kind, me)
	case m.Type != 0 && !m.Type.allRegistrants() && r.actionKey == m.holderKey():
		if a := r.checkType(); a.status != StatusGood {
			return false, a
		}
		before := m.Type
		m.remove(others(r.actionKey), abort)
		m.hold(r.kind, me)
		if before != r.kind {
			m.notifyRegistered(me, attentionReservationsReleased)
		}
	case r.actionKey == 0:
		return false, badParameter(8, wholeByte)
	default:
		// Registrations alone. Whoever preempts its own key loses its registration too.
		before := m.Type
		removed := m.remove(func(g Registration) bool { return g.Key == r.actionKey }, abort)
		if len(removed) == 0 {
			return false, conflict
		}
		if before != 0 && m.Type == 0 {
			m.notifyRegistered(me, attentionReservationsReleased)
		}
		delete(m.tell, me) // who asked for it knows
		m.abort = slices.DeleteFunc(m.abort, func(n nexusKey) bool { return n == me })
	}
	m.Generation++
	return true, good
}

// holderKey returns the key that the reservation's holder registered with.
func (r *Reservations) holderKey() uint64 {
	if r.Holder == nil {
		return 0
	}
	return r.keyOf(r.find(r.Holder.nexus()))
}

// remove ends registrations, and the reservation where nobody is left to hold it. The nexuses are told, and
// with abort lose their tasks.
func (m *amendment) remove(match func(Registration) bool, abort bool) (removed []nexusKey) {
	for i := 0; i < len(m.Registrations); {
		if !match(m.Registrations[i]) {
			i++
			continue
		}
		n := m.Registrations[i].nexus()
		removed = append(removed, n)
		m.notify(n, attentionRegistrationsPreempted)
		if abort {
			m.abort = append(m.abort, n)
		}
		m.drop(i)
	}
	return removed
}
