package scsi

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
)

// vitalPage is a vital product data page, SPC-4 section 7.8: its code, what a unit must have to have it, and
// what stands behind the first four bytes.
type vitalPage struct {
	code  byte
	needs feature
	data  func(lu *LogicalUnit, n *Nexus) []byte
}

// vitalPages has them in the order of their codes, which page 00h must list so.
var vitalPages []vitalPage

func init() { // page 00h lists the pages
	vitalPages = []vitalPage{
		{0x00, 0, supportedPages},
		{0x80, 0, unitSerialNumber},
		{0x83, 0, deviceIdentification},
		{0x86, 0, extendedInquiry},
		{0x8f, featureDisk, thirdPartyCopy},
		{0xb0, featureDisk, blockLimits},
		{0xb1, featureDisk, blockCharacteristics},
		{0xb2, featureDisk, logicalBlockProvisioning},
	}
}

// vitalPage returns what makes a page, or nil where the unit has none with the code.
func (lu *LogicalUnit) vitalPage(code byte) func(*LogicalUnit, *Nexus) []byte {
	i := slices.IndexFunc(vitalPages, func(p vitalPage) bool { return p.code == code })
	if i < 0 || vitalPages[i].needs&^lu.features != 0 {
		return nil
	}
	return func(lu *LogicalUnit, n *Nexus) []byte {
		data := vitalPages[i].data(lu, n)
		page := []byte{lu.deviceType(), code, 0, 0}
		binary.BigEndian.PutUint16(page[2:], uint16(len(data)))
		return append(page, data...)
	}
}

func supportedPages(lu *LogicalUnit, _ *Nexus) []byte {
	var codes []byte
	for _, p := range vitalPages {
		if p.needs&^lu.features == 0 {
			codes = append(codes, p.code)
		}
	}
	return codes
}

func unitSerialNumber(lu *LogicalUnit, _ *Nexus) []byte { return []byte(lu.serial()) }

// extendedInquiry is page 86h, SPC-4 section 7.8.7.
func extendedInquiry(*LogicalUnit, *Nexus) []byte {
	b := make([]byte, 60)
	b[5-4] = 0x07 // HEADSUP, ORDSUP, SIMPSUP
	b[6-4] = 0x01 // V_SUP: a volatile cache
	b[7-4] = 0x01 // LUICLR: unit attentions are cleared per I_T nexus
	return b
}

// Designator is a designation descriptor of VPD page 83h, SPC-4 section 7.8.6.
type Designator struct {
	CodeSet     uint8 // 1 binary, 2 ASCII, 3 UTF-8
	Association uint8 // 0 logical unit, 1 target port, 2 target device
	Type        uint8
	ID          string // the designator's bytes
}

// Designator types, and the protocol of those of ports.
const (
	designatorVendor     = 0x1
	designatorNAA        = 0x3
	designatorPort       = 0x4
	designatorPortGroup  = 0x5
	designatorName       = 0x8
	designatorUUID       = 0xa
	protocolISCSI        = 0x5
	designatorHeaderSize = 4
)

// Designators returns how the unit is called, whatever the port.
func (lu *LogicalUnit) Designators() []Designator {
	naa := lu.cfg.ID.naa()
	vendor := lu.cfg.Vendor + "        "[len(lu.cfg.Vendor):]
	return []Designator{
		{1, 0, designatorNAA, string(naa[:])},
		{2, 0, designatorVendor, vendor + hex.EncodeToString(lu.cfg.ID[:])},
		{1, 0, designatorUUID, "\x10\x00" + string(lu.cfg.ID[:])},
	}
}

func deviceIdentification(lu *LogicalUnit, n *Nexus) []byte {
	all := lu.Designators()
	if n != nil {
		port := n.cfg.Port
		all = append(all,
			Designator{1, 1, designatorPort, string([]byte{0, 0, byte(port.ID >> 8), byte(port.ID)})},
			Designator{1, 1, designatorPortGroup, string([]byte{0, 0, 0, targetPortGroup})},
			Designator{3, 1, designatorName, padName(port.Name)},
			Designator{3, 2, designatorName, padName(port.Target)},
		)
	}
	var list []byte
	for _, d := range all {
		header := [designatorHeaderSize]byte{d.CodeSet, d.Association<<4 | d.Type, 0, byte(len(d.ID))}
		if d.Association != 0 {
			header[0] |= protocolISCSI << 4
			header[1] |= 0x80 // PIV
		}
		list = append(list, header[:]...)
		list = append(list, d.ID...)
	}
	return list
}

// padName ends a SCSI name string with zeros to a multiple of four bytes, SPC-4 section 7.8.6.11, and to no
// more than a designator can hold.
func padName(name string) string {
	const longest = 251
	name = name[:min(len(name), longest)]
	return name + "\x00\x00\x00\x00"[len(name)%4:]
}
