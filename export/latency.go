package export

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// LatencyBuckets is the number of buckets of a Latency.
const LatencyBuckets = 26

// Latency says how long operations took. Bucket i counts those that took less than 2^i microseconds and not less than half of
// that; the last one counts all that took longer.
type Latency struct {
	Buckets [LatencyBuckets]uint64
	Sum     time.Duration
}

// Add adds what another counted.
func (l *Latency) Add(o Latency) {
	for i := range l.Buckets {
		l.Buckets[i] += o.Buckets[i]
	}
	l.Sum += o.Sum
}

// LatencyMeter counts how long operations take. The zero value is ready for use, and its methods may be called at the same time.
type LatencyMeter struct {
	buckets [LatencyBuckets]atomic.Uint64
	sum     atomic.Int64
}

// Since counts an operation that began at a time and has ended.
func (m *LatencyMeter) Since(began time.Time) { m.Count(time.Since(began)) }

// Count counts an operation.
func (m *LatencyMeter) Count(took time.Duration) {
	took = max(took, 0)
	m.buckets[min(bits.Len64(uint64(took.Microseconds())), LatencyBuckets-1)].Add(1)
	m.sum.Add(int64(took))
}

// Latency returns what was counted so far.
func (m *LatencyMeter) Latency() (l Latency) {
	for i := range m.buckets {
		l.Buckets[i] = m.buckets[i].Load()
	}
	l.Sum = time.Duration(m.sum.Load())
	return l
}

// add adds what another counted.
func (c *Counts) add(o Counts) {
	c.ReadOperations += o.ReadOperations
	c.ReadBytes += o.ReadBytes
	c.WriteOperations += o.WriteOperations
	c.WriteBytes += o.WriteBytes
	c.OtherOperations += o.OtherOperations
	c.Errors += o.Errors
	c.ReadLatency.Add(o.ReadLatency)
	c.WriteLatency.Add(o.WriteLatency)
}

// Totals returns what the attachments of each kind did in the life of this process, those included that are gone.
func (s *Service) Totals() map[string]Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	totals := make(map[string]Counts, len(s.kinds))
	for _, k := range s.kinds {
		total := s.past[k.Name()]
		for _, e := range s.volumes {
			for _, a := range e.attachments {
				if a.rec.Kind == k.Name() {
					total.add(a.at.Counts())
				}
			}
		}
		totals[k.Name()] = total
	}
	return totals
}

// retire keeps what an attachment did that goes. The caller holds mu.
func (s *Service) retire(a *attachment) {
	total := s.past[a.rec.Kind]
	total.add(a.at.Counts())
	s.past[a.rec.Kind] = total
}
