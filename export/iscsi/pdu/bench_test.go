package pdu

import (
	"io"
	"testing"
)

// endless is a stream that has its bytes again and again.
type endless struct {
	wire []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(p[n:], e.wire[e.at:])
		n += k
		e.at = (e.at + k) % len(e.wire)
	}
	return n, nil
}

// endlessLazy is an endless that is read lazily.
type endlessLazy struct{ endless }

func (e *endlessLazy) ReadLazy(room Room) (int, error) { return e.Read(room.Take()) }

type benchmark struct {
	name string
	data int
	Limits
	retain bool
}

var benchmarks = []benchmark{
	{"header", 0, Limits{}, false},
	{"4KiB", 4096, Limits{}, false},
	{"4KiB retained", 4096, Limits{}, true},
	{"4KiB digests", 4096, Limits{HeaderDigest: true, DataDigest: true}, false},
	{"256KiB", 1 << 18, Limits{}, false},
	{"256KiB retained", 1 << 18, Limits{}, true},
}

// next is what reading costs a session per PDU: framing, checking, decoding.
func (b *benchmark) next(t testing.TB) func() {
	var h BHS
	(&SCSICommand{Final: true, Write: true, Attr: Simple, ExpectedDataTransferLength: uint32(b.data)}).Encode(&h)
	r := NewReader(&endlessLazy{endless{wire: Append(nil, &h, nil, content(0, b.data), b.HeaderDigest, b.DataDigest)}})
	l := b.Limits
	l.MaxRecvDataSegmentLength = 1 << 18
	r.SetLimits(l)
	rules := Rules{MaxRecvDataSegmentLength: 1 << 18, FirstBurstLength: 1 << 18, ImmediateData: true}
	var c SCSICommand
	return func() {
		p, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := rules.Check(p.BHS, p.AHS); err != nil {
			t.Fatal(err)
		}
		if c.Decode(p.BHS); !c.Write || len(p.Data) != b.data {
			t.Fatal("another PDU")
		}
		if b.retain {
			p.Retain().Release()
		}
	}
}

// put is what writing costs a session per PDU, 32 to a batch.
func (b *benchmark) put(t testing.TB) func() {
	w := NewWriter(io.Discard)
	w.SetDigests(b.HeaderDigest, b.DataDigest)
	n := 0
	return func() {
		var owner *Buffer
		var data []byte
		if b.data > 0 {
			owner = Get(b.data)
			data = owner.Bytes()[:b.data]
		}
		in := DataIn{Final: true, HasStatus: true, InitiatorTaskTag: 7, TargetTransferTag: ReservedTag}
		in.Encode(w.Begin())
		w.End(data, owner)
		if n++; n%32 == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for _, bench := range benchmarks {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(BHSLength + bench.data))
			next := bench.next(b)
			for b.Loop() {
				next()
			}
		})
	}
}

func BenchmarkWriter(b *testing.B) {
	for _, bench := range benchmarks {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(BHSLength + bench.data))
			put := bench.put(b)
			for b.Loop() {
				put()
			}
		})
	}
}

// TestNoAllocations: nothing is allocated per PDU.
func TestNoAllocations(t *testing.T) {
	limit := 1.0
	if raceEnabled {
		limit = 8 // sync.Pool drops what it is given at random then
	}
	for _, bench := range benchmarks {
		t.Run(bench.name, func(t *testing.T) {
			for name, step := range map[string]func(){"read": bench.next(t), "write": bench.put(t)} {
				for range 100 {
					step()
				}
				if n := testing.AllocsPerRun(500, step); n >= limit {
					t.Errorf("%s: %v allocations per PDU", name, n)
				}
			}
		})
	}
}
