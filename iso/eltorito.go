package iso

import "encoding/binary"

// Boot is an entry of the El Torito boot catalog.
type Boot struct {
	Platform  Platform `json:"platform"`
	Bootable  bool     `json:"bootable"`
	Emulation string   `json:"emulation"` // none, floppy or harddisk
	Offset    int64    `json:"offset"`    // of the boot image, in bytes
	Size      int64    `json:"size"`      // that the firmware loads, in bytes; for EFI 0 or 512 can mean up to the end
}

// Platform is for which firmware a boot entry is.
type Platform string

// The platforms of El Torito (section 2.1) and UEFI (section 13.3.2.1).
const (
	BIOS  Platform = "bios"
	PPC   Platform = "ppc"
	Mac   Platform = "mac"
	UEFI  Platform = "uefi"
	Other Platform = "other"
)

func platform(id byte) Platform {
	switch id {
	case 0:
		return BIOS
	case 1:
		return PPC
	case 2:
		return Mac
	case 0xef:
		return UEFI
	}
	return Other
}

const (
	torito        = "EL TORITO SPECIFICATION"
	atCatalog     = 0x47 // of the catalog's block number in the boot record (El Torito, figure 7)
	catalogEntry  = 32
	maxCatalog    = 64 // entries that are looked at: two sectors
	sectionHeader = 0x90
	lastHeader    = 0x91
	extension     = 0x44
	bootable      = 0x88
)

// readBoot reads the boot catalog (El Torito section 2.0) that a boot record names. A boot record of something else is none.
func (im *Image) readBoot(descriptor []byte) ([]Boot, error) {
	if text(descriptor[7:39]) != torito {
		return nil, nil
	}
	off := int64(binary.LittleEndian.Uint32(descriptor[atCatalog:])) * Sector
	if off >= im.fileSize {
		return nil, refuse("its boot catalog lies at byte %d, and it has only %d", off, im.fileSize)
	}
	catalog, err := im.read(off, min(maxCatalog*catalogEntry, im.fileSize-off))
	if err != nil {
		return nil, err
	}
	list, err := parseCatalog(catalog)
	if err != nil {
		return nil, err
	}
	for _, b := range list {
		if b.Offset >= im.fileSize {
			return nil, refuse("a boot image lies at byte %d, and it has only %d", b.Offset, im.fileSize)
		}
	}
	return list, nil
}

// parseCatalog reads the entries of a boot catalog. Pure.
func parseCatalog(b []byte) ([]Boot, error) {
	if len(b) < 2*catalogEntry || b[0] != 1 || b[30] != 0x55 || b[31] != 0xaa {
		return nil, refuse("its boot catalog does not begin with a validation entry")
	}
	var sum uint16
	for i := 0; i < catalogEntry; i += 2 {
		sum += binary.LittleEndian.Uint16(b[i:])
	}
	if sum != 0 {
		return nil, refuse("its boot catalog's checksum is wrong")
	}
	list := []Boot{entryOf(b[catalogEntry:], platform(b[1]))}
	at := 2 * catalogEntry
	for at+catalogEntry <= len(b) && (b[at] == sectionHeader || b[at] == lastHeader) {
		last, of, count := b[at] == lastHeader, platform(b[at+1]), int(binary.LittleEndian.Uint16(b[at+2:]))
		at += catalogEntry
		for ; count > 0 && at+catalogEntry <= len(b); at += catalogEntry {
			if b[at] == extension {
				continue
			}
			list = append(list, entryOf(b[at:], of))
			count--
		}
		if last {
			break
		}
	}
	return list, nil
}

func entryOf(e []byte, of Platform) Boot {
	emulation := "none"
	switch e[1] & 0xf {
	case 0:
	case 4:
		emulation = "harddisk"
	default:
		emulation = "floppy"
	}
	return Boot{
		Platform: of, Bootable: e[0] == bootable, Emulation: emulation,
		Size: int64(binary.LittleEndian.Uint16(e[6:])) * 512, Offset: int64(binary.LittleEndian.Uint32(e[8:])) * Sector,
	}
}
