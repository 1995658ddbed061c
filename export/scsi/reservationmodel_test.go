package scsi

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// reservationModel is SPC-4's persistent reservations once more, in the words of section 5.12 and as simple as
// can be: who is registered with which key, who holds what.
type reservationModel struct {
	keys       [modelNexuses]uint64 // 0: not registered
	kind       ReservationType
	holder     int // where kind is not for all registrants
	generation uint32
	told       [modelNexuses]attention
}

const modelNexuses = 4

func (m *reservationModel) isHolder(n int) bool {
	return m.kind != 0 && m.keys[n] != 0 && (m.kind >= 7 || m.holder == n)
}

func (m *reservationModel) registeredCount() (count int) {
	for _, key := range m.keys {
		if key != 0 {
			count++
		}
	}
	return count
}

// tell establishes a unit attention for every registered nexus but one.
func (m *reservationModel) tell(but int, a attention) {
	for n, key := range m.keys {
		if key != 0 && n != but {
			m.told[n] |= a
		}
	}
}

// forget unregisters a nexus, and releases what nobody is left to hold.
func (m *reservationModel) forget(n int) (released bool) {
	was := m.isHolder(n)
	m.keys[n] = 0
	if was && (m.kind < 7 || m.registeredCount() == 0) {
		m.kind = 0
		return true
	}
	return false
}

// command does a service action, and returns how it ends.
func (m *reservationModel) command(n int, action byte, kind ReservationType, key, actionKey uint64) string {
	if action != outRegisterIgnore && key != m.keys[n] || action != outRegister && action != outRegisterIgnore && m.keys[n] == 0 {
		return "conflict"
	}
	forRegistrants := m.kind >= 5
	switch action {
	case outRegister, outRegisterIgnore:
		if actionKey == 0 && m.keys[n] == 0 {
			return "good"
		}
		m.generation++
		if actionKey == 0 {
			if m.forget(n) && forRegistrants {
				m.tell(n, attentionReservationsReleased)
			}
			return "good"
		}
		m.keys[n] = actionKey
	case outReserve:
		if m.kind != 0 && (!m.isHolder(n) || m.kind != kind) {
			return "conflict"
		}
		if m.kind == 0 {
			m.kind, m.holder = kind, n
		}
	case outRelease:
		if m.kind == 0 || !m.isHolder(n) {
			return "good"
		}
		if m.kind != kind {
			return "5/26/04"
		}
		if forRegistrants {
			m.tell(n, attentionReservationsReleased)
		}
		m.kind = 0
	case outClear:
		m.tell(n, attentionReservationsPreempted)
		m.keys, m.kind = [modelNexuses]uint64{}, 0
		m.generation++
	case outPreempt, outPreemptAbort:
		return m.preempt(n, kind, actionKey)
	}
	return "good"
}

func (m *reservationModel) preempt(n int, kind ReservationType, actionKey uint64) string {
	takes := m.kind >= 7 && actionKey == 0 || m.kind != 0 && m.kind < 7 && m.keys[m.holder] == actionKey
	if !takes && actionKey == 0 {
		return "5/26/00"
	}
	found := takes
	before := m.kind
	for other, key := range m.keys {
		if key == 0 || takes && other == n || key != actionKey && (!takes || actionKey != 0) {
			continue
		}
		found = true
		m.forget(other)
		if other != n {
			m.told[other] |= attentionRegistrationsPreempted
		}
	}
	if !found {
		return "conflict"
	}
	m.generation++
	if takes {
		m.kind, m.holder = kind, n
	}
	if before != 0 && before != m.kind {
		m.tell(n, attentionReservationsReleased)
	}
	return "good"
}

// may tells what a nexus may do.
func (m *reservationModel) may(n int) (read, write bool) {
	switch {
	case m.kind == 0, m.isHolder(n), m.kind >= 5 && m.keys[n] != 0:
		return true, true
	case m.kind == 1, m.kind == 5, m.kind == 7: // write exclusive
		return true, false
	}
	return false, false
}

// TestReservationsAgainstModel runs random service actions and compares all that can be seen after each.
func TestReservationsAgainstModel(t *testing.T) {
	types := []ReservationType{1, 3, 5, 6, 7, 8}
	actions := []byte{outRegister, outRegister, outRegister, outRegisterIgnore, outReserve, outReserve, outRelease, outClear, outPreempt, outPreempt, outPreemptAbort}
	const runs, steps = 40, 60
	for seed := range uint64(runs) {
		random := rand.New(rand.NewPCG(seed, 1))
		store := &memoryStore{}
		lu := newUnit(t, Config{Reservations: store})
		var nexuses [modelNexuses]*Nexus
		for i := range nexuses {
			nexuses[i] = attach(t, lu, i)
		}
		var m reservationModel
		var history strings.Builder
		for range steps {
			n, action, kind := random.IntN(modelNexuses), actions[random.IntN(len(actions))], types[random.IntN(len(types))]
			key, actionKey := m.keys[n], uint64(random.IntN(4))
			if random.IntN(10) == 0 {
				key = uint64(random.IntN(4))
			}
			fmt.Fprintf(&history, "nexus %d: action %d, type %d, key %d, service action key %d\n", n, action, kind, key, actionKey)
			want := m.command(n, action, kind, key, actionKey)
			if got := reserveOutCommand(t, nexuses[n], action, kind, key, actionKey).String(); got != want {
				t.Fatalf("seed %d: ended with %s, want %s after\n%s", seed, got, want, history.String())
			}
			compareReservations(t, &m, lu, nexuses, history.String())
			restored := newUnit(t, Config{Reservations: store})
			if a, b := fmt.Sprintf("%+v", lu.Reservations().Registrations), fmt.Sprintf("%+v", restored.Reservations().Registrations); a != b ||
				lu.Reservations().Type != restored.Reservations().Type {
				t.Fatalf("seed %d: saved %s, and there is %s after\n%s", seed, b, a, history.String())
			}
		}
	}
}

func compareReservations(t *testing.T, m *reservationModel, lu *LogicalUnit, nexuses [modelNexuses]*Nexus, history string) {
	t.Helper()
	r := lu.Reservations()
	if err := r.check(); err != nil {
		t.Fatal(err)
	}
	if r.Generation != m.generation || r.Type != m.kind || len(r.Registrations) != m.registeredCount() {
		t.Fatalf("%+v, want %+v after\n%s", r, m, history)
	}
	for i, n := range nexuses {
		if key := r.keyOf(r.find(n.key)); key != m.keys[i] {
			t.Fatalf("nexus %d has the key %d, want %d after\n%s", i, key, m.keys[i], history)
		}
		if got := attention(n.pending.Swap(0)); got != m.told[i] {
			t.Fatalf("nexus %d has the unit attentions %b, want %b after\n%s", i, got, m.told[i], history)
		}
		m.told[i] = 0
		read, write := m.may(i)
		for cdb, may := range map[string]bool{"28 00 00000000 00 0001 00": read, "2a 00 00000000 00 0000 00": write} {
			if got := send(t, n, cdb).String(); (got == "good") != may || got != "good" && got != "conflict" {
				t.Fatalf("nexus %d: %s ended with %s after\n%s", i, cdb, got, history)
			}
		}
	}
}
