package scsi

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// These tests go through the whole table, so that an operation that is added later is in them.

// everyOperation runs f for each operation of a unit with everything, and of a CD-ROM.
func everyOperation(t *testing.T, f func(t *testing.T, op *operation, n *Nexus)) {
	t.Helper()
	for name, cfg := range map[string]Config{
		"disk": {Device: eraserRAM{newRAM(1 << 20)}, Thin: true, Removable: true}, "CD-ROM": {Device: newRAM(1 << 20), CDROM: true},
	} {
		for _, operations := range index {
			for _, op := range operations {
				t.Run(name+"/"+op.name, func(t *testing.T) {
					n := attach(t, newUnit(t, cfg), 1)
					if op.needs&^n.unit.features == 0 {
						f(t, op, n)
					}
				})
			}
		}
	}
}

// commandOf returns a command of an operation that moves one block, or an answer of any length.
func commandOf(op *operation) *Command {
	c := &Command{Expected: 4096, In: make([]byte, 4096), Out: [][]byte{make([]byte, 4096)}}
	c.CDB[0], c.CDB[1] = op.code, op.action
	if at := op.form.lengthField(); at > 0 {
		width := map[form]int{blocks6: 1, blocks10: 2, blocks12: 4, blocks16: 4, blocksCompare: 1}[op.form]
		c.CDB[at+width-1] = 1
	}
	if op.data == toInitiator && op.width > 0 {
		c.CDB[op.at+op.width-1] = 0xff
		if op.width > 1 {
			c.CDB[op.at+op.width-2] = 0x0f
		}
	}
	if op.data == oneBlock || op.data == blocksTwice {
		c.Expected = map[payload]int64{oneBlock: 512, blocksTwice: 1024}[op.data]
	}
	switch op.name { // fields that may not be zero
	case "GET EVENT STATUS NOTIFICATION":
		c.CDB[1] = 1
	case "MODE SENSE(6)", "MODE SENSE(10)":
		c.CDB[2] = allPages
	case "MODE SELECT(6)", "MODE SELECT(10)":
		c.CDB[1] = 0x10
	}
	return c
}

func TestUnitAttentionSweep(t *testing.T) {
	everyOperation(t, func(t *testing.T, op *operation, n *Nexus) {
		n.raise(attentionMode)
		c := commandOf(op)
		n.unit.Execute(t.Context(), n, c)
		told := ending(c) == "6/2a/01"
		switch op.name {
		case "INQUIRY", "REPORT LUNS", "GET CONFIGURATION", "GET EVENT STATUS NOTIFICATION":
			if told || n.pending.Load() == 0 {
				t.Errorf("ended with %s, pending %b", ending(c), n.pending.Load())
			}
		case "REQUEST SENSE":
			if ending(c) != "good" || c.In[2] != byte(UnitAttention) || n.pending.Load() != 0 {
				t.Errorf("ended with %s and %x", ending(c), c.In[:c.Received])
			}
		default:
			if !told || n.pending.Load() != 0 {
				t.Errorf("ended with %s, pending %b", ending(c), n.pending.Load())
			}
			n.unit.Execute(t.Context(), n, c)
			if ending(c) == "6/2a/01" {
				t.Error("told twice")
			}
		}
	})
}

func TestWriteProtectSweep(t *testing.T) {
	everyOperation(t, func(t *testing.T, op *operation, n *Nexus) {
		for name, protect := range map[string]func(){
			"7/27/02": func() { n.unit.set(stateWriteProtect, true) },
			"7/27/00": func() { n.cfg.ReadOnly = true },
		} {
			if n.unit.cfg.CDROM { // which is read-only anyway
				name = "7/27/00"
			}
			n.cfg.ReadOnly = false
			protect()
			c := commandOf(op)
			n.unit.Execute(t.Context(), n, c)
			if got := ending(c) == name; got != op.is(changes) {
				t.Errorf("ended with %s", ending(c))
			}
		}
		for call := range strings.FieldsSeq(n.unit.ramOf().called()) {
			if call == "write" || call == "zero" || call == "unmap" || call == "erase" {
				t.Errorf("%s of a protected medium", call)
			}
		}
	})
}

// ramOf returns the RAM disk of a unit.
func (lu *LogicalUnit) ramOf() *ram {
	switch d := lu.device.(type) {
	case *ram:
		return d
	case eraserRAM:
		return d.ram
	}
	return nil
}

// TestNACASweep: ACA is refused by every command, with the right field pointer, and nothing is done.
func TestNACASweep(t *testing.T) {
	everyOperation(t, func(t *testing.T, op *operation, n *Nexus) {
		c := commandOf(op)
		last := len(op.usage) - 1
		c.CDB[last] |= 0x04
		n.unit.Execute(t.Context(), n, c)
		reply{c, nil}.want(t, "5/24/00").wantField(t, fmt.Sprintf("c%d.2", last))
		if calls := n.unit.ramOf().called(); calls != "" {
			t.Errorf("calls %q", calls)
		}
	})
}

// TestAllocationLengthSweep: whatever the allocation length, the answer is the beginning of the whole one.
func TestAllocationLengthSweep(t *testing.T) {
	everyOperation(t, func(t *testing.T, op *operation, n *Nexus) {
		if op.data != toInitiator || op.width == 0 {
			return
		}
		whole := commandOf(op)
		n.unit.Execute(t.Context(), n, whole)
		if whole.Status != StatusGood {
			if op.name == "RECEIVE COPY STATUS(LID1)" { // there is no such copy
				return
			}
			t.Fatalf("ended with %s", ending(whole))
		}
		for allocation := range min(whole.Received+3, 256) {
			c := commandOf(op)
			for i := range op.width {
				c.CDB[op.at+i] = 0
			}
			c.CDB[op.at+op.width-1] = byte(allocation)
			n.unit.Execute(t.Context(), n, c)
			if ending(c) == "5/24/00" && (op.code == opReportLuns && allocation < 16 || op.name == "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS" && allocation < 4) {
				continue
			}
			if op.name == "GET LBA STATUS" && allocation < whole.Received { // fewer descriptors, and a header that says so
				if c.Received != allocation {
					t.Fatalf("%d bytes of %d", c.Received, allocation)
				}
				continue
			}
			if want := whole.In[:min(allocation, whole.Received)]; ending(c) != "good" || !bytes.Equal(c.In[:c.Received], want) {
				t.Fatalf("allocation length %d gives\n%x, want\n%x", allocation, c.In[:c.Received], want)
			}
			if count, over := c.Residual(); over || count != c.Expected-int64(c.Received) {
				t.Fatalf("allocation length %d: residual %d, over %t", allocation, count, over)
			}
		}
	})
}

// TestRoomSweep: an initiator that has less room than it allocated gets the beginning, and the right residual.
func TestRoomSweep(t *testing.T) {
	everyOperation(t, func(t *testing.T, op *operation, n *Nexus) {
		if op.data != toInitiator && op.data != blocksIn {
			return
		}
		whole := commandOf(op)
		n.unit.Execute(t.Context(), n, whole)
		for _, room := range []int{0, 1, 3, 7, 8, 100, 511} {
			c := commandOf(op)
			c.In, c.Expected = c.In[:room], int64(room)
			n.unit.Execute(t.Context(), n, c)
			if ending(c) != ending(whole) || !bytes.Equal(c.In[:c.Received], whole.In[:min(room, whole.Received)]) {
				t.Fatalf("room for %d: ended with %s and %x", room, ending(c), c.In[:c.Received])
			}
			if count, over := c.Residual(); whole.Status == StatusGood && (over != (whole.Received > room) || count != max(int64(whole.Received-room), int64(room-whole.Received))) {
				t.Fatalf("room for %d of %d: residual %d, over %t", room, whole.Received, count, over)
			}
		}
	})
}

// TestPlanSweep: what Plan says is what Execute moves.
func TestPlanSweep(t *testing.T) {
	everyOperation(t, func(t *testing.T, op *operation, n *Nexus) {
		c := commandOf(op)
		plan := n.unit.Plan(&c.CDB)
		n.unit.Execute(t.Context(), n, c)
		if plan.In > 0 && plan.Out > 0 {
			t.Errorf("plan %+v", plan)
		}
		if int64(c.Received) > plan.In || c.Transfer > max(plan.In, plan.Out) {
			t.Errorf("received %d, moved %d of the plan %+v", c.Received, c.Transfer, plan)
		}
		if plan.Changes != op.is(changes|ordains) || plan.Kind != op.kind {
			t.Errorf("plan %+v", plan)
		}
		if plan.Kind == KindRead != (op.data == blocksIn) || plan.Direct != (plan.Kind == KindRead) {
			t.Errorf("plan %+v", plan)
		}
	})
}

// TestShortDataSweep: a parameter list that is cut off anywhere is refused, and nothing changes.
func TestShortDataSweep(t *testing.T) {
	lists := map[string]func(n *Nexus) (cdb string, list []byte){
		"MODE SELECT(6)": func(*Nexus) (string, []byte) {
			return "15 10 0000 18 00", unhex(t, "00000000 0812 00"+strings.Repeat("00", 17))
		},
		"MODE SELECT(10)": func(*Nexus) (string, []byte) {
			return "55 10 0000000000 001c 00", unhex(t, "0000000000000000 0812 00"+strings.Repeat("00", 17))
		},
		"UNMAP": func(*Nexus) (string, []byte) {
			return "42 00 0000 0000 00 0018 00", unhex(t, "0016 0010 00000000 0000000000000000 00000001 00000000")
		},
		"PERSISTENT RESERVE OUT": func(*Nexus) (string, []byte) {
			return "5f 00 00 0000 00000018 00", unhex(t, "0000000000000000 0000000000000001 00000000 00000000")
		},
		"EXTENDED COPY": func(n *Nexus) (string, []byte) {
			return "83 00 0000000000000000 0000004c 00 00", copyListOf(1, [][]byte{copyTargetOf(n.unit)}, [][]byte{copySegmentOf(0, 0, 1, 0, 8)})
		},
	}
	for name, list := range lists {
		t.Run(name, func(t *testing.T) {
			_, whole := list(attach(t, newUnit(t, Config{}), 1))
			for size := range whole {
				disk := newRAM(1 << 20)
				lu := newUnit(t, Config{Device: disk, Thin: true})
				n := attach(t, lu, 1)
				cdb, whole := list(n)
				send(t, n, cdb, whole[:size]).want(t, "5/1a/00")
				if lu.state.Load() != 0 || lu.Reservations().Generation != 0 || disk.called() != "" {
					t.Fatalf("%d bytes of %d changed something", size, len(whole))
				}
			}
			lu := newUnit(t, Config{Thin: true})
			n := attach(t, lu, 1)
			cdb, whole := list(n)
			send(t, n, cdb, whole[:1], whole[1:]).want(t, "good") // in pieces
		})
	}
}

// TestNthCallFails fails the first, the second and every later call of the Device in turn, until the command
// passes: it never says GOOD to what was not done, and the unit works afterwards.
func TestNthCallFails(t *testing.T) {
	data := pattern(5, 1200)
	commands := map[string]struct {
		cdb  string
		out  []byte
		done func(disk []byte) bool
	}{
		"WRITE, FUA":       {"2a 08 00000000 00 0004 00", data[:2048], func(d []byte) bool { return bytes.Equal(d[:2048], data[:2048]) }},
		"WRITE AND VERIFY": {"2e 02 00000000 00 04b0 00", data, func(d []byte) bool { return bytes.Equal(d[:len(data)], data) }},
		"ORWRITE":          {"8b 08 0000000000000000 000004b0 00 00", data, func(d []byte) bool { return bytes.Equal(d[:len(data)], data) }},
		"COMPARE AND WRITE": {"89 08 0000000000000000 000000 02 00 00", append(make([]byte, 1024), data[:1024]...), func(d []byte) bool {
			return bytes.Equal(d[:1024], data[:1024])
		}},
		"WRITE SAME": {"41 00 00000000 00 04b0 00", data[:512], func(d []byte) bool { return bytes.Equal(d[:1200*512], bytes.Repeat(data[:512], 1200)) }},
	}
	for name, tt := range commands {
		t.Run(name, func(t *testing.T) {
			for failing := 0; ; failing++ {
				disk := newRAM(1 << 20)
				n := attach(t, newUnit(t, Config{Device: disk}), 1)
				calls := 0
				disk.fail = func(string, int64, int64) error {
					calls++
					if calls-1 == failing {
						return errTest
					}
					return nil
				}
				got := send(t, n, tt.cdb, tt.out[:300], tt.out[300:]).String()
				if failing >= calls {
					if got != "good" || !tt.done(disk.data) {
						t.Fatalf("ended with %s after %d calls", got, calls)
					}
					if failing < 2 {
						t.Fatalf("only %d calls", failing)
					}
					return
				}
				if got[:2] != "3/" {
					t.Fatalf("call %d failed, and the command ended with %s", failing, got)
				}
				disk.fail = nil
				if tt.cdb[:2] == "89" { // the blocks may have been written, and then don't compare
					clear(disk.data)
				}
				send(t, n, tt.cdb, tt.out).want(t, "good")
				if !tt.done(disk.data) {
					t.Fatalf("not done after call %d had failed", failing)
				}
			}
		})
	}
}
