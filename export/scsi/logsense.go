package scsi

import (
	"context"
	"encoding/binary"
)

// Log pages.
const (
	logSupported     = 0x00
	logExceptions    = 0x2f
	logAllSubpages   = 0xff
	logParameterKept = 0x03 // a binary list parameter that is not saved
)

// logSense is LOG SENSE, SPC-4 section 6.8, with the pages that monitoring tools ask every disk for.
func logSense(_ context.Context, _ *LogicalUnit, _ *Nexus, c *Command) answer {
	if c.CDB[1]&0x01 != 0 { // SP
		return badField(1, 0)
	}
	code, subpage := c.CDB[2]&0x3f, c.CDB[3]
	var page []byte
	switch {
	case code == logSupported && subpage == 0:
		page = []byte{code, 0, 0, 2, logSupported, logExceptions}
	case code == logSupported && subpage == logAllSubpages:
		page = []byte{code | 0x40, subpage, 0, 6, logSupported, 0, logSupported, logAllSubpages, logExceptions, 0}
	case code == logExceptions && subpage == 0:
		page = []byte{code, 0, 0, 8, 0, 0, logParameterKept, 4, 0, 0, 0, 0} // no exception, no temperature
	case code == logSupported || code == logExceptions:
		return badField(3, wholeByte)
	default:
		return badField(2, 5)
	}
	if from := binary.BigEndian.Uint16(c.CDB[5:]); from > 0 { // PARAMETER POINTER: no page has more than parameter 0
		return badField(5, wholeByte)
	}
	return c.reply(page, int(c.operation.length(&c.CDB)))
}
