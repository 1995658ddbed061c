package scsi

import "math/bits"

// attention is a set of unit attention conditions, SAM-5 section 5.14. As a set it holds each condition once,
// and gives the most important one first.
type attention uint32

// Conditions, the most important one first.
const (
	attentionPowerOn attention = 1 << iota
	attentionReset
	attentionNexusLoss
	attentionMedium
	attentionMode
	attentionReservationsPreempted
	attentionReservationsReleased
	attentionRegistrationsPreempted
	attentionCapacity
)

var attentionCodes = [...]SenseCode{
	PowerOnOrReset, DeviceReset, NexusLoss, MediumMayHaveChanged, ModeParametersChanged,
	ReservationsPreempted, ReservationsReleased, RegistrationsPreempted, CapacityDataChanged,
}

// raise establishes conditions for the nexus.
func (n *Nexus) raise(a attention) { n.pending.Or(uint32(a)) }

// takeAttention returns the most important condition and clears it. Each condition is given to one command.
func (n *Nexus) takeAttention() (code SenseCode, ok bool) {
	for {
		pending := n.pending.Load()
		if pending == 0 {
			return 0, false
		}
		if n.pending.CompareAndSwap(pending, pending&(pending-1)) {
			return attentionCodes[bits.TrailingZeros32(pending)], true
		}
	}
}

// raiseOthers establishes conditions for every nexus but n, which may be nil. lu.mu is held.
func (lu *LogicalUnit) raiseOthers(n *Nexus, a attention) {
	for _, other := range lu.nexuses {
		if other != n {
			other.raise(a)
		}
	}
}
