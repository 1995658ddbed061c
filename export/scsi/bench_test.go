package scsi

import (
	"encoding/binary"
	"testing"
)

// nothing is a Device that does nothing, so that what is measured is this package.
type nothing struct{ sized }

func benchUnit(b testing.TB, counters Counters) (*LogicalUnit, *Nexus) {
	lu := newUnit(b, Config{Device: nothing{1 << 30}, Counters: counters})
	n := attach(b, lu, 1)
	// A reservation costs nothing per command.
	reserveOutCommand(b, n, outRegister, 0, 0, 1).want(b, "good")
	reserveOutCommand(b, n, outReserve, WriteExclusive, 1, 0).want(b, "good")
	return lu, n
}

// blockCommand is a READ(10) or WRITE(10) of 4 KiB.
func blockCommand(code byte) *Command {
	c := &Command{Expected: 4096}
	c.CDB[0] = code
	binary.BigEndian.PutUint16(c.CDB[7:], 8)
	if code == 0x28 {
		c.In = make([]byte, 4096)
	} else {
		c.Out = [][]byte{make([]byte, 4096)}
	}
	return c
}

// TestNothingIsAllocated: READ and WRITE, and their refusals, allocate nothing.
func TestNothingIsAllocated(t *testing.T) {
	lu, n := benchUnit(t, new(Stats))
	for name, c := range map[string]*Command{"READ": blockCommand(0x28), "WRITE": blockCommand(0x2a), "TEST UNIT READY": {}} {
		if allocations := testing.AllocsPerRun(200, func() {
			_ = lu.Plan(&c.CDB)
			if lu.Admit(n, c) {
				lu.Execute(t.Context(), n, c)
			}
		}); allocations != 0 || c.Status != StatusGood {
			t.Errorf("%s: %v allocations, status %02x", name, allocations, uint8(c.Status))
		}
	}
	direct := blockCommand(0x28)
	if allocations := testing.AllocsPerRun(200, func() {
		if plan := lu.Plan(&direct.CDB); plan.Direct && lu.Admit(n, direct) {
			lu.Finish(n, direct, plan.Length, nil)
		}
	}); allocations != 0 || direct.Status != StatusGood {
		t.Errorf("a READ by the transport: %v allocations", allocations)
	}
	beyond := blockCommand(0x28)
	binary.BigEndian.PutUint32(beyond.CDB[2:], 1<<31)
	if allocations := testing.AllocsPerRun(200, func() { lu.Execute(t.Context(), n, beyond) }); allocations != 0 || beyond.Status != StatusCheckCondition {
		t.Errorf("a refusal: %v allocations", allocations)
	}
}

func BenchmarkRead(b *testing.B) {
	for name, counters := range map[string]Counters{"plain": nil, "counted": new(Stats)} {
		b.Run(name, func(b *testing.B) {
			lu, n := benchUnit(b, counters)
			c := blockCommand(0x28)
			b.ReportAllocs()
			for b.Loop() {
				_ = lu.Plan(&c.CDB)
				lu.Execute(b.Context(), n, c)
			}
		})
	}
}

func BenchmarkDirectRead(b *testing.B) {
	lu, n := benchUnit(b, nil)
	c := blockCommand(0x28)
	b.ReportAllocs()
	for b.Loop() {
		if plan := lu.Plan(&c.CDB); plan.Direct && lu.Admit(n, c) {
			lu.Finish(n, c, plan.Length, nil)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	lu, n := benchUnit(b, nil)
	c := blockCommand(0x2a)
	b.ReportAllocs()
	for b.Loop() {
		_ = lu.Plan(&c.CDB)
		lu.Execute(b.Context(), n, c)
	}
}

func BenchmarkWriteParallel(b *testing.B) {
	lu, n := benchUnit(b, nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c := blockCommand(0x2a)
		for pb.Next() {
			lu.Execute(b.Context(), n, c)
		}
	})
}
