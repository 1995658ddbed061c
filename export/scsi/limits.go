package scsi

import "encoding/binary"

// blockLimits is page B0h, SBC-3 section 6.6.4. Offsets are the standard's, which count the four bytes before.
func blockLimits(lu *LogicalUnit, _ *Nexus) []byte {
	l := &lu.cfg.Limits
	var b [64]byte
	b[5] = l.CompareAndWrite
	binary.BigEndian.PutUint16(b[6:], uint16(max(l.UnmapGranularity, 1<<lu.cfg.PhysicalExponent))) // optimal transfer length granularity
	binary.BigEndian.PutUint32(b[8:], l.TransferLength)
	binary.BigEndian.PutUint32(b[12:], l.OptimalTransfer)
	binary.BigEndian.PutUint32(b[16:], 0) // no limit on PRE-FETCH
	if lu.features&featureUnmap != 0 {
		binary.BigEndian.PutUint32(b[20:], l.UnmapBlocks)
		binary.BigEndian.PutUint32(b[24:], l.UnmapDescriptors)
	}
	if lu.cfg.Thin {
		binary.BigEndian.PutUint32(b[28:], l.UnmapGranularity)
		binary.BigEndian.PutUint32(b[32:], 1<<31) // UGAVALID: from block 0 on
	}
	binary.BigEndian.PutUint64(b[36:], uint64(l.WriteSameLength))
	return b[4:]
}

// blockCharacteristics is page B1h, SBC-3 section 6.6.2.
func blockCharacteristics(lu *LogicalUnit, _ *Nexus) []byte {
	b := make([]byte, 60)
	b[5-4] = 1 // medium rotation rate: does not rotate
	if lu.features&featureErase != 0 {
		b[7-4] = 0x10 // WABEREQ: blocks read as zeros after a block erase
	}
	return b
}

// logicalBlockProvisioning is page B2h, SBC-3 section 6.6.5.
func logicalBlockProvisioning(lu *LogicalUnit, _ *Nexus) []byte {
	b := make([]byte, 4)
	if lu.cfg.Thin {
		b[5-4] = 0x64 // LBPWS, LBPWS10, LBPRZ
		b[6-4] = 0x02 // thin provisioned
	}
	if lu.features&featureUnmap != 0 {
		b[5-4] |= 0x80 // LBPU
	}
	return b
}

// thirdPartyCopy is page 8Fh, SPC-4 section 7.8.17, with the one descriptor that every copy manager has:
// which commands it knows.
func thirdPartyCopy(*LogicalUnit, *Nexus) []byte {
	commands := []byte{
		opExtendedCopy, 1, actionCopyLID1,
		opReceiveCopyResults, 2, actionCopyStatus, actionOperatingParameters,
	}
	length := (1 + len(commands) + 3) &^ 3
	b := make([]byte, 4+length)
	binary.BigEndian.PutUint16(b, 0x0001)
	binary.BigEndian.PutUint16(b[2:], uint16(length))
	b[4] = byte(len(commands))
	copy(b[5:], commands)
	return b
}
