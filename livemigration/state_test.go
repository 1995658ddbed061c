package livemigration

import (
	"math/rand/v2"
	"testing"

	"elstore/volume/fault"
)

var events = []Event{Begin, Admitted, Failed, Write, Conclude, Revert, Assert, Proven, Stuck, ToSource, ToTarget}

func status(state State, pen, owner Side) Status { return Status{State: state, Pen: pen, Owner: owner} }

// TestSteps is the whole table: what is not listed is refused and changes nothing.
func TestSteps(t *testing.T) {
	const s, d = Source, Destination
	table := map[Status]map[Event]Status{
		{}:                       {Begin: status(Preparing, s, "")},
		status(Preparing, s, ""): {Admitted: status(Prepared, s, ""), Failed: status(Reverting, s, "")},
		status(Prepared, s, ""): {
			Write: status(Prepared, d, ""), Conclude: status(Concluding, d, ""), Stuck: status(NeedsOperator, s, ""),
			Revert: status(Reverting, s, ""), Assert: status(Reverting, s, ""),
		},
		status(Prepared, d, ""): {
			Write: status(Prepared, d, ""), Conclude: status(Concluding, d, ""), Stuck: status(NeedsOperator, d, ""),
			Assert: status(Reverting, d, ""),
		},
		status(Concluding, d, ""): {
			Write: status(Concluding, d, ""), Conclude: status(Concluding, d, ""), ToTarget: status(Concluding, d, ""),
			Proven: status(Stable, d, d), Stuck: status(NeedsOperator, d, ""),
		},
		status(Reverting, s, ""): {
			Revert: status(Reverting, s, ""), Assert: status(Reverting, s, ""), ToSource: status(Reverting, s, ""),
			Proven: status(Stable, s, s), Stuck: status(NeedsOperator, s, ""),
		},
		status(Reverting, d, ""): {
			Revert: status(Reverting, d, ""), Assert: status(Reverting, d, ""), ToSource: status(Reverting, d, ""),
			Proven: status(Stable, s, s), Stuck: status(NeedsOperator, d, ""),
		},
		status(Stable, s, s):          {Revert: status(Stable, s, s), Assert: status(Stable, s, s), ToSource: status(Stable, s, s)},
		status(Stable, d, d):          {Write: status(Stable, d, d), Conclude: status(Stable, d, d), ToTarget: status(Stable, d, d)},
		status(NeedsOperator, s, ""):  {ToSource: status(Reverting, s, ""), ToTarget: status(Concluding, d, "")},
		status(NeedsOperator, d, ""):  {Write: status(NeedsOperator, d, ""), ToSource: status(Reverting, d, ""), ToTarget: status(Concluding, d, "")},
		status(NeedsOperator, "", ""): {ToSource: status(Reverting, "", ""), ToTarget: status(Concluding, d, "")},
		status(Reverting, "", ""): {
			Revert: status(Reverting, "", ""), Assert: status(Reverting, "", ""), ToSource: status(Reverting, "", ""),
			Proven: status(Stable, s, s), Stuck: status(NeedsOperator, "", ""),
		},
	}
	for from, steps := range table {
		for _, e := range events {
			want, ok := steps[e]
			got, err := from.Step(e)
			switch {
			case ok && (err != nil || got != want):
				t.Errorf("%v, %s: %v, %v; want %v", from, e, got, err, want)
			case !ok && (!fault.Is(err, fault.MigrationState) || got != from):
				t.Errorf("%v, %s: %v, %v; want it refused", from, e, got, err)
			}
			if _, known := table[got]; !known {
				t.Errorf("%v, %s leads to %v, which is not in the table", from, e, got)
			}
		}
	}
}

// TestWalks takes random walks: what was decided stays so, and the pen never goes from one side to the other in one step without the state
// that allows it.
func TestWalks(t *testing.T) {
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var s Status
		for range 20 {
			e := events[rnd.IntN(len(events))]
			next, err := s.Step(e)
			if err != nil {
				continue
			}
			if keeps := s.Keeps(); keeps != "" && next.Keeps() != keeps && next.State != NeedsOperator {
				t.Fatalf("seed %d: %v, %s: %v", seed, s, e, next)
			}
			if s.MayWrite() == Destination && next.MayWrite() == Source {
				t.Fatalf("seed %d: %v, %s: the pen went back to %v at once", seed, s, e, next)
			}
			if s.State == Stable && next != s {
				t.Fatalf("seed %d: %v was not the end: %v", seed, s, next)
			}
			s = next
		}
	}
}

func TestRefusalsSaySo(t *testing.T) {
	for _, tt := range []struct {
		from Status
		e    Event
		want string
	}{
		{status(Prepared, Destination, ""), Revert, `the destination has changed the volumes already, so the machine seems to run there; say "assert_source_running": true if it runs on the source and what the destination wrote is of no use`},
		{status(Concluding, Destination, ""), Revert, "the live migration is being concluded, and can't be reverted any more"},
		{status(Reverting, Source, ""), Conclude, "the live migration is being reverted, and can't be concluded any more"},
		{status(Stable, Destination, Destination), Revert, "the live migration has ended, and the volumes are the destination's"},
		{status(NeedsOperator, Source, ""), Conclude, "the live migration needs an operator; say with resolve which side the machine runs on"},
		{status(Preparing, Source, ""), Conclude, "the live migration is PREPARING, which doesn't go with conclude"},
	} {
		if _, err := tt.from.Step(tt.e); err == nil || err.Error() != tt.want {
			t.Errorf("%v, %s: %v", tt.from, tt.e, err)
		}
	}
}
