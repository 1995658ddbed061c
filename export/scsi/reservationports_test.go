package scsi

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// twoPorts makes a unit that one initiator reaches through the ports of two targets, another through the second.
func twoPorts(t *testing.T) (lu *LogicalUnit, a1, a2, b2 *Nexus) {
	t.Helper()
	lu = newUnit(t, Config{Reservations: &memoryStore{}})
	through := func(n int, port Port) *Nexus {
		nexus, err := lu.Attach(NexusConfig{Initiator: initiatorPort(n), Port: port})
		if err != nil {
			t.Fatal(err)
		}
		nexus.pending.Store(0)
		return nexus
	}
	second := Port{Target: "iqn.y", Name: "iqn.y,t,0x0001", ID: 2}
	return lu, through(1, testPort), through(1, second), through(2, second)
}

func TestPortsMakeNexuses(t *testing.T) {
	lu, a1, a2, b2 := twoPorts(t)
	reserveOutCommand(t, a1, outRegister, 0, 0, 1).want(t, "good")
	reserveOutCommand(t, a2, outRegister, 0, 1, 1).want(t, "conflict") // is not registered through this port
	reserveOutCommand(t, a2, outRegister, 0, 0, 1).want(t, "good")
	reserveOutCommand(t, b2, outRegister, 0, 0, 2).want(t, "good")
	r := lu.Reservations()
	for i, want := range []Registration{
		{initiatorPort(1), testPort.Name, 1, 1}, {initiatorPort(1), "iqn.y,t,0x0001", 2, 1}, {initiatorPort(2), "iqn.y,t,0x0001", 2, 2},
	} {
		if r.Registrations[i] != want {
			t.Errorf("registration %+v, want %+v", r.Registrations[i], want)
		}
	}
	// The same key on both paths, as multipathing hosts do: preempting it takes both.
	reserveOutCommand(t, a1, outReserve, WriteExclusiveRegistrantsOnly, 1, 0).want(t, "good")
	send(t, a2, "2a 00 00000000 00 0000 00").want(t, "good")
	reserveOutCommand(t, b2, outPreempt, WriteExclusiveRegistrantsOnly, 2, 1).want(t, "good")
	wantReservations(t, lu, 4, []uint64{2}, WriteExclusiveRegistrantsOnly, 2)
	for _, n := range []*Nexus{a1, a2} {
		send(t, n, "2a 00 00000000 00 0000 00").want(t, "6/2a/05")
		send(t, n, "2a 00 00000000 00 0000 00").want(t, "conflict")
	}
}

func TestFenceOnePort(t *testing.T) {
	lu, a1, a2, b2 := twoPorts(t)
	for i, n := range []*Nexus{a1, a2, b2} {
		reserveOutCommand(t, n, outRegister, 0, 0, uint64(i+1)).want(t, "good")
	}
	reserveOutCommand(t, a1, outReserve, WriteExclusiveAllRegistrants, 1, 0).want(t, "good")
	if err := lu.Fence(t.Context(), func(r Registration) bool { return r.Port == "iqn.y,t,0x0001" }); err != nil {
		t.Fatal(err)
	}
	wantReservations(t, lu, 4, []uint64{1}, WriteExclusiveAllRegistrants, 0)
	send(t, a1, "2a 00 00000000 00 0000 00").want(t, "good")
	for _, n := range []*Nexus{a2, b2} {
		send(t, n, "00").want(t, "6/2a/05")
		send(t, n, "2a 00 00000000 00 0000 00").want(t, "conflict")
	}
}

func TestFenceInterrupted(t *testing.T) {
	lu := newUnit(t, Config{})
	n := registered(t, lu, 1)
	ctx, cancel := context.WithCancel(t.Context())
	n[0].cfg.Abort = func(ctx context.Context) {
		cancel()
		<-ctx.Done()
	}
	if err := lu.Fence(ctx, func(Registration) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, though the tasks were not waited for", err)
	}
	wantReservations(t, lu, 2, nil, 0, 0)
}

// TestRegistrationOutlivesTheNexus: a login through the same ports has its registration again, another ISID has
// none.
func TestRegistrationOutlivesTheNexus(t *testing.T) {
	lu := newUnit(t, Config{})
	n := registered(t, lu, 2)
	reserveOutCommand(t, n[0], outReserve, ExclusiveAccess, 1, 0).want(t, "good")
	n[0].Detach()
	send(t, n[1], "28 00 00000000 00 0001 00").want(t, "conflict")
	send(t, attach(t, lu, 9), "28 00 00000000 00 0001 00").want(t, "conflict")
	again := attach(t, lu, 1)
	send(t, again, "28 00 00000000 00 0001 00").want(t, "good")
	reserveOutCommand(t, again, outRelease, ExclusiveAccess, 1, 0).want(t, "good")
	send(t, n[1], "28 00 00000000 00 0001 00").want(t, "good")
	lu.Reset(nil) // registrations and reservations stay
	wantReservations(t, lu, 2, []uint64{1, 2}, 0, 0)
}

// TestCompatibleReservationHandling is SPC-4 section 5.12.3: RESERVE and RELEASE say GOOD to whoever has the
// unit by a persistent reservation, and do nothing.
func TestCompatibleReservationHandling(t *testing.T) {
	for _, kind := range []ReservationType{0, 1, 3, 5, 6, 7, 8} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			lu := newUnit(t, Config{})
			n := registered(t, lu, 2)
			stranger := attach(t, lu, 3)
			holder, other := "conflict", "conflict"
			if kind != 0 {
				reserveOutCommand(t, n[0], outReserve, kind, 1, 0).want(t, "good")
				holder = "good"
			}
			if kind.forRegistrants() {
				other = "good"
			}
			for _, cdb := range []string{"16", "17", "56", "57"} {
				send(t, n[0], cdb).want(t, holder)
				send(t, n[1], cdb).want(t, other)
				send(t, stranger, cdb).want(t, "conflict")
			}
			if lu.hasReserver() {
				t.Error("RESERVE has reserved")
			}
			reserveOutCommand(t, n[0], outClear, 0, 1, 0).want(t, "good")
			n[1].pending.Store(0)
			send(t, stranger, "16").want(t, "good")
		})
	}
}
