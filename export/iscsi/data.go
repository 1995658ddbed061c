package iscsi

import (
	"elstore/export/iscsi/pdu"
)

// ownRoom is the size of the buffers that small pieces of data are gathered in, in bytes.
const ownRoom = 256 << 10

// store takes the data of a PDU that is due at t.offset. What the command can't use is left out.
func (t *task) store(p *pdu.PDU) {
	data := p.Data
	use := data[:max(0, min(int64(len(data)), t.want-t.offset))]
	t.offset += int64(len(data))
	if len(use) == 0 {
		return
	}
	// A piece that fills much of the buffer it came in stays there; the immediate data of a command too, of
	// which a session has no more than the window lets in. Other small pieces would keep much memory for
	// little.
	if len(t.bufs) == 0 || len(use) >= ownRoom/4 {
		t.out, t.bufs, t.own = append(t.out, use), append(t.bufs, p.Retain()), nil
		return
	}
	for len(use) > 0 {
		if t.own == nil || t.ownUsed == len(t.own.Bytes()) {
			t.own, t.ownUsed = pdu.Get(int(min(t.want-t.offset+int64(len(use)), ownRoom))), 0
			t.bufs, t.out = append(t.bufs, t.own), append(t.out, nil)
		}
		n := copy(t.own.Bytes()[t.ownUsed:], use)
		t.ownUsed += n
		use = use[n:]
		last := &t.out[len(t.out)-1]
		*last = t.own.Bytes()[:t.ownUsed]
	}
}

// dataOut takes a Data-Out; section 11.7. One of no task, or of one that does not wait for data, is passed
// over: the task may have ended before it came.
func (s *session) dataOut(p *pdu.PDU) {
	var d pdu.DataOut
	d.Decode(p.BHS)
	s.mu.Lock()
	t := s.tasks[d.InitiatorTaskTag]
	if t == nil || t.state != waiting {
		s.mu.Unlock()
		return
	}
	t.state = held
	s.mu.Unlock()
	t.takeDataOut(p, &d)
	s.settle(t)
}

// takeDataOut checks a Data-Out and takes its data. The first thing that is wrong ends the command, once the
// initiator has sent all that it was asked for.
func (t *task) takeDataOut(p *pdu.PDU, d *pdu.DataOut) {
	var end int64 // of what may come
	next := &t.openSN
	switch {
	case d.TargetTransferTag == pdu.ReservedTag:
		if !t.open {
			t.fail(unexpectedUnsolicited)
			return
		}
		end = t.firstEnd
	case len(t.bursts) > 0 && d.TargetTransferTag == t.bursts[0].tag:
		end, next = t.bursts[0].end, &t.bursts[0].next
	default:
		if i := t.findBurst(d.TargetTransferTag); i >= 0 {
			// DataSequenceInOrder has bursts in the order of their R2Ts.
			t.fail(incorrectAmount)
			if d.Final {
				t.bursts = append(t.bursts[:i], t.bursts[i+1:]...)
			}
		}
		return
	}
	length := int64(d.DataSegmentLength)
	switch {
	case t.condition != 0:
	case p.BadDataDigest, d.DataSN != *next:
		t.fail(serviceCRC)
	case int64(d.BufferOffset) != t.offset, t.offset+length > end,
		d.Final && len(t.bursts) > 0 && !t.open && t.offset+length != end:
		t.fail(incorrectAmount)
	default:
		t.store(p)
	}
	*next++
	if !d.Final {
		return
	}
	if d.TargetTransferTag == pdu.ReservedTag {
		t.open = false
	} else {
		t.bursts = append(t.bursts[:0], t.bursts[1:]...)
	}
}

func (t *task) findBurst(tag uint32) int {
	for i := range t.bursts {
		if t.bursts[i].tag == tag {
			return i
		}
	}
	return -1
}

// fail has the command end with a condition, the first that there was.
func (t *task) fail(why condition) {
	if t.condition == 0 {
		t.condition = why
	}
	t.releaseOut()
}

// solicit asks for data: as many R2Ts as may be outstanding. s.mu is held.
func (s *session) solicit(t *task) {
	params := &s.result.Params
	if t.solicited < t.offset {
		t.solicited = t.offset
	}
	for t.solicited < t.want && len(t.bursts) < params.MaxOutstandingR2T {
		length := min(t.want-t.solicited, int64(params.MaxBurstLength))
		s.lastTag++
		if s.lastTag == pdu.ReservedTag {
			s.lastTag = 1
		}
		r := pdu.R2T{
			LUN: t.lun, InitiatorTaskTag: t.itt, TargetTransferTag: s.lastTag, R2TSN: t.r2tSN,
			BufferOffset: uint32(t.solicited), DesiredDataTransferLength: uint32(length),
		}
		t.r2tSN++
		t.solicited += length
		t.bursts = append(t.bursts, burst{tag: s.lastTag, end: t.solicited})
		var m message
		r.Encode(&m.header)
		s.postLocked(m)
	}
}
