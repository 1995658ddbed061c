package scsi

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// FuzzCDB runs any CDB with any data on every kind of unit. Nothing panics, the RAM disk sees no access outside
// of it (it would panic), nothing is written where that is not allowed, and what comes back is well-formed.
func FuzzCDB(f *testing.F) {
	for code := range index {
		for _, op := range index[code] {
			f.Add([]byte(op.usage), make([]byte, 512), byte(0), uint16(512))
			cdb := make([]byte, len(op.usage))
			cdb[0], cdb[1] = op.code, op.action
			f.Add(cdb, []byte{0, 22, 0, 16}, byte(3), uint16(36))
		}
	}
	list := make([]byte, 24)
	list[15] = 1
	f.Add([]byte{0x5f, outRegister, 0, 0, 0, 0, 0, 0, 24, 0}, list, byte(0), uint16(24))
	f.Fuzz(func(t *testing.T, cdb, data []byte, kind byte, expected uint16) {
		disk := newRAM(64 << 10)
		cfg := Config{Device: disk, Reservations: &memoryStore{}, Limits: Limits{TransferLength: 64}}
		switch kind & 7 {
		case 1:
			cfg.Thin = true
		case 2:
			cfg.ReadOnly = true
		case 3:
			cfg.CDROM = true
		case 4:
			cfg.Device, cfg.Removable = eraserRAM{disk}, true
		case 5:
			cfg.BlockSize, cfg.Thin, cfg.Removable = 4096, true, true
		case 6:
			cfg.Device = plain{disk}
		case 7:
			disk.fail = func(string, int64, int64) error { return errTest }
		}
		lu := newUnit(t, cfg)
		n, other := attach(t, lu, 1), attach(t, lu, 2)
		if kind&8 != 0 {
			reserveOutCommand(t, other, outRegister, 0, 0, 1).want(t, "good")
			reserveOutCommand(t, other, outReserve, ReservationType(1+2*(kind>>4&1)), 1, 0).want(t, "good")
		}
		if kind&32 != 0 {
			lu.set(stateDescriptorSense, true)
		}
		c := &Command{Expected: int64(expected), Out: [][]byte{data[:len(data)/2], data[len(data)/2:]}}
		copy(c.CDB[:], cdb)
		plan := lu.Plan(&c.CDB)
		if plan.In < 0 || plan.Out < 0 || plan.Length < 0 || plan.In > 64*4096 && plan.In > maximumParameterIn {
			t.Fatalf("plan %+v", plan)
		}
		if plan.Direct && (plan.Offset < 0 || plan.Offset+plan.Length > disk.Size()) {
			t.Fatalf("plan %+v", plan)
		}
		c.In = make([]byte, min(plan.In, c.Expected))
		lu.Execute(t.Context(), n, c)
		checkAnswer(t, c, plan)
		if mayWrite := !cfg.ReadOnly && !cfg.CDROM && kind&8 == 0; !mayWrite {
			for _, call := range disk.calls {
				if call == "write" || call == "zero" || call == "unmap" || call == "erase" {
					t.Fatalf("%x: %s", c.CDB, call)
				}
			}
		}
	})
}

// checkAnswer checks what must be true of every answer.
func checkAnswer(t *testing.T, c *Command, plan Plan) {
	t.Helper()
	if c.Received < 0 || c.Received > len(c.In) {
		t.Fatalf("%x: %d bytes received into %d", c.CDB, c.Received, len(c.In))
	}
	if count, _ := c.Residual(); count < 0 || c.Transfer < 0 {
		t.Fatalf("%x: residual %d of %d", c.CDB, count, c.Transfer)
	}
	sense := c.Sense()
	if (c.Status == StatusCheckCondition) != (len(sense) > 0) {
		t.Fatalf("%x: status %02x with sense data %x", c.CDB, uint8(c.Status), sense)
	}
	switch c.Status {
	case StatusGood:
		if c.Transfer > max(plan.In, plan.Out) {
			t.Fatalf("%x: moved %d bytes, and planned %d and %d", c.CDB, c.Transfer, plan.In, plan.Out)
		}
		return
	case StatusReservationConflict, StatusTaskAborted:
	case StatusCheckCondition:
		if err := checkSense(sense); err != nil {
			t.Fatalf("%x: %s: %x", c.CDB, err, sense)
		}
	default:
		t.Fatalf("%x: status %02x", c.CDB, uint8(c.Status))
	}
	if c.Received != 0 {
		t.Fatalf("%x: status %02x with %d bytes of data", c.CDB, uint8(c.Status), c.Received)
	}
}

// checkSense reads sense data as an initiator does.
func checkSense(s []byte) error {
	var key byte
	switch s[0] & 0x7f {
	case 0x70:
		if len(s) != 18 || s[7] != 10 {
			return fmt.Errorf("additional length %d", s[7])
		}
		key = s[2]
	case 0x72:
		if len(s) < 8 || int(s[7]) != len(s)-8 {
			return fmt.Errorf("additional length %d", s[7])
		}
		for at := 8; at < len(s); at += int(s[at+1]) + 2 {
			if at+2 > len(s) || at+int(s[at+1])+2 > len(s) {
				return fmt.Errorf("descriptor at %d", at)
			}
		}
		key = s[1]
	default:
		return fmt.Errorf("response code %02x", s[0])
	}
	if key == 0 || key > 0x0e {
		return fmt.Errorf("sense key %x", key)
	}
	return nil
}

func FuzzCopyList(f *testing.F) {
	lu := newUnit(f, Config{})
	f.Add(copyListOf(1, [][]byte{copyTargetOf(lu)}, [][]byte{copySegmentOf(0, 0, 1, 0, 8)}))
	f.Add(make([]byte, 16))
	f.Fuzz(func(t *testing.T, p []byte) {
		list, a := parseCopyList(p)
		if a.status != StatusGood {
			if a.key != IllegalRequest {
				t.Fatalf("%+v", a)
			}
			return
		}
		targets, segments := int(binary.BigEndian.Uint16(p[2:])), int(binary.BigEndian.Uint32(p[8:]))
		if len(list.targets) != targets/copyTargetLength || len(list.segments) != segments/copySegmentLength {
			t.Fatalf("%d targets, %d segments of %d and %d bytes", len(list.targets), len(list.segments), targets, segments)
		}
		for _, d := range list.targets {
			if len(d.designator.ID) > 20 {
				t.Fatalf("%+v", d)
			}
		}
	})
}

// FuzzModeSelect: what MODE SENSE gives can be given back, and nothing else than the switches ever changes.
func FuzzModeSelect(f *testing.F) {
	for _, page := range []string{pageRecovery, pageCaching, pageControl, pageExtension, pageExceptions} {
		f.Add(unhex(f, "00000000"+page), false)
		f.Add(unhex(f, "0000000000000000"+page), true)
		f.Add(unhex(f, "00000008 00000800 00000200"+page), false)
	}
	f.Fuzz(func(t *testing.T, list []byte, long bool) {
		n := attach(t, newUnit(t, Config{}), 1)
		cdb := fmt.Sprintf("15 10 0000 %02x 00", min(len(list), 255))
		if long {
			cdb = fmt.Sprintf("55 10 0000000000 %04x 00", min(len(list), 65535))
		}
		switch got := send(t, n, cdb, list).String(); got {
		case "good", "5/1a/00", "5/26/00":
		default:
			t.Fatalf("ended with %s", got)
		}
		if state := unitState(n.unit.state.Load()); state&^modeStates != 0 {
			t.Fatalf("state %b", state)
		}
		before := n.unit.state.Load()
		pages := send(t, n, "5a 08 3f ff 000000 ffff 00").want(t, "good").data
		clear(pages[:8])
		send(t, n, fmt.Sprintf("55 10 0000000000 %04x 00", len(pages)), pages).want(t, "good")
		if n.unit.state.Load() != before {
			t.Fatal("giving back what there is changes something")
		}
	})
}
