package scsi

import (
	"math/bits"
	"sync"
)

// regions lets COMPARE AND WRITE and ORWRITE run as one uninterrupted action, SBC-3 section 5.2: they lock
// their range against every other command that writes there. Writers among themselves need no order. A medium
// is cut into stretches of a MiB, and each stretch has one of a few locks.
type regions [regionLocks]sync.RWMutex

const (
	regionLocks = 16 // at most 64, the bits of the set
	regionShift = 20
)

// set returns which locks a range of bytes needs. Locks are taken in the order of the bits.
func (r *regions) set(off, length int64) (set uint64) {
	if length <= 0 {
		return 0
	}
	first, last := off>>regionShift, (off+length-1)>>regionShift
	if last-first >= regionLocks-1 {
		return 1<<regionLocks - 1
	}
	for i := first; i <= last; i++ {
		set |= 1 << (uint64(i) % regionLocks)
	}
	return set
}

// share lets the caller write to the locks' ranges beside other writers.
func (r *regions) share(set uint64) {
	for ; set != 0; set &= set - 1 {
		r[bits.TrailingZeros64(set)].RLock()
	}
}

func (r *regions) unshare(set uint64) {
	for ; set != 0; set &= set - 1 {
		r[bits.TrailingZeros64(set)].RUnlock()
	}
}

// own keeps every other writer out.
func (r *regions) own(set uint64) {
	for ; set != 0; set &= set - 1 {
		r[bits.TrailingZeros64(set)].Lock()
	}
}

func (r *regions) disown(set uint64) {
	for ; set != 0; set &= set - 1 {
		r[bits.TrailingZeros64(set)].Unlock()
	}
}
