package iscsi

import (
	"elstore/export/iscsi/pdu"
)

// answer sends the data and the status of a task.
func (s *session) answer(t *task) {
	sn := s.dataIn(t)
	if t.length > 0 && t.collapses() {
		return
	}
	r := pdu.SCSIResponse{
		Response: pdu.CommandCompleted, Status: uint8(t.status), InitiatorTaskTag: t.itt,
		TargetSN: s.numbers(true), ExpDataSN: sn + t.r2tSN,
	}
	t.residuals(&r)
	r.Encode(s.writer.Begin())
	s.writer.End(t.sense, nil)
}

// collapses reports whether the status goes with the last of the data: there is no sense data, and there are not
// two residual counts.
func (t *task) collapses() bool { return len(t.sense) == 0 && !t.write }

// dataIn sends the data of a task, and its status with the last of it where there is no sense data. It returns
// how many PDUs that took.
func (s *session) dataIn(t *task) (sn pdu.SN) {
	if t.length == 0 {
		return 0
	}
	burst := s.result.Params.MaxBurstLength
	for off := 0; off < t.length; {
		n := min(t.length-off, s.segment, burst-off%burst)
		end := off + n
		d := pdu.DataIn{
			Final: end == t.length || end%burst == 0, InitiatorTaskTag: t.itt, TargetTransferTag: pdu.ReservedTag,
			DataSN: sn, BufferOffset: uint32(off),
		}
		last := end == t.length && t.collapses()
		d.TargetSN = s.numbers(last)
		if last {
			var r pdu.SCSIResponse
			t.residuals(&r)
			d.HasStatus, d.Status = true, uint8(t.status)
			d.Overflow, d.Underflow, d.ResidualCount = r.Overflow, r.Underflow, r.ResidualCount
		} else {
			d.StatSN = 0
		}
		d.Encode(s.writer.Begin())
		if t.in != nil {
			s.writer.End(t.in.Bytes()[off:end], nil)
		} else {
			s.writer.EndPages(&t.pages, n)
		}
		off = end
		sn++
	}
	return sn
}

// residuals says how much less or more than expected is transferred; sections 11.4.5 and 11.4.6. Of a command
// that goes both ways to iSCSI and one way to SCSI the other way moves nothing.
func (t *task) residuals(r *pdu.SCSIResponse) {
	count, over := t.cmd.Residual()
	if t.cmd.Transfer == 0 {
		count, over = t.cmd.Expected, false
	}
	n := uint32(min(count, 1<<32-1))
	if t.read && t.write {
		if t.plan.In > 0 {
			r.BidiOverflow, r.BidiUnderflow, r.BidiReadResidualCount = over && n > 0, !over && n > 0, n
			r.Underflow, r.ResidualCount = t.expected > 0, uint32(t.expected)
			return
		}
		r.BidiUnderflow, r.BidiReadResidualCount = t.bidi > 0, uint32(t.bidi)
	}
	r.Overflow, r.Underflow, r.ResidualCount = over && n > 0, !over && n > 0, n
}
