package livemigration

import (
	"elstore/volume/fault"
)

// State is where a migration stands.
type State string

// The states. The zero State is that of what never was.
const (
	Preparing     State = "PREPARING"      // the destination's attachments are being made
	Prepared      State = "PREPARED"       // both sides may log in
	Concluding    State = "CONCLUDING"     // it is the destination's; the source is being fenced
	Reverting     State = "REVERTING"      // it is the source's; the destination is being fenced
	Stable        State = "STABLE"         // it is its owner's, and nothing is left of the other side
	NeedsOperator State = "NEEDS_OPERATOR" // no step is safe without somebody who knows where the machine runs
)

// Side is one of the two hosts. The zero Side is neither.
type Side string

// The sides.
const (
	Source      Side = "source"
	Destination Side = "destination"
)

// other returns the other side.
func (s Side) other() Side {
	switch s {
	case Source:
		return Destination
	case Destination:
		return Source
	}
	return ""
}

// Status is a State with what belongs to it.
type Status struct {
	State State `json:"state"`
	Pen   Side  `json:"pen"`             // who may change the volumes, as far as State lets anybody
	Owner Side  `json:"owner,omitempty"` // of what is Stable
}

// Event is what makes a migration go on.
type Event string

// The events.
const (
	Begin    Event = "prepare"
	Admitted Event = "admitted" // all of the destination's attachments stand
	Failed   Event = "failed"   // they do not, and never will
	Write    Event = "write"    // the destination wants to change a volume, and nothing of the source is under way
	Conclude Event = "conclude"
	Revert   Event = "revert"
	Assert   Event = "assert"  // Revert by a caller who knows that the machine runs on the source
	Proven   Event = "proven"  // nothing of the side that was decided against can reach a volume any more
	Stuck    Event = "stuck"   // the side that was to stay is not there
	ToSource Event = "resolve" // the operator says that the machine is the source's
	ToTarget Event = "resolve to destination"
)

// Step is the state machine: what an event makes of a status. What has happened before is no error and changes nothing; what can't be
// any more is MigrationState. Pure.
func (s Status) Step(e Event) (Status, error) {
	switch e {
	case Begin:
		if s.State == "" {
			return Status{State: Preparing, Pen: Source}, nil
		}
	case Admitted, Failed:
		if s.State == Preparing && e == Admitted {
			return Status{State: Prepared, Pen: Source}, nil
		}
		if s.State == Preparing {
			return Status{State: Reverting, Pen: Source}, nil
		}
	case Write:
		switch s.MayWrite() {
		case Destination:
			return s, nil
		case Source:
			if s.State == Prepared {
				return Status{State: Prepared, Pen: Destination}, nil
			}
		}
	case Conclude:
		if s.State == Prepared {
			return Status{State: Concluding, Pen: Destination}, nil
		}
		if s.goesTo(Destination) {
			return s, nil
		}
	case Revert, Assert:
		if s.State == Prepared && (s.Pen == Source || e == Assert) {
			return Status{State: Reverting, Pen: s.Pen}, nil
		}
		if s.goesTo(Source) {
			return s, nil
		}
	case Proven:
		switch s.State {
		case Concluding:
			return Status{State: Stable, Pen: Destination, Owner: Destination}, nil
		case Reverting:
			return Status{State: Stable, Pen: Source, Owner: Source}, nil
		default:
		}
	case Stuck:
		switch s.State {
		case Prepared, Concluding, Reverting:
			return Status{State: NeedsOperator, Pen: s.Pen}, nil
		default:
		}
	case ToSource:
		if s.State == NeedsOperator {
			return Status{State: Reverting, Pen: s.Pen}, nil
		}
		if s.goesTo(Source) {
			return s, nil
		}
	case ToTarget:
		if s.State == NeedsOperator {
			return Status{State: Concluding, Pen: Destination}, nil
		}
		if s.goesTo(Destination) {
			return s, nil
		}
	}
	return s, s.refuse(e)
}

// goesTo reports whether it was decided for a side.
func (s Status) goesTo(side Side) bool {
	switch s.State {
	case Concluding:
		return side == Destination
	case Reverting:
		return side == Source
	case Stable:
		return side == s.Owner
	default:
	}
	return false
}

// Keeps returns the side that the migration was decided for, or neither.
func (s Status) Keeps() Side {
	for _, side := range []Side{Source, Destination} {
		if s.goesTo(side) {
			return side
		}
	}
	return ""
}

// MayWrite returns the side that may change the volumes at this moment, or neither.
func (s Status) MayWrite() Side {
	if s.State == Reverting && s.Pen != Source {
		return "" // the destination is being fenced, and its last writes may be under way
	}
	return s.Pen
}

// Open reports whether the migration is not over.
func (s Status) Open() bool { return s.State != "" && s.State != Stable }

// refuse is the error of an event that can't be any more.
func (s Status) refuse(e Event) error {
	switch {
	case s.State == Prepared && e == Revert:
		return fault.Errorf(fault.MigrationState,
			"the destination has changed the volumes already, so the machine seems to run there; say \"assert_source_running\": true if it runs on the source and what the destination wrote is of no use")
	case s.State == NeedsOperator:
		return fault.Errorf(fault.MigrationState, "the live migration needs an operator; say with resolve which side the machine runs on")
	case s.State == Stable:
		return fault.Errorf(fault.MigrationState, "the live migration has ended, and the volumes are the %s's", s.Owner)
	case s.goesTo(Source):
		return fault.Errorf(fault.MigrationState, "the live migration is being reverted, and can't be concluded any more")
	case s.goesTo(Destination):
		return fault.Errorf(fault.MigrationState, "the live migration is being concluded, and can't be reverted any more")
	}
	return fault.Errorf(fault.MigrationState, "the live migration is %s, which doesn't go with %s", s.State, e)
}
