package pdu

// AsyncEvent is what an Asynchronous Message tells; section 11.9.1.
type AsyncEvent uint8

// The events.
const (
	AsyncSCSIEvent           AsyncEvent = 0 // sense data is in the data segment
	AsyncLogoutRequest       AsyncEvent = 1 // log out within Parameter3 seconds
	AsyncDropConnection      AsyncEvent = 2 // the connection with CID Parameter1 will be dropped
	AsyncDropAllConnections  AsyncEvent = 3 // all connections of the session will be dropped
	AsyncNegotiateParameters AsyncEvent = 4 // begin a text negotiation within Parameter3 seconds
	AsyncTasksTerminated     AsyncEvent = 5 // all active tasks of the LUN are being terminated, FastAbort
	AsyncVendorSpecific      AsyncEvent = 255
)

// Async is an Asynchronous Message; section 11.9.
type Async struct {
	DataSegmentLength int    // bytes, without padding
	LUN               uint64 // valid for AsyncSCSIEvent and AsyncTasksTerminated; section 11.9.3
	TargetSN                 // StatSN, ExpCmdSN, MaxCmdSN
	AsyncEvent        AsyncEvent
	AsyncVCode        uint8 // section 11.9.2
	Parameter1        uint16
	Parameter2        uint16
	Parameter3        uint16
}

// Decode takes the fields out of h, whose opcode is OpAsync.
func (a *Async) Decode(h *BHS) {
	a.DataSegmentLength, a.LUN = h.DataSegmentLength(), h.LUN()
	a.decodeSN(h)
	a.AsyncEvent, a.AsyncVCode = AsyncEvent(h[36]), h[37]
	a.Parameter1, a.Parameter2, a.Parameter3 = h.get16(38), h.get16(40), h.get16(42)
}

// Encode makes h the header of a.
func (a *Async) Encode(h *BHS) {
	h.begin(OpAsync, false, flagFinal, 0, a.DataSegmentLength)
	h.put64(8, a.LUN)
	h.put32(16, ReservedTag)
	a.encodeSN(h)
	h[36], h[37] = byte(a.AsyncEvent), a.AsyncVCode
	h.put16(38, a.Parameter1)
	h.put16(40, a.Parameter2)
	h.put16(42, a.Parameter3)
}
