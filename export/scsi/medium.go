package scsi

import "context"

// testUnitReady is TEST UNIT READY, SPC-4 section 6.47. All that it finds out was found out before.
func testUnitReady(context.Context, *LogicalUnit, *Nexus, *Command) answer { return good }

// startStopUnit is START STOP UNIT, SBC-3 section 5.23. There is no motor: stopping writes out the cache.
func startStopUnit(ctx context.Context, lu *LogicalUnit, n *Nexus, c *Command) answer {
	condition, load, start := c.CDB[4]>>4, c.CDB[4]&0x02 != 0, c.CDB[4]&0x01 != 0
	if (!start || condition != 0) && denial(n.denied.Load())&denyWrites != 0 {
		return conflict // SBC-3 table 13
	}
	if load && lu.features&featureRemovable == 0 {
		return badField(4, 1)
	}
	if !start && c.CDB[4]&0x04 == 0 && !lu.is(stateEjected) && !lu.cfg.ReadOnly { // not NO_FLUSH
		if a := lu.flush(ctx); a.status != StatusGood {
			return a
		}
	}
	if condition != 0 || !load { // LOEJ and START mean nothing beside a power condition
		return good
	}
	return lu.moveTray(n, start)
}

// moveTray ejects the medium or loads it again.
func (lu *LogicalUnit) moveTray(n *Nexus, in bool) answer {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	for _, other := range lu.nexuses {
		if other.prevent {
			return illegal(MediumRemovalPrevented)
		}
	}
	if lu.is(stateEjected) != in {
		return good
	}
	lu.set(stateEjected, !in)
	if in {
		lu.raiseOthers(n, attentionMedium)
	}
	return good
}

// preventRemoval is PREVENT ALLOW MEDIUM REMOVAL, SBC-3 section 5.9.
func preventRemoval(_ context.Context, lu *LogicalUnit, n *Nexus, c *Command) answer {
	prevent := c.CDB[4] & 0x03
	if prevent > 1 {
		return badField(4, 1)
	}
	if prevent != 0 && denial(n.denied.Load()) != 0 {
		return conflict // SBC-3 table 13, SPC-2 table 10
	}
	lu.mu.Lock()
	defer lu.mu.Unlock()
	n.prevent = prevent == 1
	return good
}
