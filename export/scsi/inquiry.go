package scsi

import (
	"context"
	"encoding/binary"
)

// Peripheral device types, SPC-4 table 141.
const (
	typeDisk    = 0x00
	typeCD      = 0x05
	typeUnknown = 0x1f
)

// Version descriptors, SPC-4 table 143: standards without a claim to a revision.
const (
	versionSAM5  = 0x00a0
	versionISCSI = 0x0960
	versionSPC4  = 0x0460
	versionSBC3  = 0x04c0
	versionMMC6  = 0x04e0
)

const standardInquiryLength = 96

// inquiry is INQUIRY, SPC-4 section 6.4.
func inquiry(_ context.Context, lu *LogicalUnit, n *Nexus, c *Command) answer {
	allocation := int(c.operation.length(&c.CDB))
	if c.CDB[1]&0x01 != 0 {
		page := lu.vitalPage(c.CDB[2])
		if page == nil {
			return badField(2, wholeByte)
		}
		return c.reply(page(lu, n), allocation)
	}
	if c.CDB[2] != 0 {
		return badField(2, wholeByte)
	}
	data := lu.standardInquiry()
	return c.reply(data[:], allocation)
}

func (lu *LogicalUnit) deviceType() byte {
	if lu.cfg.CDROM {
		return typeCD
	}
	return typeDisk
}

// standardInquiry returns the standard INQUIRY data, SPC-4 section 6.4.2.
func (lu *LogicalUnit) standardInquiry() (b [standardInquiryLength]byte) {
	b[0] = lu.deviceType()
	if lu.cfg.Removable {
		b[1] = 0x80
	}
	b[2] = 0x06             // SPC-4
	b[3] = 0x12             // HISUP, response data format
	b[4] = byte(len(b) - 5) // additional length
	b[5] = 0x10             // TPGS: implicit asymmetric access only
	b[6] = 0x10             // MULTIP
	b[7] = 0x02             // CMDQUE
	copy(b[8:], "        "+"                "+"    ")
	copy(b[8:16], lu.cfg.Vendor)
	copy(b[16:32], lu.cfg.Product)
	copy(b[32:36], lu.cfg.Revision)
	versions := []uint16{versionSAM5, versionISCSI, versionSPC4, versionSBC3}
	if lu.cfg.CDROM {
		versions[3] = versionMMC6
	} else {
		b[5] |= 0x08 // 3PC: EXTENDED COPY
	}
	for i, v := range versions {
		binary.BigEndian.PutUint16(b[58+2*i:], v)
	}
	return b
}
