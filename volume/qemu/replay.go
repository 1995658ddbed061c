package qemu

import (
	"math/bits"
	"sync"
)

// change is a request that changes the disk, with a copy of its data. It is remembered from its acknowledgement to the
// next flush, so that it can be made again.
type change struct {
	kind   changeKind
	off    int64
	length int64
	data   []byte // of a write

	seq  uint64 // its place in the order of acknowledgement
	next *change
}

type changeKind uint8

const (
	changeWrite changeKind = iota
	changeDiscard
	changeZero      // the storage stays
	changeZeroUnmap // the storage may go
)

// The data of writes is kept in buffers of a power of two bytes, which are pooled: those of all Devices together, since what
// one does not need now another may.
const (
	leastClass = 9  // a sector
	mostClass  = 22 // see mostPiece
)

// mostPiece is how many bytes of data a change has at most.
const mostPiece = 1 << mostClass

// bare is the pool of changes without data; the others are by class.
var (
	bareChanges sync.Pool
	changePools [mostClass - leastClass + 1]sync.Pool
)

// dataClass returns the class of the buffer for length bytes, of which there is one at least.
func dataClass(length int) int {
	return max(bits.Len(uint(length-1)), leastClass) - leastClass
}

// newChange returns a change without data.
func newChange(kind changeKind, off, length int64) *change {
	c, ok := bareChanges.Get().(*change)
	if !ok {
		c = new(change)
	}
	*c = change{kind: kind, off: off, length: length}
	return c
}

// newWrite returns the change that writes pieces, of which there are length bytes, 1 to mostPiece. They are copied.
func newWrite(off int64, length int, pieces ...[]byte) *change {
	class := dataClass(length)
	c, ok := changePools[class].Get().(*change)
	if !ok {
		c = &change{data: make([]byte, 1<<(class+leastClass))}
	}
	*c = change{kind: changeWrite, off: off, length: int64(length), data: c.data[:0]}
	for _, p := range pieces {
		c.data = append(c.data, p...)
	}
	return c
}

// free gives back c and those behind it.
func (c *change) free() {
	for c != nil {
		next := c.next
		c.next = nil
		if c.data == nil {
			bareChanges.Put(c)
		} else {
			changePools[dataClass(cap(c.data))].Put(c)
		}
		c = next
	}
}

// cost is what the change takes of a log's limit: its memory.
func (c *change) cost() int64 {
	const besides = 128
	return int64(cap(c.data)) + besides
}

// overlaps reports whether both are about a same byte.
func (c *change) overlaps(o *change) bool {
	return c.off < o.off+o.length && o.off < c.off+c.length
}

// replayLog holds the changes that were acknowledged since the last completed flush, in the order of their
// acknowledgement. A change takes room from before it is sent, so that there is some when it is acknowledged.
type replayLog struct {
	limit int64 // of used
	used  int64 // by the changes that are here, or under way

	first, last *change
	seq         uint64 // of the latest
}

// reserve takes room for c, if there is enough.
func (l *replayLog) reserve(c *change) bool {
	if l.used+c.cost() > l.limit {
		return false
	}
	l.used += c.cost()
	return true
}

// cancel gives back the room of a change that was not made.
func (l *replayLog) cancel(c *change) { l.used -= c.cost() }

// add appends a change that was acknowledged.
func (l *replayLog) add(c *change) {
	l.seq++
	c.seq = l.seq
	c.next = nil
	if l.last == nil {
		l.first = c
	} else {
		l.last.next = c
	}
	l.last = c
}

// empty reports whether everything that was acknowledged is on stable storage.
func (l *replayLog) empty() bool { return l.first == nil }

// drop takes out the changes up to seq, which a flush made durable, and returns them for freeing.
func (l *replayLog) drop(seq uint64) *change {
	dropped, before := l.first, (*change)(nil)
	for l.first != nil && l.first.seq <= seq {
		before = l.first
		l.used -= before.cost()
		l.first = before.next
	}
	if before == nil {
		return nil
	}
	before.next = nil
	if l.first == nil {
		l.last = nil
	}
	return dropped
}

// replayDepth is how many changes are made again at the same time.
const replayDepth = 16

// each calls do for every change. Those that overlap are called in their order, one after the other; others at the
// same time. It ends with the first error.
func (l *replayLog) each(do func(*change) error) error {
	for at := l.first; at != nil; {
		var batch [replayDepth]*change
		n := 0
		for ; at != nil && n < replayDepth && !overlapsAny(batch[:n], at); at = at.next {
			batch[n] = at
			n++
		}
		var calls sync.WaitGroup
		var errs [replayDepth]error
		for i := range n {
			calls.Go(func() { errs[i] = do(batch[i]) })
		}
		calls.Wait()
		for _, err := range errs[:n] {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func overlapsAny(changes []*change, c *change) bool {
	for _, o := range changes {
		if o.overlaps(c) {
			return true
		}
	}
	return false
}
