package scsi

import "slices"

// register is REGISTER and REGISTER AND IGNORE EXISTING KEY, SPC-4 section 5.12.7.
func (r *outRequest) register(m *amendment, i int) (bool, answer) {
	if i >= 0 && len(r.initiators) > 0 {
		return false, badParameter(20, 3) // SPEC_I_PT is for a nexus that is not registered
	}
	nexuses := []nexusKey{r.nexus.key}
	for _, n := range r.initiators {
		if !slices.Contains(nexuses, n) {
			nexuses = append(nexuses, n)
		}
	}
	ports := []Port{r.nexus.cfg.Port}
	if r.allPorts {
		ports = r.lu.portsOf(r.nexus.cfg.Port.Target)
	}
	changed := false
	for _, n := range nexuses {
		for _, port := range ports {
			n.port = port.Name
			changed = r.registerOne(m, n, port.ID) || changed
		}
	}
	if !changed {
		return false, good
	}
	if len(m.Registrations) > r.lu.cfg.Limits.Registrations {
		return false, illegal(InsufficientRegistrationStorage)
	}
	m.APTPL = r.aptpl
	m.Generation++
	return true, good
}

// registerOne registers a nexus, gives it another key, or ends its registration.
func (r *outRequest) registerOne(m *amendment, n nexusKey, portID uint16) (changed bool) {
	i := m.find(n)
	switch {
	case i < 0 && r.actionKey == 0:
		return false
	case i < 0:
		m.Registrations = append(m.Registrations, Registration{n.initiator, n.port, portID, r.actionKey})
	case r.actionKey != 0:
		m.Registrations[i].Key = r.actionKey
		if m.Holder != nil && m.Holder.nexus() == n {
			m.Holder.Key = r.actionKey
		}
	default:
		before := m.Type
		m.drop(i)
		if before.forRegistrants() && m.Type == 0 {
			m.notifyRegistered(n, attentionReservationsReleased)
		}
	}
	return true
}

// drop removes a registration, and the reservation with it where nobody is left to hold it.
func (r *Reservations) drop(i int) {
	n := r.Registrations[i].nexus()
	r.Registrations = slices.Delete(r.Registrations, i, i+1)
	if r.Type != 0 && (r.Holder != nil && r.Holder.nexus() == n || len(r.Registrations) == 0) {
		r.Type, r.Holder = 0, nil
	}
}

// reserve is RESERVE, SPC-4 section 5.12.9.
func (r *outRequest) reserve(m *amendment) (bool, answer) {
	if a := r.checkType(); a.status != StatusGood {
		return false, a
	}
	if m.Type != 0 {
		if m.holds(r.nexus.key) && m.Type == r.kind {
			return false, good
		}
		return false, conflict
	}
	m.hold(r.kind, r.nexus.key)
	return true, good
}

// hold gives the reservation to a registered nexus.
func (r *Reservations) hold(kind ReservationType, n nexusKey) {
	r.Type, r.Holder = kind, nil
	if !kind.allRegistrants() {
		holder := r.Registrations[r.find(n)]
		r.Holder = &holder
	}
}

func (r *outRequest) checkType() answer {
	switch {
	case r.scope != 0: // LU_SCOPE is the only one that is left
		return badField(2, 7)
	case !r.kind.valid():
		return badField(2, 3)
	}
	return good
}

// release is RELEASE, SPC-4 section 5.12.11.2.
func (r *outRequest) release(m *amendment) (bool, answer) {
	if m.Type == 0 || !m.holds(r.nexus.key) {
		return false, good
	}
	if r.scope != 0 || r.kind != m.Type {
		return false, illegal(InvalidRelease)
	}
	if m.Type.forRegistrants() {
		m.notifyRegistered(r.nexus.key, attentionReservationsReleased)
	}
	m.Type, m.Holder = 0, nil
	return true, good
}

// clear is CLEAR, SPC-4 section 5.12.11.6.
func (r *outRequest) clear(m *amendment) (bool, answer) {
	m.notifyRegistered(r.nexus.key, attentionReservationsPreempted)
	m.Registrations, m.Type, m.Holder = nil, 0, nil
	m.Generation++
	return true, good
}

// move is REGISTER AND MOVE, SPC-4 section 5.12.8.
func (r *outRequest) move(m *amendment, i int) (bool, answer) {
	if m.Type == 0 || m.Type.allRegistrants() || !m.holds(r.nexus.key) {
		return false, conflict
	}
	port, ok := r.lu.portByID(r.portID)
	if !ok {
		return false, badParameter(18, wholeByte)
	}
	to := nexusKey{r.initiators[0].initiator, port.Name}
	switch {
	case r.actionKey == 0:
		return false, badParameter(8, wholeByte)
	case to == r.nexus.key:
		return false, badParameter(24, wholeByte)
	}
	r.registerOne(m, to, port.ID)
	if len(m.Registrations) > r.lu.cfg.Limits.Registrations {
		return false, illegal(InsufficientRegistrationStorage)
	}
	m.hold(m.Type, to)
	if r.unregister {
		m.drop(i)
	}
	m.APTPL = r.aptpl
	m.Generation++
	return true, good
}
