package scsi

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Kind is what a command does to the medium, as far as transports and counters care.
type Kind uint8

// Kinds of commands.
const (
	KindOther  Kind = iota
	KindRead        // READ: plain data off the medium
	KindWrite       // WRITE: plain data onto the medium
	KindVerify      // reads and compares, and may write afterwards
	KindZero        // UNMAP, WRITE SAME, SANITIZE
	KindFlush       // SYNCHRONIZE CACHE
	KindCopy        // EXTENDED COPY
	kinds
)

// Counters is told of each command that ended. It is called from many goroutines at once, and must be quick.
type Counters interface {
	// Count says that a command of a kind ended with a status, how many bytes it moved to or from the
	// initiator, and how long Execute took, or what was between Admit and Finish.
	Count(kind Kind, status Status, bytes int64, took time.Duration)
}

// Stats is a ready-made Counters. The zero value is ready for use.
type Stats struct {
	kinds [kinds]kindStats
}

type kindStats struct {
	operations, bytes, errors atomic.Uint64
	took                      atomic.Int64 // nanoseconds
	latency                   [LatencyBuckets]atomic.Uint64
}

// LatencyBuckets is the number of buckets of a latency histogram. Bucket i counts what took less than 2^i
// microseconds and not less than half of that; the last one counts all that took longer.
const LatencyBuckets = 26

// Count implements Counters.
func (s *Stats) Count(kind Kind, status Status, bytes int64, took time.Duration) {
	k := &s.kinds[kind]
	k.operations.Add(1)
	k.bytes.Add(uint64(bytes))
	if status != StatusGood {
		k.errors.Add(1)
	}
	k.took.Add(int64(max(took, 0)))
	bucket := bits.Len64(uint64(max(took.Microseconds(), 0)))
	k.latency[min(bucket, LatencyBuckets-1)].Add(1)
}

// KindSnapshot is what Stats counted of one kind of commands.
type KindSnapshot struct {
	Operations, Bytes, Errors uint64 // Errors counts every status but GOOD
	Latency                   [LatencyBuckets]uint64
	Took                      time.Duration // all of them together
}

// Snapshot returns what was counted so far of a kind.
func (s *Stats) Snapshot(kind Kind) KindSnapshot {
	k := &s.kinds[kind]
	snapshot := KindSnapshot{Operations: k.operations.Load(), Bytes: k.bytes.Load(), Errors: k.errors.Load(), Took: time.Duration(k.took.Load())}
	for i := range k.latency {
		snapshot.Latency[i] = k.latency[i].Load()
	}
	return snapshot
}

var _ Counters = (*Stats)(nil)
