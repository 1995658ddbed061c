package scsi

import (
	"context"
	"encoding/binary"
)

// Service actions of PERSISTENT RESERVE IN, SPC-4 table 206.
const (
	inReadKeys     = 0x00
	inReservation  = 0x01
	inCapabilities = 0x02
	inFullStatus   = 0x03
)

// persistentReserveIn is PERSISTENT RESERVE IN, SPC-4 section 6.15.
func persistentReserveIn(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	if lu.hasReserver() {
		return conflict // SPC-2 section 5.5.1
	}
	r := lu.Reservations()
	var list []byte
	switch c.operation.action {
	case inReadKeys:
		list = r.keys()
	case inReservation:
		list = r.reservation()
	case inCapabilities:
		list = lu.reservationCapabilities(r)
	case inFullStatus:
		list = r.fullStatus()
	}
	return c.reply(list, int(c.operation.length(&c.CDB)))
}

// listHeader begins a list with PRGENERATION and room for its length, which end fills in.
func (r *Reservations) listHeader() []byte {
	return binary.BigEndian.AppendUint32(make([]byte, 0, 64), r.Generation)[:8]
}

func endList(list []byte) []byte {
	binary.BigEndian.PutUint32(list[4:], uint32(len(list)-8))
	return list
}

func (r *Reservations) keys() []byte {
	list := r.listHeader()
	for i := range r.Registrations {
		list = binary.BigEndian.AppendUint64(list, r.Registrations[i].Key)
	}
	return endList(list)
}

func (r *Reservations) reservation() []byte {
	list := r.listHeader()
	if r.Type != 0 {
		list = binary.BigEndian.AppendUint64(list, r.holderKey()) // zero where all registrants hold it
		list = append(list, 0, 0, 0, 0, 0, byte(r.Type), 0, 0)
	}
	return endList(list)
}

// reservationCapabilities is REPORT CAPABILITIES, SPC-4 section 6.15.4.
func (lu *LogicalUnit) reservationCapabilities(r *Reservations) []byte {
	list := []byte{
		0, 8,
		0x1c,        // CRH, SIP_C, ATP_C
		0x80 | 0x30, // TMV, ALLOW COMMANDS: TEST UNIT READY, MODE SENSE and reports are never refused
		0xea, 0x01, 0, 0,
	}
	if lu.cfg.Reservations != nil {
		list[2] |= 0x01 // PTPL_C
	}
	if r.APTPL {
		list[3] |= 0x01 // PTPL_A
	}
	return list
}

// fullStatus is READ FULL STATUS, SPC-4 section 6.15.5.
func (r *Reservations) fullStatus() []byte {
	list := r.listHeader()
	for i := range r.Registrations {
		g := &r.Registrations[i]
		list = binary.BigEndian.AppendUint64(list, g.Key)
		list = append(list, 0, 0, 0, 0)
		if r.Type != 0 && r.holds(g.nexus()) {
			list = append(list, 0x01, byte(r.Type)) // R_HOLDER
		} else {
			list = append(list, 0, 0)
		}
		list = append(list, 0, 0, 0, 0, byte(g.PortID>>8), byte(g.PortID))
		id := appendTransportID(nil, g.Initiator)
		list = binary.BigEndian.AppendUint32(list, uint32(len(id)))
		list = append(list, id...)
	}
	return endList(list)
}
