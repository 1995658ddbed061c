package pdu

// SN is a serial number (CmdSN, StatSN, DataSN, R2TSN) that wraps around; section 4.2.2.1 has it compare and
// add as RFC 1982 says, with SERIAL_BITS 32.
type SN uint32

// Less reports whether s comes before t. Of two numbers that are exactly 2^31 apart neither does: RFC 1982
// leaves that undefined, and false both ways keeps such a number out of every window.
func (s SN) Less(t SN) bool { return s != t && t-s < 1<<31 }

// AtMost reports whether s is t or comes before it.
func (s SN) AtMost(t SN) bool { return s == t || s.Less(t) }

// In reports whether s lies in the window from first to last, both included. The window is empty where last
// is first-1.
func (s SN) In(first, last SN) bool { return s-first <= last-first && last-first < 1<<31 }

// Since is how many numbers s is after t, negative where it comes before.
func (s SN) Since(t SN) int { return int(int32(s - t)) }
