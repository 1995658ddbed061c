package scsi

import (
	"context"
	"encoding/binary"
)

// reportOperationCodes is REPORT SUPPORTED OPERATION CODES, SPC-4 section 6.37. It shows the table that
// dispatches.
func reportOperationCodes(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	allocation := int(min(c.operation.length(&c.CDB), maximumParameterIn))
	timeouts := c.CDB[2]&0x80 != 0 // RCTD
	code, action := c.CDB[3], binary.BigEndian.Uint16(c.CDB[4:])
	options := c.CDB[2] & 0x07
	if options == 0 {
		return c.reply(lu.allOperations(timeouts), allocation)
	}
	var found *operation
	service := false
	for _, op := range index[code] {
		if op.needs&^lu.features != 0 {
			continue
		}
		service = service || op.service
		if !op.service || uint16(op.action) == action {
			found = op
		}
	}
	switch options {
	case 1: // an operation code that has no service actions
		if service {
			return badField(2, 2)
		}
	case 2: // one that has them
		if found != nil && !found.service {
			return badField(2, 2)
		}
	case 3: // either
		if found != nil && !found.service && action != 0 {
			found = nil
		}
	default:
		return badField(2, 2)
	}
	return c.reply(lu.oneOperation(found, timeouts), allocation)
}

// allOperations returns the all_commands parameter data.
func (lu *LogicalUnit) allOperations(timeouts bool) []byte {
	list := make([]byte, 4)
	for code := range index {
		for _, op := range index[code] {
			if op.needs&^lu.features != 0 {
				continue
			}
			d := [8]byte{op.code, 0, 0, op.action, 0, 0, 0, byte(len(op.usage))}
			if op.service {
				d[5] |= 0x01 // SERVACTV
			}
			if timeouts {
				d[5] |= 0x02 // CTDP
			}
			list = append(list, d[:]...)
			if timeouts {
				list = appendTimeouts(list)
			}
		}
	}
	binary.BigEndian.PutUint32(list, uint32(len(list)-4))
	return list
}

// oneOperation returns the one_command parameter data; op is nil for one that is not supported.
func (lu *LogicalUnit) oneOperation(op *operation, timeouts bool) []byte {
	if op == nil {
		return []byte{0, 0x01, 0, 0} // SUPPORT: not supported
	}
	usage := lu.usage(op)
	list := []byte{0, 0x03, 0, byte(len(usage))} // SUPPORT: as the standard says
	if timeouts {
		list[1] |= 0x80 // CTDP
	}
	list = append(list, usage...)
	if timeouts {
		list = appendTimeouts(list)
	}
	return list
}

// appendTimeouts appends a command timeouts descriptor that names no time, SPC-4 section 6.37.4.
func appendTimeouts(p []byte) []byte {
	return append(p, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

// usage returns the CDB usage data of an operation, without bits that this unit refuses.
func (lu *LogicalUnit) usage(op *operation) []byte {
	usage := []byte(op.usage)
	if op.data == oneBlock && lu.features&featureThin == 0 {
		usage[1] &^= 0x08 // UNMAP of WRITE SAME
	}
	if op.code == opStartStopUnit && lu.features&featureRemovable == 0 {
		usage[4] &^= 0x02 // LOEJ
	}
	return usage
}
