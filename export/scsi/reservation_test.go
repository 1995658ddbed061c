package scsi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
)

// reserveOutCommand runs PERSISTENT RESERVE OUT with the basic parameter list.
func reserveOutCommand(t testing.TB, n *Nexus, action byte, kind ReservationType, key, actionKey uint64, flags ...byte) reply {
	t.Helper()
	list := binary.BigEndian.AppendUint64(nil, key)
	list = binary.BigEndian.AppendUint64(list, actionKey)
	list = append(list, make([]byte, 8)...)
	for _, f := range flags {
		list[20] |= f
	}
	return send(t, n, fmt.Sprintf("5f %02x %02x 0000 00000018 00", action, kind), list)
}

// registered attaches nexuses that are registered with the keys 1, 2, 3 and so on.
func registered(t testing.TB, lu *LogicalUnit, count int) (nexuses []*Nexus) {
	t.Helper()
	for i := range count {
		n := attach(t, lu, i+1)
		reserveOutCommand(t, n, outRegister, 0, 0, uint64(i+1)).want(t, "good")
		nexuses = append(nexuses, n)
	}
	return nexuses
}

// wantReservations checks the keys in their order, the type and the holder's key.
func wantReservations(t testing.TB, lu *LogicalUnit, generation uint32, keys []uint64, kind ReservationType, holder uint64) {
	t.Helper()
	r := lu.Reservations()
	var got []uint64
	for _, g := range r.Registrations {
		got = append(got, g.Key)
	}
	if r.Generation != generation || fmt.Sprint(got) != fmt.Sprint(keys) || r.Type != kind || r.holderKey() != holder {
		t.Fatalf("generation %d, keys %v, type %d, holder %d; want %d, %v, %d, %d",
			r.Generation, got, r.Type, r.holderKey(), generation, keys, kind, holder)
	}
	if err := r.check(); err != nil {
		t.Fatal(err)
	}
}

// TestReservationConflicts is SPC-4 table 66 and SBC-3 table 13: for each command, what it gets from a nexus
// that is not the holder. The columns are those of the tables.
func TestReservationConflicts(t *testing.T) {
	columns := []struct {
		name       string
		types      []ReservationType
		registered []bool
	}{
		{"Write Exclusive", []ReservationType{WriteExclusive}, []bool{false, true}},
		{"Exclusive Access", []ReservationType{ExclusiveAccess}, []bool{false, true}},
		{"registered, for registrants", []ReservationType{
			WriteExclusiveRegistrantsOnly, WriteExclusiveAllRegistrants,
			ExclusiveAccessRegistrantsOnly, ExclusiveAccessAllRegistrants,
		}, []bool{true}},
		{"not registered, Write Exclusive for registrants", []ReservationType{WriteExclusiveRegistrantsOnly, WriteExclusiveAllRegistrants}, []bool{false}},
		{"not registered, Exclusive Access for registrants", []ReservationType{ExclusiveAccessRegistrantsOnly, ExclusiveAccessAllRegistrants}, []bool{false}},
	}
	const allowed, reads, conflicts = "aaaaa", "acaac", "ccacc"
	rows := []struct{ name, cdb, want string }{
		{"INQUIRY", "12 00 00 0060 00", allowed},
		{"LOG SENSE", "4d 00 40 00 00 0000 00ff 00", allowed},
		{"MODE SELECT(6)", "15 10", conflicts},
		{"MODE SELECT(10)", "55 10", conflicts},
		{"MODE SENSE(6)", "1a 08 08 00 ff 00", allowed}, // as ALLOW COMMANDS says
		{"MODE SENSE(10)", "5a 08 08 00 000000 00ff 00", allowed},
		{"PERSISTENT RESERVE IN", "5e 00 0000000000 0100 00", allowed},
		{"REPORT LUNS", "a000 00 000000 00000010 0000", allowed},
		{"REPORT SUPPORTED OPERATION CODES", "a30c 00 00 0000 0000ffff 00 00", allowed},
		{"REPORT TARGET PORT GROUPS", "a30a 00000000 00001000 0000", allowed},
		{"REQUEST SENSE", "03 00 00 00 12 00", allowed},
		{"TEST UNIT READY", "00", allowed},
		{"EXTENDED COPY", "83", conflicts},
		{"RECEIVE COPY RESULTS", "84 03 0000000000000000 00000fff 0000", conflicts},
		{"READ(6)", "08 000000 01 00", reads},
		{"READ(10)", "28 00 00000000 00 0001 00", reads},
		{"READ(12)", "a8 00 00000000 00000001 00 00", reads},
		{"READ(16)", "88 00 0000000000000000 00000001 00 00", reads},
		{"READ CAPACITY(10)", "25", allowed},
		{"READ CAPACITY(16)", "9e10 0000000000000000 00000020 00 00", allowed},
		{"GET LBA STATUS", "9e12 0000000000000000 00000018 00 00", reads},
		{"PRE-FETCH(10)", "34", reads},
		{"PRE-FETCH(16)", "90", reads},
		{"VERIFY(10)", "2f", reads},
		{"VERIFY(12)", "af", reads},
		{"VERIFY(16)", "8f", reads},
		{"READ DEFECT DATA(10)", "37 00 1d 00000000 00ff 00", reads},
		{"PREVENT ALLOW, allow", "1e 00 0000 00 00", allowed},
		{"PREVENT ALLOW, prevent", "1e 00 0000 01 00", conflicts},
		{"START STOP UNIT, start", "1b 00 00 00 01 00", allowed},
		{"START STOP UNIT, stop", "1b 00 00 00 00 00", conflicts},
		{"START STOP UNIT, power condition", "1b 00 00 00 11 00", conflicts},
		{"SYNCHRONIZE CACHE(10)", "35", conflicts},
		{"SYNCHRONIZE CACHE(16)", "91", conflicts},
		{"COMPARE AND WRITE", "89", conflicts},
		{"ORWRITE", "8b", conflicts},
		{"UNMAP", "42", conflicts},
		{"WRITE(6)", "0a 000000 01 00", conflicts},
		{"WRITE(10)", "2a", conflicts},
		{"WRITE(12)", "aa", conflicts},
		{"WRITE(16)", "8a", conflicts},
		{"WRITE AND VERIFY(10)", "2e", conflicts},
		{"WRITE AND VERIFY(12)", "ae", conflicts},
		{"WRITE AND VERIFY(16)", "8e", conflicts},
		{"WRITE SAME(10)", "41 00 00000000 00 0001 00", conflicts},
		{"WRITE SAME(16)", "93 01 0000000000000000 00000001 00 00", conflicts},
		{"RESERVE(6)", "16", "ccacc"},
		{"RELEASE(6)", "17", "ccacc"},
	}
	for at, column := range columns {
		for _, kind := range column.types {
			for _, isRegistered := range column.registered {
				lu := newUnit(t, Config{Thin: true, Removable: true})
				holder, other := attach(t, lu, 1), attach(t, lu, 2)
				reserveOutCommand(t, holder, outRegister, 0, 0, 1).want(t, "good")
				if isRegistered {
					reserveOutCommand(t, other, outRegister, 0, 0, 2).want(t, "good")
				}
				reserveOutCommand(t, holder, outReserve, kind, 1, 0).want(t, "good")
				for _, row := range rows {
					t.Run(fmt.Sprintf("%s/%d, registered %t/%s", column.name, kind, isRegistered, row.name), func(t *testing.T) {
						c := Command{CDB: parseCDB(t, row.cdb), Expected: 512, In: make([]byte, 4096), Out: [][]byte{make([]byte, 512)}}
						fromHolder := c
						lu.Execute(t.Context(), holder, &fromHolder)
						if got := ending(&fromHolder); got == "conflict" {
							t.Error("the holder has a conflict")
						}
						lu.Execute(t.Context(), other, &c)
						if got := ending(&c) == "conflict"; got != (row.want[at] == 'c') {
							t.Errorf("ended with %s", ending(&c))
						}
					})
				}
			}
		}
	}
}

// TestReserveOutConflicts is SPC-4 table 67: what PERSISTENT RESERVE OUT gets while another nexus holds a
// reservation that is not for all registrants.
func TestReserveOutConflicts(t *testing.T) {
	tests := []struct {
		name              string
		action            byte
		registered, other string
	}{
		{"CLEAR", outClear, "good", "conflict"},
		{"PREEMPT", outPreempt, "good", "conflict"},
		{"PREEMPT AND ABORT", outPreemptAbort, "good", "conflict"},
		{"REGISTER", outRegister, "good", "good"},
		{"REGISTER AND IGNORE EXISTING KEY", outRegisterIgnore, "good", "good"},
		{"RELEASE", outRelease, "good", "conflict"},
		{"RESERVE", outReserve, "conflict", "conflict"},
	}
	for _, tt := range tests {
		for _, kind := range []ReservationType{WriteExclusive, ExclusiveAccess, WriteExclusiveRegistrantsOnly, ExclusiveAccessRegistrantsOnly} {
			t.Run(fmt.Sprintf("%s, %d", tt.name, kind), func(t *testing.T) {
				lu := newUnit(t, Config{})
				n := registered(t, lu, 2)
				stranger := attach(t, lu, 3)
				reserveOutCommand(t, n[0], outReserve, kind, 1, 0).want(t, "good")
				strangersKey := uint64(0)
				reserveOutCommand(t, stranger, tt.action, kind, strangersKey, 1).want(t, tt.other)
				if tt.other == "good" {
					reserveOutCommand(t, stranger, outRegister, 0, 1, 0).want(t, "good")
				}
				reserveOutCommand(t, n[1], tt.action, kind, 77, 1).want(t, map[bool]string{true: "good", false: "conflict"}[tt.action == outRegisterIgnore])
				key := uint64(2)
				if tt.action == outRegisterIgnore {
					key = 1
				}
				reserveOutCommand(t, n[1], tt.action, kind, key, 1).want(t, tt.registered)
			})
		}
	}
}

func TestRegister(t *testing.T) {
	store := &memoryStore{}
	lu := newUnit(t, Config{Reservations: store})
	a, b := attach(t, lu, 1), attach(t, lu, 2)
	reserveOutCommand(t, a, outRegister, 0, 0, 0).want(t, "good") // does nothing
	wantReservations(t, lu, 0, nil, 0, 0)
	if store.saves != 0 {
		t.Error("nothing was saved")
	}
	reserveOutCommand(t, a, outRegister, 0, 5, 7).want(t, "conflict")
	reserveOutCommand(t, a, outRegister, 0, 0, 7).want(t, "good")
	reserveOutCommand(t, a, outRegister, 0, 0, 8).want(t, "conflict")
	reserveOutCommand(t, a, outRegister, 0, 7, 8).want(t, "good")
	reserveOutCommand(t, b, outRegisterIgnore, 0, 99, 9).want(t, "good")
	wantReservations(t, lu, 3, []uint64{8, 9}, 0, 0)
	send(t, a, "5e 00 0000000000 0100 00").wantData(t, "00000003 00000010 0000000000000008 0000000000000009")
	send(t, a, "5e 00 0000000000 000c 00").wantData(t, "00000003 00000010 00000000")
	reserveOutCommand(t, a, outRegister, 0, 8, 0).want(t, "good")
	reserveOutCommand(t, b, outRegisterIgnore, 0, 0, 0).want(t, "good")
	wantReservations(t, lu, 5, nil, 0, 0)
	if store.saves != 5 || store.saved.Generation != 5 {
		t.Errorf("%d saves", store.saves)
	}
}

func TestReserveAndRelease(t *testing.T) {
	for kind := range ReservationType(16) {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			lu := newUnit(t, Config{})
			n := registered(t, lu, 3)
			if !kind.valid() {
				reserveOutCommand(t, n[0], outReserve, kind, 1, 0).want(t, "5/24/00").wantField(t, "c2.3")
				return
			}
			reserveOutCommand(t, n[0], outReserve, kind|0x10, 1, 0).want(t, "5/24/00").wantField(t, "c2.7")
			reserveOutCommand(t, n[0], outReserve, kind, 2, 0).want(t, "conflict") // another's key
			reserveOutCommand(t, n[0], outRelease, kind, 1, 0).want(t, "good")     // nothing is reserved
			reserveOutCommand(t, n[0], outReserve, kind, 1, 0).want(t, "good")
			reserveOutCommand(t, n[0], outReserve, kind, 1, 0).want(t, "good")
			reserveOutCommand(t, n[0], outReserve, kind^kind.other(), 1, 0).want(t, "conflict")
			holder := uint64(1)
			if kind.allRegistrants() {
				holder = 0
				reserveOutCommand(t, n[1], outReserve, kind, 2, 0).want(t, "good")
			} else {
				reserveOutCommand(t, n[1], outReserve, kind, 2, 0).want(t, "conflict")
				reserveOutCommand(t, n[1], outRelease, kind, 2, 0).want(t, "good") // does nothing
			}
			wantReservations(t, lu, 3, []uint64{1, 2, 3}, kind, holder)
			send(t, n[2], "5e 01 0000000000 0100 00").wantData(t, fmt.Sprintf("00000003 00000010 %016x 00000000 00 %02x 0000", holder, uint8(kind)))
			reserveOutCommand(t, n[0], outRelease, kind^kind.other(), 1, 0).want(t, "5/26/04")
			reserveOutCommand(t, n[0], outRelease, kind|0x10, 1, 0).want(t, "5/26/04")
			reserveOutCommand(t, n[0], outRelease, kind, 1, 0).want(t, "good")
			wantReservations(t, lu, 3, []uint64{1, 2, 3}, 0, 0)
			told := "good"
			if kind.forRegistrants() {
				told = "6/2a/04"
				send(t, n[2], "5e 01 0000000000 0100 00").want(t, told)
			}
			send(t, n[2], "5e 01 0000000000 0100 00").wantData(t, "00000003 00000000")
			send(t, n[0], "00").want(t, "good")
			send(t, n[1], "00").want(t, told)
		})
	}
}

// other returns bits that make another type of a type.
func (t ReservationType) other() ReservationType {
	if t == WriteExclusive || t == ExclusiveAccess {
		return WriteExclusive ^ ExclusiveAccess
	}
	return t ^ WriteExclusive
}

func TestUnregisterReleases(t *testing.T) {
	for _, kind := range []ReservationType{1, 3, 5, 6, 7, 8} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			lu := newUnit(t, Config{})
			n := registered(t, lu, 2)
			reserveOutCommand(t, n[0], outReserve, kind, 1, 0).want(t, "good")
			reserveOutCommand(t, n[0], outRegister, 0, 1, 0).want(t, "good")
			if kind.allRegistrants() {
				wantReservations(t, lu, 3, []uint64{2}, kind, 0)
				send(t, n[1], "00").want(t, "good")
				reserveOutCommand(t, n[1], outRegister, 0, 2, 0).want(t, "good")
				wantReservations(t, lu, 4, nil, 0, 0)
				return
			}
			wantReservations(t, lu, 3, []uint64{2}, 0, 0)
			told := "good"
			if kind.forRegistrants() {
				told = "6/2a/04"
			}
			send(t, n[1], "00").want(t, told)
		})
	}
}

func TestHolderChangesItsKey(t *testing.T) {
	lu := newUnit(t, Config{})
	n := registered(t, lu, 1)
	reserveOutCommand(t, n[0], outReserve, WriteExclusive, 1, 0).want(t, "good")
	reserveOutCommand(t, n[0], outRegister, 0, 1, 9).want(t, "good")
	wantReservations(t, lu, 2, []uint64{9}, WriteExclusive, 9)
}

func TestClear(t *testing.T) {
	lu := newUnit(t, Config{})
	n := registered(t, lu, 3)
	reserveOutCommand(t, n[0], outReserve, ExclusiveAccess, 1, 0).want(t, "good")
	reserveOutCommand(t, n[1], outClear, 0, 2, 0).want(t, "good")
	wantReservations(t, lu, 4, nil, 0, 0)
	send(t, n[1], "00").want(t, "good")
	send(t, n[0], "00").want(t, "6/2a/03")
	send(t, n[2], "2a 00 00000000 00 0000 00").want(t, "6/2a/03")
	send(t, n[2], "2a 00 00000000 00 0000 00").want(t, "good")
}

func TestPreempt(t *testing.T) {
	const preempted, released = "6/2a/05", "6/2a/04"
	tests := []struct {
		name   string
		holder int // who reserves first; -1 nobody
		kind   ReservationType
		by     int
		key    uint64
		asked  ReservationType
		want   string
		keys   []uint64
		then   ReservationType
		owner  uint64
		told   [4]string // by nexus; "" is good
	}{
		{"the holder", 0, WriteExclusive, 1, 1, WriteExclusive, "good", []uint64{2, 3, 3}, WriteExclusive, 2, [4]string{preempted}},
		{"the holder, another type", 0, WriteExclusive, 1, 1, ExclusiveAccessRegistrantsOnly, "good", []uint64{2, 3, 3}, ExclusiveAccessRegistrantsOnly, 2, [4]string{preempted, "", released, released}},
		{"the holder, for all", 0, WriteExclusive, 1, 1, WriteExclusiveAllRegistrants, "good", []uint64{2, 3, 3}, WriteExclusiveAllRegistrants, 0, [4]string{preempted, "", released, released}},
		{"a holder whose key another has too", 2, WriteExclusive, 0, 3, WriteExclusive, "good", []uint64{1, 2}, WriteExclusive, 1, [4]string{"", "", preempted, preempted}},
		{"itself, the holder", 0, WriteExclusive, 0, 1, ExclusiveAccess, "good", []uint64{1, 2, 3, 3}, ExclusiveAccess, 1, [4]string{"", released, released, released}},
		{"itself, the holder, whose key another has too", 2, WriteExclusive, 2, 3, WriteExclusive, "good", []uint64{1, 2, 3}, WriteExclusive, 3, [4]string{"", "", "", preempted}},
		{"others", 0, WriteExclusive, 1, 3, ExclusiveAccess, "good", []uint64{1, 2}, WriteExclusive, 1, [4]string{"", "", preempted, preempted}},
		{"others, no reservation", -1, 0, 1, 3, WriteExclusive, "good", []uint64{1, 2}, 0, 0, [4]string{"", "", preempted, preempted}},
		{"nobody", 0, WriteExclusive, 1, 9, WriteExclusive, "conflict", []uint64{1, 2, 3, 3}, WriteExclusive, 1, [4]string{}},
		{"zero", 0, WriteExclusive, 1, 0, WriteExclusive, "5/26/00", []uint64{1, 2, 3, 3}, WriteExclusive, 1, [4]string{}},
		{"zero, no reservation", -1, 0, 1, 0, WriteExclusive, "5/26/00", []uint64{1, 2, 3, 3}, 0, 0, [4]string{}},
		{"all registrants", 0, WriteExclusiveAllRegistrants, 1, 0, ExclusiveAccess, "good", []uint64{2}, ExclusiveAccess, 2, [4]string{preempted, "", preempted, preempted}},
		{"some of all registrants", 0, WriteExclusiveAllRegistrants, 1, 3, ExclusiveAccess, "good", []uint64{1, 2}, WriteExclusiveAllRegistrants, 0, [4]string{"", "", preempted, preempted}},
		{"a bad type", 0, WriteExclusive, 1, 1, 2, "5/24/00", []uint64{1, 2, 3, 3}, WriteExclusive, 1, [4]string{}},
		{"all registrants, a bad type", 0, WriteExclusiveAllRegistrants, 1, 0, 2, "5/24/00", []uint64{1, 2, 3, 3}, WriteExclusiveAllRegistrants, 0, [4]string{}},
		{"its own key, no reservation", -1, 0, 1, 2, WriteExclusive, "good", []uint64{1, 3, 3}, 0, 0, [4]string{}},
	}
	for _, tt := range tests {
		for _, action := range []byte{outPreempt, outPreemptAbort} {
			t.Run(fmt.Sprintf("%s/%d", tt.name, action), func(t *testing.T) {
				lu := newUnit(t, Config{})
				aborted := make(map[int]bool)
				var n [4]*Nexus
				for i, key := range []uint64{1, 2, 3, 3} {
					n[i], _ = lu.Attach(NexusConfig{Initiator: initiatorPort(i + 1), Port: testPort, Abort: func(context.Context) { aborted[i] = true }})
					n[i].pending.Store(0)
					reserveOutCommand(t, n[i], outRegister, 0, 0, key).want(t, "good")
				}
				if tt.holder >= 0 {
					reserveOutCommand(t, n[tt.holder], outReserve, tt.kind, []uint64{1, 2, 3, 3}[tt.holder], 0).want(t, "good")
				}
				reserveOutCommand(t, n[tt.by], action, tt.asked, []uint64{1, 2, 3, 3}[tt.by], tt.key).want(t, tt.want)
				generation := uint32(4)
				if tt.want == "good" {
					generation++
				}
				wantReservations(t, lu, generation, tt.keys, tt.then, tt.owner)
				for i, told := range tt.told {
					if told == "" {
						told = "good"
					}
					send(t, n[i], "00").want(t, told)
					if want := action == outPreemptAbort && told == preempted; aborted[i] != want {
						t.Errorf("tasks of nexus %d were aborted: %t", i, aborted[i])
					}
				}
			})
		}
	}
}

// TestPreemptedIsKeptOut: once PREEMPT has answered, nothing that the preempted nexus sends is written.
func TestPreemptedIsKeptOut(t *testing.T) {
	disk := newRAM(1 << 20)
	lu := newUnit(t, Config{Device: disk})
	n := registered(t, lu, 2)
	reserveOutCommand(t, n[0], outReserve, WriteExclusiveRegistrantsOnly, 1, 0).want(t, "good")
	send(t, n[1], "2a 00 00000000 00 0001 00", pattern(1, 1)).want(t, "good")
	reserveOutCommand(t, n[0], outPreemptAbort, WriteExclusiveRegistrantsOnly, 1, 2).want(t, "good")
	disk.called()
	send(t, n[1], "2a 00 00000000 00 0001 00", pattern(1, 1)).want(t, "6/2a/05")
	send(t, n[1], "2a 00 00000000 00 0001 00", pattern(1, 1)).want(t, "conflict")
	if calls := disk.called(); calls != "" {
		t.Errorf("calls %q", calls)
	}
}

func TestParameterListLengths(t *testing.T) {
	lu := newUnit(t, Config{Reservations: &memoryStore{}})
	n := attach(t, lu, 1)
	for name, tt := range map[string]struct {
		cdb  string
		size int
	}{
		"short":           {"5f 00 00 0000 00000017 00", 23},
		"long":            {"5f 00 00 0000 00000019 00", 25},
		"none":            {"5f 00 00 0000 00000000 00", 0},
		"less data":       {"5f 00 00 0000 00000018 00", 20},
		"beyond any need": {"5f 00 00 0000 00010001 00", 24},
		"enormous":        {"5f 00 00 0000 ffffffff 00", 24},
		"MOVE, short":     {"5f 07 00 0000 00000017 00", 23},
	} {
		t.Run(name, func(t *testing.T) { send(t, n, tt.cdb, make([]byte, tt.size)).want(t, "5/1a/00") })
	}
}

func TestAPTPL(t *testing.T) {
	t.Run("without a store", func(t *testing.T) {
		n := attach(t, newUnit(t, Config{}), 1)
		reserveOutCommand(t, n, outRegister, 0, 0, 1, 0x01).want(t, "5/26/00").wantField(t, "p20.0")
		send(t, n, "5e 02 0000000000 0100 00").wantData(t, "0008 1c b0 ea 01 0000")
	})
	t.Run("with one", func(t *testing.T) {
		store := &memoryStore{}
		n := attach(t, newUnit(t, Config{Reservations: store}), 1)
		reserveOutCommand(t, n, outRegister, 0, 0, 1, 0x01).want(t, "good")
		if !store.saved.APTPL {
			t.Error("not saved")
		}
		send(t, n, "5e 02 0000000000 0100 00").wantData(t, "0008 1d b1 ea 01 0000")
		reserveOutCommand(t, n, outRegister, 0, 1, 1).want(t, "good") // the last REGISTER counts
		if store.saved.APTPL {
			t.Error("still saved")
		}
	})
	t.Run("restart", func(t *testing.T) {
		store := &memoryStore{}
		before := registered(t, newUnit(t, Config{Reservations: store}), 2)
		reserveOutCommand(t, before[0], outReserve, ExclusiveAccess, 1, 0).want(t, "good")
		lu := newUnit(t, Config{Reservations: store})
		a, b := attach(t, lu, 1), attach(t, lu, 2)
		wantReservations(t, lu, 2, []uint64{1, 2}, ExclusiveAccess, 1)
		send(t, a, "28 00 00000000 00 0001 00").want(t, "good")
		send(t, b, "28 00 00000000 00 0001 00").want(t, "conflict")
		reserveOutCommand(t, a, outRelease, ExclusiveAccess, 1, 0).want(t, "good")
		if store.saved.Type != 0 {
			t.Error("the release is not saved")
		}
	})
}

// TestNothingWithoutSaving: where the registry can't be saved, it has not changed and nobody is told.
func TestNothingWithoutSaving(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{{errTest, "4/44/00"}, {syscall.ENOSPC, "5/55/04"}} {
		store := &memoryStore{}
		lu := newUnit(t, Config{Reservations: store})
		n := registered(t, lu, 2)
		reserveOutCommand(t, n[0], outReserve, WriteExclusiveRegistrantsOnly, 1, 0).want(t, "good")
		store.err = tt.err
		reserveOutCommand(t, n[0], outRegister, 0, 1, 5).want(t, tt.want)
		reserveOutCommand(t, n[0], outRelease, WriteExclusiveRegistrantsOnly, 1, 0).want(t, tt.want)
		reserveOutCommand(t, n[1], outPreempt, WriteExclusive, 2, 1).want(t, tt.want)
		reserveOutCommand(t, n[1], outClear, 0, 2, 0).want(t, tt.want)
		wantReservations(t, lu, 2, []uint64{1, 2}, WriteExclusiveRegistrantsOnly, 1)
		for _, n := range n {
			send(t, n, "00").want(t, "good")
		}
		if err := lu.Fence(t.Context(), func(Registration) bool { return true }); err == nil {
			t.Error("fenced without saving")
		}
		if err := lu.MoveRegistrations(t.Context(), of(n[0]), n[1]); err == nil {
			t.Error("moved without saving")
		}
		wantReservations(t, lu, 2, []uint64{1, 2}, WriteExclusiveRegistrantsOnly, 1)
	}
}

func TestRegistrationLimit(t *testing.T) {
	lu := newUnit(t, Config{Limits: Limits{Registrations: 2}})
	n := registered(t, lu, 2)
	reserveOutCommand(t, attach(t, lu, 3), outRegister, 0, 0, 3).want(t, "5/55/04")
	reserveOutCommand(t, n[0], outRegister, 0, 1, 4).want(t, "good")
	reserveOutCommand(t, n[0], outReserve, WriteExclusive, 4, 0).want(t, "good")
	moveCommand(t, n[0], 4, 9, 0, 1, initiatorPort(7)).want(t, "5/55/04")
	moveCommand(t, n[0], 4, 9, 0, 1, initiatorPort(2)).want(t, "good")
}

// moveCommand runs REGISTER AND MOVE.
func moveCommand(t testing.TB, n *Nexus, key, actionKey uint64, flags byte, port uint16, initiator string) reply {
	t.Helper()
	id := appendTransportID(nil, initiator)
	list := binary.BigEndian.AppendUint64(nil, key)
	list = binary.BigEndian.AppendUint64(list, actionKey)
	list = append(list, 0, flags, byte(port>>8), byte(port))
	list = binary.BigEndian.AppendUint32(list, uint32(len(id)))
	list = append(list, id...)
	return send(t, n, fmt.Sprintf("5f 07 00 0000 %08x 00", len(list)), list)
}

func TestRegisterAndMove(t *testing.T) {
	begin := func(t *testing.T, kind ReservationType) (*LogicalUnit, []*Nexus) {
		lu := newUnit(t, Config{Reservations: &memoryStore{}})
		n := registered(t, lu, 3)
		if kind != 0 {
			reserveOutCommand(t, n[0], outReserve, kind, 1, 0).want(t, "good")
		}
		return lu, n
	}
	t.Run("to a stranger", func(t *testing.T) {
		lu, n := begin(t, ExclusiveAccess)
		moveCommand(t, n[0], 1, 9, 0x01, 1, initiatorPort(4)).want(t, "good")
		wantReservations(t, lu, 4, []uint64{1, 2, 3, 9}, ExclusiveAccess, 9)
		if !lu.Reservations().APTPL {
			t.Error("APTPL was asked for")
		}
		send(t, n[0], "28 00 00000000 00 0001 00").want(t, "conflict")
		send(t, attach(t, lu, 4), "28 00 00000000 00 0001 00").want(t, "good")
	})
	t.Run("to one that is registered, and away", func(t *testing.T) {
		lu, n := begin(t, ExclusiveAccess)
		moveCommand(t, n[0], 1, 9, 0x02, 1, initiatorPort(3)).want(t, "good")
		wantReservations(t, lu, 4, []uint64{2, 9}, ExclusiveAccess, 9)
	})
	t.Run("to another port", func(t *testing.T) {
		lu, n := begin(t, ExclusiveAccess)
		if err := lu.AddPort(Port{Target: "y", Name: "y,t,0x0001", ID: 5}); err != nil {
			t.Fatal(err)
		}
		moveCommand(t, n[0], 1, 9, 0, 5, initiatorPort(1)).want(t, "good")
		if holder := lu.Reservations().Holder; holder.Port != "y,t,0x0001" || holder.PortID != 5 || holder.Initiator != initiatorPort(1) {
			t.Errorf("holder %+v", holder)
		}
	})
	for name, tt := range map[string]struct {
		kind           ReservationType
		by             int
		key, actionKey uint64
		port           uint16
		initiator      string
		want, field    string
	}{
		"no reservation":          {0, 0, 1, 9, 1, initiatorPort(4), "conflict", ""},
		"all registrants":         {WriteExclusiveAllRegistrants, 0, 1, 9, 1, initiatorPort(4), "conflict", ""},
		"not the holder":          {ExclusiveAccess, 1, 2, 9, 1, initiatorPort(4), "conflict", ""},
		"the wrong key":           {ExclusiveAccess, 0, 2, 9, 1, initiatorPort(4), "conflict", ""},
		"key zero":                {ExclusiveAccess, 0, 1, 0, 1, initiatorPort(4), "5/26/00", "p8"},
		"an unknown port":         {ExclusiveAccess, 0, 1, 9, 2, initiatorPort(4), "5/26/00", "p18"},
		"to itself":               {ExclusiveAccess, 0, 1, 9, 1, initiatorPort(1), "5/26/00", "p24"},
		"to nobody in particular": {ExclusiveAccess, 0, 1, 9, 1, "iqn.1993-08.org.debian:01", "5/26/00", "p24"},
	} {
		t.Run(name, func(t *testing.T) {
			lu, n := begin(t, tt.kind)
			moveCommand(t, n[tt.by], tt.key, tt.actionKey, 0, tt.port, tt.initiator).want(t, tt.want).wantField(t, tt.field)
			if lu.Reservations().Generation != 3 {
				t.Error("something changed")
			}
		})
	}
	t.Run("lengths", func(t *testing.T) {
		_, n := begin(t, ExclusiveAccess)
		list := make([]byte, 48)
		list[7], list[15], list[19] = 1, 9, 1
		send(t, n[0], "5f 07 00 0000 00000030 00", list).want(t, "5/1a/00")
		list[23] = 24
		send(t, n[0], "5f 07 00 0000 00000030 00", list).want(t, "5/26/00").wantField(t, "p24")
	})
	t.Run("APTPL without a store", func(t *testing.T) {
		lu := newUnit(t, Config{})
		n := registered(t, lu, 1)
		reserveOutCommand(t, n[0], outReserve, WriteExclusive, 1, 0).want(t, "good")
		moveCommand(t, n[0], 1, 9, 0x01, 1, initiatorPort(4)).want(t, "5/26/00").wantField(t, "p17.0")
	})
}

// registerFor runs REGISTER with SPEC_I_PT.
func registerFor(t testing.TB, n *Nexus, key, actionKey uint64, flags byte, ids ...string) reply {
	t.Helper()
	var all []byte
	for _, id := range ids {
		all = appendTransportID(all, id)
	}
	list := binary.BigEndian.AppendUint64(nil, key)
	list = binary.BigEndian.AppendUint64(list, actionKey)
	list = append(list, 0, 0, 0, 0, 0x08|flags, 0, 0, 0)
	list = binary.BigEndian.AppendUint32(list, uint32(len(all)))
	list = append(list, all...)
	return send(t, n, fmt.Sprintf("5f 00 00 0000 %08x 00", len(list)), list)
}

func TestSpecifyInitiatorPorts(t *testing.T) {
	lu := newUnit(t, Config{})
	a, b := attach(t, lu, 1), attach(t, lu, 2)
	upper := strings.ToUpper(initiatorPort(7))
	registerFor(t, a, 0, 5, 0, initiatorPort(2), strings.Replace(upper, ",I,0X", ",i,0x", 1), initiatorPort(1)).want(t, "good")
	wantReservations(t, lu, 1, []uint64{5, 5, 5}, 0, 0)
	reserveOutCommand(t, b, outReserve, WriteExclusive, 5, 0).want(t, "good")
	registerFor(t, b, 5, 6, 0, initiatorPort(3)).want(t, "5/26/00").wantField(t, "p20.3") // registered already
	c := attach(t, lu, 3)
	registerFor(t, c, 0, 6, 0, "iqn.1993-08.org.debian:02").want(t, "good") // all of its ports
	if r := lu.Reservations(); r.keyOf(r.find(b.key)) != 6 || r.keyOf(r.find(c.key)) != 6 {
		t.Errorf("registrations %v", r.Registrations)
	}
	d := attach(t, lu, 4)
	registerFor(t, d, 0, 6, 0, "iqn.1993-08.org.debian:ff").want(t, "5/26/00").wantField(t, "p28") // has none
	reserveOutCommand(t, d, outRegisterIgnore, 0, 0, 6, 0x08).want(t, "5/26/00").wantField(t, "p20.3")
	reserveOutCommand(t, d, outRegister, 0, 0, 6, 0x08).want(t, "5/1a/00")

	list := make([]byte, 28+24)
	list[15], list[20], list[27] = 6, 0x08, 24
	send(t, d, "5f 00 00 0000 00000034 00", list).want(t, "5/26/00").wantField(t, "p28") // no TransportID
	list[27] = 23
	send(t, d, "5f 00 00 0000 00000034 00", list).want(t, "5/1a/00")
	if lu.Reservations().find(d.key) >= 0 {
		t.Error("registered by a list that was refused")
	}
}

func TestAllTargetPorts(t *testing.T) {
	lu := newUnit(t, Config{})
	a := attach(t, lu, 1)
	for _, p := range []Port{{testPort.Target, "second", 2}, {"another target", "third", 3}} {
		if err := lu.AddPort(p); err != nil {
			t.Fatal(err)
		}
	}
	reserveOutCommand(t, a, outRegister, 0, 0, 5, 0x04).want(t, "good")
	r := lu.Reservations()
	if len(r.Registrations) != 2 || r.Registrations[0].PortID != 1 || r.Registrations[1].PortID != 2 {
		t.Fatalf("registrations %v", r.Registrations)
	}
	reserveOutCommand(t, a, outReserve, WriteExclusive, 5, 0, 0x04).want(t, "good") // ignores it
	reserveOutCommand(t, a, outRegister, 0, 5, 0, 0x04).want(t, "good")
	wantReservations(t, lu, 2, nil, 0, 0)
}

func TestFullStatus(t *testing.T) {
	lu := newUnit(t, Config{})
	n := registered(t, lu, 2)
	const head1, head2 = "0000000000000001 00000000", "0000000000000002 00000000"
	id := func(n int) string { return "45 00 002c" + ascii(initiatorPort(n)) + "0000" }
	const ids = "00000000 0001 00000030"
	if len(initiatorPort(1)) != 42 {
		t.Fatalf("the name has %d letters", len(initiatorPort(1)))
	}
	send(t, n[0], "5e 03 0000000000 1000 00").wantData(t, "00000002 00000090"+head1+"00 00"+ids+id(1)+head2+"00 00"+ids+id(2))
	reserveOutCommand(t, n[1], outReserve, ExclusiveAccess, 2, 0).want(t, "good")
	send(t, n[0], "5e 03 0000000000 1000 00").wantData(t, "00000002 00000090"+head1+"00 00"+ids+id(1)+head2+"01 03"+ids+id(2))
	reserveOutCommand(t, n[1], outPreempt, ExclusiveAccessAllRegistrants, 2, 2).want(t, "good")
	n[0].pending.Store(0)
	send(t, n[0], "5e 03 0000000000 1000 00").wantData(t, "00000003 00000090"+head1+"01 08"+ids+id(1)+head2+"01 08"+ids+id(2))
}

func TestFence(t *testing.T) {
	aborted := 0
	lu := newUnit(t, Config{Reservations: &memoryStore{}})
	n := registered(t, lu, 2)
	n[0].cfg.Abort = func(context.Context) { aborted++ }
	reserveOutCommand(t, n[0], outReserve, WriteExclusiveRegistrantsOnly, 1, 0).want(t, "good")
	match := func(r Registration) bool { return r.Initiator == initiatorPort(1) }
	if err := lu.Fence(t.Context(), match); err != nil {
		t.Fatal(err)
	}
	wantReservations(t, lu, 3, []uint64{2}, 0, 0)
	send(t, n[0], "00").want(t, "6/2a/05")
	send(t, n[1], "00").want(t, "6/2a/04")
	if aborted != 1 {
		t.Errorf("aborted %d times", aborted)
	}
	if err := lu.Fence(t.Context(), match); err != nil || lu.Reservations().Generation != 3 {
		t.Error("fenced twice")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lu.Fence(ctx, func(Registration) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	wantReservations(t, lu, 3, []uint64{2}, 0, 0)
}

// of matches the registrations of nexuses.
func of(nexuses ...*Nexus) func(Registration) bool {
	return func(g Registration) bool {
		return slices.ContainsFunc(nexuses, func(n *Nexus) bool { return n.key == g.nexus() })
	}
}

func TestMoveRegistrations(t *testing.T) {
	lu := newUnit(t, Config{})
	n := registered(t, lu, 1)
	to, third := attach(t, lu, 2), attach(t, lu, 3)
	reserveOutCommand(t, n[0], outReserve, ExclusiveAccess, 1, 0).want(t, "good")
	if err := lu.MoveRegistrations(t.Context(), of(n[0]), to); err != nil {
		t.Fatal(err)
	}
	wantReservations(t, lu, 2, []uint64{1}, ExclusiveAccess, 1)
	send(t, n[0], "28 00 00000000 00 0001 00").want(t, "conflict")
	send(t, to, "28 00 00000000 00 0001 00").want(t, "good")
	reserveOutCommand(t, third, outRegister, 0, 0, 3).want(t, "good")
	if err := lu.MoveRegistrations(t.Context(), of(to), third); err != nil {
		t.Fatal(err)
	}
	wantReservations(t, lu, 4, []uint64{3}, ExclusiveAccess, 3) // keeps its own key
	if err := lu.MoveRegistrations(t.Context(), of(to), n[0]); err != nil || lu.Reservations().Generation != 4 {
		t.Error("something moved that was not there")
	}
}

// TestMoveManyRegistrations: the initiators of a machine with several paths, which are gone already.
func TestMoveManyRegistrations(t *testing.T) {
	lu := newUnit(t, Config{})
	n := registered(t, lu, 3)
	reserveOutCommand(t, n[2], outReserve, WriteExclusive, 3, 0).want(t, "good")
	to := []*Nexus{attach(t, lu, 4), attach(t, lu, 5)}
	for _, gone := range n {
		gone.Detach()
	}
	if err := lu.MoveRegistrations(t.Context(), of(n...), to...); err != nil {
		t.Fatal(err)
	}
	wantReservations(t, lu, 5, []uint64{2, 3, 1}, WriteExclusive, 3) // of the three, two had room, the holder first
	send(t, to[0], "2a 00 00000000 00 0000 00").want(t, "good")
	send(t, to[1], "2a 00 00000000 00 0000 00").want(t, "conflict")
	if err := lu.MoveRegistrations(t.Context(), of(n...)); err != nil || lu.Reservations().Generation != 5 {
		t.Errorf("moved to nobody: %v", err)
	}
}

// TestNexusesThatAbortEachOther: each waits for the other's tasks, among them the one that waits for its own.
func TestNexusesThatAbortEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lu := newUnit(t, Config{})
		first, cancelFirst := context.WithCancel(t.Context())
		second, cancelSecond := context.WithCancel(t.Context())
		n := registered(t, lu, 2)
		proceed := make(chan struct{})
		var ended [2]string
		preempt := func(ctx context.Context, i int) {
			list := make([]byte, 24)
			list[7], list[15] = byte(i+1), byte(2-i)
			c := &Command{CDB: parseCDB(t, "5f 05 01 0000 00000018 00"), Expected: 24, Out: [][]byte{list}}
			lu.Execute(ctx, n[i], c)
			ended[i] = ending(c)
		}
		n[1].cfg.Abort = func(ctx context.Context) { // the first one's, which is stopped in its middle
			<-proceed
			cancelSecond()
			<-ctx.Done()
		}
		n[0].cfg.Abort = func(ctx context.Context) {
			cancelFirst()
			<-ctx.Done()
		}
		var tasks sync.WaitGroup
		tasks.Go(func() { preempt(first, 0) })
		synctest.Wait()
		reserveOutCommand(t, n[1], outRegisterIgnore, 0, 0, 2).want(t, "6/2a/05")
		reserveOutCommand(t, n[1], outRegisterIgnore, 0, 0, 2).want(t, "good")
		tasks.Go(func() { preempt(second, 1) })
		synctest.Wait()
		close(proceed)
		tasks.Wait()
		if ended != [2]string{"aborted", "aborted"} {
			t.Errorf("ended with %v", ended)
		}
	})
}
