package export

import (
	"testing"
	"time"
)

func TestLatencyMeter(t *testing.T) {
	for name, c := range map[string]struct {
		took   time.Duration
		bucket int
	}{
		"nothing":       {0, 0},
		"a clock back":  {-time.Second, 0},
		"under 1 µs":    {999 * time.Nanosecond, 0},
		"1 µs":          {time.Microsecond, 1},
		"3 µs":          {3 * time.Microsecond, 2},
		"4 µs":          {4 * time.Microsecond, 3},
		"longer than 1": {33 * time.Second, LatencyBuckets - 1},
		"for ever":      {time.Hour, LatencyBuckets - 1},
	} {
		t.Run(name, func(t *testing.T) {
			var m LatencyMeter
			m.Count(c.took)
			l := m.Latency()
			if l.Buckets[c.bucket] != 1 || l.Sum != max(c.took, 0) {
				t.Errorf("%+v", l)
			}
			l.Add(l)
			if l.Buckets[c.bucket] != 2 || l.Sum != 2*max(c.took, 0) {
				t.Errorf("twice it is %+v", l)
			}
		})
	}
}

func TestTotalsOutliveTheirAttachments(t *testing.T) {
	p := newPlace(t, `{}`)
	reads := func() uint64 { return p.Totals()["iscsi"].ReadOperations }
	if list := p.Totals(); len(list) != 2 || reads() != 0 {
		t.Fatalf("before any export: %+v", list)
	}
	one, two := p.create(), p.create()
	p.export(one, bob)
	p.export(two, bob)
	if reads() != 14 { // a toy's attachment has done seven
		t.Errorf("two attachments did %d reads", reads())
	}
	p.end(one, bob)
	if reads() != 14 {
		t.Errorf("after one has ended, they did %d reads", reads())
	}
	p.export(one, bob)
	if reads() != 21 {
		t.Errorf("with a third, they did %d reads", reads())
	}
	if got := p.Totals()["nbd"].ReadOperations; got != 0 {
		t.Errorf("of another kind there are %d reads", got)
	}
}
