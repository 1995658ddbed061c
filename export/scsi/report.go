package scsi

import (
	"context"
	"encoding/binary"
)

// targetPortGroup is the one group that all ports are in: they are all alike.
const targetPortGroup = 1

// reportTargetPortGroups is REPORT TARGET PORT GROUPS, SPC-4 section 6.41.
func reportTargetPortGroups(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	var list []byte
	switch c.CDB[1] >> 5 { // PARAMETER DATA FORMAT
	case 0:
		list = make([]byte, 4)
	case 1: // extended header
		list = []byte{0, 0, 0, 0, 0x10, 0, 0, 0}
	default:
		return badField(1, 7)
	}
	lu.mu.Lock()
	ports := lu.ports
	list = append(list,
		0x00, // active/optimized
		0x01, // which is the only state there is
		0, targetPortGroup, 0, 0x00, 0, byte(len(ports)))
	for _, p := range ports {
		list = append(list, 0, 0, byte(p.ID>>8), byte(p.ID))
	}
	lu.mu.Unlock()
	binary.BigEndian.PutUint32(list, uint32(len(list)-4))
	return c.reply(list, int(min(c.operation.length(&c.CDB), maximumParameterIn)))
}

// reportTaskManagement is REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS, SPC-4 section 6.38: those of RFC 7143
// section 11.5.1.
func reportTaskManagement(_ context.Context, _ *LogicalUnit, _ *Nexus, c *Command) answer {
	list := []byte{0xda, 0, 0, 0} // ATS, ATSS, CTSS, LURS, TRS
	if c.CDB[2]&0x80 != 0 {       // REPD
		list = append(list, make([]byte, 12)...)
		list[3] = 12
	}
	allocation := c.operation.length(&c.CDB)
	if allocation < 4 {
		return badField(6, wholeByte)
	}
	return c.reply(list, int(min(allocation, 16)))
}

// reportLuns is REPORT LUNS, SPC-4 section 6.33, of a target with one logical unit.
func reportLuns(_ context.Context, _ *LogicalUnit, _ *Nexus, c *Command) answer {
	return c.reportLuns()
}

func (c *Command) reportLuns() answer {
	allocation := binary.BigEndian.Uint32(c.CDB[6:])
	if allocation < 16 {
		return badField(6, wholeByte)
	}
	var list [16]byte
	switch c.CDB[2] { // SELECT REPORT
	case 0x00, 0x02, 0x11: // all but well known ones, all, those below the addressed one
		list[3] = 8 // LUN 0
		return c.reply(list[:], int(min(allocation, 16)))
	case 0x01, 0x10, 0x12: // well known ones, administrative ones
		return c.reply(list[:8], 8)
	}
	return badField(2, wholeByte)
}

// NoUnit answers a command to a LUN that does not exist, as SPC-4 section 5.15 and SAM-5 section 5.12 say. The
// target's one unit has LUN 0.
func NoUnit(c *Command) {
	c.reset()
	c.end(c.noUnit(), false)
}

func (c *Command) noUnit() answer {
	switch c.CDB[0] {
	case opInquiry:
		if c.CDB[1]&0x01 != 0 || c.CDB[2] != 0 {
			return badField(1, 0)
		}
		var b [36]byte
		b[0] = 0x60 | typeUnknown // peripheral qualifier 011b: no unit can be here
		b[2], b[3], b[4] = 0x06, 0x12, byte(len(b)-5)
		return c.reply(b[:], int(binary.BigEndian.Uint16(c.CDB[3:])))
	case opReportLuns:
		return c.reportLuns()
	case opRequestSense:
		return c.reply(illegal(UnitNotSupported).appendSense(nil, c.CDB[1]&0x01 != 0), int(c.CDB[4]))
	}
	return illegal(UnitNotSupported)
}
