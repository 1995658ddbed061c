package scsi

import (
	"strings"
	"testing"
)

func TestAttach(t *testing.T) {
	lu := newUnit(t, Config{})
	cfg := NexusConfig{Initiator: initiatorPort(1), Port: testPort}
	n, err := lu.Attach(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if n.Unit() != lu || n.Initiator() != cfg.Initiator || n.Port() != testPort {
		t.Error("the nexus is another one")
	}
	for name, bad := range map[string]NexusConfig{
		"attached already":  cfg,
		"no initiator":      {Port: testPort},
		"no port":           {Initiator: initiatorPort(2), Port: Port{ID: 1}},
		"no identifier":     {Initiator: initiatorPort(2), Port: Port{Name: "x"}},
		"identifier in use": {Initiator: initiatorPort(2), Port: Port{Name: "x", ID: 1}},
		"another target":    {Initiator: initiatorPort(2), Port: Port{Name: testPort.Name, ID: 1, Target: "y"}},
	} {
		if _, err := lu.Attach(bad); err == nil {
			t.Errorf("%s: attached", name)
		}
	}
	n.Detach()
	n.Detach() // again
	again, err := lu.Attach(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Detach() // the old one is not the new one
	if _, err := lu.Attach(cfg); err == nil {
		t.Error("the new nexus is gone")
	}
	again.Detach()
}

func TestUnitAttentions(t *testing.T) {
	lu := newUnit(t, Config{})
	cfg := NexusConfig{Initiator: initiatorPort(1), Port: testPort}
	n, err := lu.Attach(cfg)
	if err != nil {
		t.Fatal(err)
	}
	send(t, n, "12 00 00 0060 00").want(t, "good")
	send(t, n, "a000 00 000000 00000010 0000").want(t, "good")
	send(t, n, "2a 00 00000000 00 0001 00", pattern(1, 1)).want(t, "6/29/00")
	send(t, n, "00").want(t, "good")

	other := attach(t, lu, 2)
	lu.Reset(other)
	send(t, n, "c0").want(t, "6/29/03") // before the operation code is looked at
	send(t, n, "c0").want(t, "5/20/00")
	send(t, other, "00").want(t, "good")
	lu.Reset(nil)
	send(t, other, "00").want(t, "6/29/03")
	n.pending.Store(0)

	n.Detach()
	if n, err = lu.Attach(cfg); err != nil {
		t.Fatal(err)
	}
	send(t, n, "00").want(t, "6/29/07")

	// The most important one first, each once, and REQUEST SENSE takes them too.
	n.raise(attentionMode | attentionCapacity)
	n.raise(attentionReset | attentionMode)
	send(t, n, "00").want(t, "6/29/03")
	if sense := send(t, n, "03 00 00 00 ff 00").want(t, "good").data; sense[2] != 6 || sense[12] != 0x2a || sense[13] != 1 {
		t.Errorf("REQUEST SENSE says %x", sense)
	}
	send(t, n, "00").want(t, "6/2a/09")
	send(t, n, "00").want(t, "good")
	send(t, n, "03 00 00 00 ff 00").wantData(t, "70 00 00 00000000 0a 00000000 0000 00 000000")
}

func TestResized(t *testing.T) {
	disk := newRAM(1 << 20)
	lu := newUnit(t, Config{Device: disk})
	a, b := attach(t, lu, 1), attach(t, lu, 2)
	send(t, a, "28 00 00000800 00 0001 00").want(t, "5/21/00")
	disk.grow(2 << 20)
	lu.Resized(2 << 20)
	send(t, a, "28 00 00000800 00 0001 00").want(t, "6/2a/09")
	send(t, b, "25").want(t, "6/2a/09")
	send(t, a, "28 00 00000800 00 0001 00").want(t, "good")
	send(t, b, "25").wantData(t, "00000fff 00000200")
	lu.Resized(2<<20 + 511) // no other number of blocks
	send(t, a, "00").want(t, "good")
}

func TestSeenIsBounded(t *testing.T) {
	lu := newUnit(t, Config{})
	for i := range maximumSeen + 10 {
		attach(t, lu, i).Detach()
	}
	if len(lu.seen) != maximumSeen {
		t.Errorf("%d nexuses are remembered", len(lu.seen))
	}
}

func TestReserve(t *testing.T) {
	for name, op := range map[string][2]string{"(6)": {"16", "17"}, "(10)": {"56", "57"}} {
		t.Run(name, func(t *testing.T) {
			lu := newUnit(t, Config{Removable: true})
			a, b := attach(t, lu, 1), attach(t, lu, 2)
			send(t, a, op[0]).want(t, "good")
			send(t, a, op[0]).want(t, "good")
			send(t, a, "28 00 00000000 00 0001 00").want(t, "good")
			for name, cdb := range map[string]string{
				"RESERVE": op[0], "TEST UNIT READY": "00", "READ": "28 00 00000000 00 0001 00", "WRITE": "2a 00 00000000 00 0001 00",
				"MODE SENSE": "1a 08 08 00 ff 00", "READ CAPACITY": "25", "PERSISTENT RESERVE IN": "5e 00 0000000000 0100 00",
				"PREVENT": "1e 00 0000 01 00",
			} {
				t.Run(name, func(t *testing.T) { send(t, b, cdb).want(t, "conflict") })
			}
			for name, cdb := range map[string]string{
				"INQUIRY": "12 00 00 0060 00", "REPORT LUNS": "a000 00 000000 00000010 0000", "REQUEST SENSE": "03 00 00 00 12 00",
				"RELEASE": op[1], "ALLOW": "1e 00 0000 00 00",
			} {
				t.Run(name, func(t *testing.T) { send(t, b, cdb).want(t, "good") })
			}
			send(t, b, "00").want(t, "conflict") // RELEASE from another did nothing
			// PERSISTENT RESERVE conflicts for the holder too.
			send(t, a, "5e 00 0000000000 0100 00").want(t, "conflict")
			send(t, a, "5f 06 00 0000 00000018 00", make([]byte, 24)).want(t, "conflict")
			send(t, a, op[1]).want(t, "good")
			send(t, b, op[0]).want(t, "good")
			send(t, a, "00").want(t, "conflict")
			b.Detach()
			send(t, a, "00").want(t, "good")
			send(t, a, op[0]).want(t, "good")
			c := attach(t, lu, 3)
			send(t, c, "00").want(t, "conflict")
			lu.Reset(nil)
			c.pending.Store(0)
			send(t, c, "00").want(t, "good")
			for _, bits := range []string{"10", "01"} {
				send(t, c, op[0]+bits).want(t, "5/24/00")
				send(t, c, op[1]+bits).want(t, "5/24/00")
			}
		})
	}
}

func TestMediumRemoval(t *testing.T) {
	begin := func(t *testing.T) (a, b *Nexus) {
		lu := newUnit(t, Config{Removable: true, Thin: true})
		return attach(t, lu, 1), attach(t, lu, 2)
	}
	const eject, load, prevent, allow = "1b 00 00 00 02 00", "1b 00 00 00 03 00", "1e 00 0000 01 00", "1e 00 0000 00 00"
	t.Run("eject and load", func(t *testing.T) {
		a, b := begin(t)
		send(t, a, eject).want(t, "good")
		send(t, a, eject).want(t, "good")
		if !a.unit.Ejected() {
			t.Error("the unit doesn't say so")
		}
		for code, operations := range index {
			for _, op := range operations {
				if op.is(needMedium) && op.needs&^a.unit.features == 0 {
					cdb := [16]byte{byte(code), op.action}
					c := &Command{CDB: cdb}
					a.unit.Execute(t.Context(), a, c)
					if got := ending(c); got != "2/3a/00" {
						t.Errorf("%s ended with %s", op.name, got)
					}
				}
			}
		}
		send(t, a, "12 00 00 0060 00").want(t, "good")
		send(t, a, "1a 00 08 00 0c 00").wantData(t, "1f 00 10 08 00000000 00000200")
		send(t, a, load).want(t, "good")
		send(t, a, load).want(t, "good")
		send(t, a, "00").want(t, "good")
		send(t, b, "00").want(t, "6/28/00")
	})
	t.Run("prevented", func(t *testing.T) {
		a, b := begin(t)
		send(t, a, prevent).want(t, "good")
		for _, n := range []*Nexus{a, b} {
			send(t, n, eject).want(t, "5/53/02")
			send(t, n, load).want(t, "5/53/02")
		}
		send(t, b, allow).want(t, "good") // is b's own, and a's stays
		send(t, b, eject).want(t, "5/53/02")
		send(t, a, allow).want(t, "good")
		send(t, b, eject).want(t, "good")
	})
	t.Run("prevented until the nexus is lost", func(t *testing.T) {
		a, b := begin(t)
		send(t, a, prevent).want(t, "good")
		a.Detach()
		send(t, b, eject).want(t, "good")
	})
	t.Run("prevented until a reset", func(t *testing.T) {
		a, b := begin(t)
		send(t, a, prevent).want(t, "good")
		a.unit.Reset(b)
		send(t, b, eject).want(t, "good")
	})
	t.Run("power conditions move no tray", func(t *testing.T) {
		a, _ := begin(t)
		for condition := 1; condition < 16; condition++ {
			send(t, a, strings.Replace(eject, "02", string("0123456789abcdef"[condition])+"2", 1)).want(t, "good")
			send(t, a, "00").want(t, "good")
		}
	})
	t.Run("stopping writes out the cache", func(t *testing.T) {
		disk := newRAM(1 << 20)
		n := attach(t, newUnit(t, Config{Device: disk}), 1)
		send(t, n, "1b 00 00 00 00 00").want(t, "good")
		send(t, n, "1b 00 00 00 04 00").want(t, "good") // NO_FLUSH
		send(t, n, "1b 00 00 00 01 00").want(t, "good")
		if calls := disk.called(); calls != "flush" {
			t.Errorf("calls %q", calls)
		}
	})
	t.Run("a fixed disk", func(t *testing.T) {
		n := attach(t, newUnit(t, Config{}), 1)
		send(t, n, eject).want(t, "5/24/00").wantField(t, "c4.1")
		send(t, n, prevent).want(t, "5/20/00")
	})
	t.Run("obsolete ways to prevent", func(t *testing.T) {
		a, _ := begin(t)
		send(t, a, "1e 00 0000 02 00").want(t, "5/24/00").wantField(t, "c4.1")
	})
}
