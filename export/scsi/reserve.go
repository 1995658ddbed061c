package scsi

import "context"

// reserve is RESERVE(6) and (10), SPC-2 sections 7.21 and 7.22, of a whole logical unit. Where there are
// persistent reservations it follows SPC-4 section 5.12.3: whoever may use the unit is told it has it.
func reserve(_ context.Context, lu *LogicalUnit, n *Nexus, c *Command) answer {
	if a := checkReserve(c); a.status != StatusGood {
		return a
	}
	lu.change.Lock() // registrations and RESERVE exclude each other
	defer lu.change.Unlock()
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if len(lu.registry.Registrations) > 0 {
		return lu.registry.legacyAnswer(n.key)
	}
	if lu.reserver != nil && lu.reserver != n {
		return conflict
	}
	lu.reserver = n
	lu.denyAll()
	return good
}

// release is RELEASE(6) and (10). From a nexus that has not reserved it does nothing.
func release(_ context.Context, lu *LogicalUnit, n *Nexus, c *Command) answer {
	if a := checkReserve(c); a.status != StatusGood {
		return a
	}
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if len(lu.registry.Registrations) > 0 {
		return lu.registry.legacyAnswer(n.key)
	}
	if lu.reserver == n {
		lu.reserver = nil
		lu.denyAll()
	}
	return good
}

// checkReserve refuses what SPC-2 leaves to others: third party reservations and extents.
func checkReserve(c *Command) answer {
	switch {
	case c.CDB[1]&0x10 != 0: // 3RDPTY
		return badField(1, 4)
	case c.CDB[1]&0x01 != 0: // extents
		return badField(1, 0)
	}
	return good
}

// legacyAnswer is what RESERVE and RELEASE get while there are registrations.
func (r *Reservations) legacyAnswer(n nexusKey) answer {
	if r.Type != 0 && r.find(n) >= 0 && (r.Type.forRegistrants() || r.holds(n)) {
		return good
	}
	return conflict
}

// hasReserver reports whether RESERVE has reserved the unit.
func (lu *LogicalUnit) hasReserver() bool {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	return lu.reserver != nil
}
