package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// [MS-VHDX], "Virtual Hard Disk v2 (VHDX) File Format".
const (
	vhdxHeader1    = 64 << 10
	vhdxHeader2    = 128 << 10
	vhdxHeaderLen  = 4 << 10 // what its checksum covers
	vhdxRegions    = 192 << 10
	vhdxTableLen   = 64 << 10 // of the region table and of the metadata table
	vhdxMaxEntries = 2047
	vhdxFirst      = 1 << 20 // where regions begin at the earliest, and what they are aligned to
	vhdxMaxSize    = 64 << 40
	vhdxHasParent  = 1 << 1
	vhdxRequired   = 1 << 2
)

// GUIDs as they lie in the file.
const (
	vhdxBAT           = "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08"
	vhdxMetadata      = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"
	vhdxParameters    = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"
	vhdxDiskSize      = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"
	vhdxDiskID        = "\xab\x12\xca\xbe\xe6\xb2\x23\x45\x93\xef\xc3\x09\xe0\x00\xc7\x46"
	vhdxLogicalSector = "\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f"
	vhdxPhysSector    = "\xc7\x48\xa3\xcd\x5d\x44\x71\x44\x9c\xc9\xe9\x88\x52\x51\xc5\x56"
	vhdxParentLocator = "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c"
)

// errVHDX is what is said of structures that are not as they must be.
func errVHDX(what string) error { return fmt.Errorf("its VHDX %s is damaged", what) }

// inspectVHDX allows images that stand alone and whose log is empty: one that is not holds changes that were
// not yet made.
func inspectVHDX(s *source) (Inspection, error) {
	header, err := currentVHDXHeader(s)
	if err != nil {
		return Inspection{}, err
	}
	if !zeros(header[48:64]) {
		return Inspection{}, errors.New("it was not closed in order, its log is not empty: open and close it where it comes from")
	}
	table, err := s.at(vhdxRegions, vhdxTableLen, "the VHDX region table")
	if err != nil {
		return Inspection{}, err
	}
	bat, metadata, err := parseVHDXRegions(table)
	if err != nil {
		return Inspection{}, err
	}
	for _, r := range []vhdxRegion{bat, metadata} {
		if err := s.inside("a region of it", r.offset, uint64(r.length), 1, vhdxFirst); err != nil {
			return Inspection{}, err
		}
	}
	if metadata.length < vhdxTableLen {
		return Inspection{}, errVHDX("metadata")
	}
	table, err = s.at(int64(metadata.offset), vhdxTableLen, "the VHDX metadata")
	if err != nil {
		return Inspection{}, err
	}
	items, err := parseVHDXMetadata(table)
	if err != nil {
		return Inspection{}, err
	}
	return items.read(s, metadata, bat)
}

// currentVHDXHeader returns the header that counts: of those that are whole, the one with the higher sequence number.
func currentVHDXHeader(s *source) ([]byte, error) {
	var current []byte
	var sequence uint64
	for _, off := range []int64{vhdxHeader1, vhdxHeader2} {
		b, err := s.at(off, vhdxHeaderLen, "the VHDX header")
		if err != nil {
			return nil, err
		}
		le := binary.LittleEndian
		if string(b[:4]) != "head" || le.Uint16(b[66:]) != 1 || !vhdxWhole(b) {
			continue
		}
		n := le.Uint64(b[8:])
		if current != nil && n == sequence && !bytes.Equal(b, current) {
			return nil, errVHDX("header")
		}
		if current == nil || n > sequence {
			current, sequence = b, n
		}
	}
	if current == nil {
		return nil, errVHDX("header")
	}
	return current, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// vhdxWhole checks the checksum in bytes 4 to 7.
func vhdxWhole(b []byte) bool { return vhdxSum(b) == binary.LittleEndian.Uint32(b[4:]) }

// vhdxSum is the CRC-32C of b, whose bytes 4 to 7 count as zeros.
func vhdxSum(b []byte) uint32 {
	sum := crc32.Update(0, castagnoli, b[:4])
	sum = crc32.Update(sum, castagnoli, make([]byte, 4))
	return crc32.Update(sum, castagnoli, b[8:])
}

// vhdxRegion is a part of the file.
type vhdxRegion struct {
	offset uint64
	length uint32
}

// parseVHDXRegions reads the region table; section 2.2.3.
func parseVHDXRegions(b []byte) (bat, metadata vhdxRegion, err error) {
	le := binary.LittleEndian
	if string(b[:4]) != "regi" || !vhdxWhole(b) {
		return bat, metadata, errVHDX("region table")
	}
	count := le.Uint32(b[8:])
	if count > vhdxMaxEntries {
		return bat, metadata, errVHDX("region table")
	}
	for i := range int(count) {
		e := b[16+32*i:][:32]
		r := vhdxRegion{le.Uint64(e[16:]), le.Uint32(e[24:])}
		into := &bat
		switch string(e[:16]) {
		case vhdxBAT:
		case vhdxMetadata:
			into = &metadata
		default:
			if le.Uint32(e[28:])&1 != 0 {
				return bat, metadata, errors.New("it has a region that is not known here and may not be passed over")
			}
			continue
		}
		if into.length != 0 || r.length == 0 || r.offset%vhdxFirst != 0 {
			return bat, metadata, errVHDX("region table")
		}
		*into = r
	}
	if bat.length == 0 || metadata.length == 0 {
		return bat, metadata, errVHDX("region table")
	}
	return bat, metadata, nil
}

// vhdxItems say where the items of metadata lie in their region.
type vhdxItems map[string]vhdxRegion

// vhdxNeeded are the items that every image has, and their lengths in bytes.
var vhdxNeeded = map[string]uint32{vhdxParameters: 8, vhdxDiskSize: 8, vhdxDiskID: 16, vhdxLogicalSector: 4, vhdxPhysSector: 4}

// parseVHDXMetadata reads the metadata table; section 2.6.1.
func parseVHDXMetadata(b []byte) (vhdxItems, error) {
	le := binary.LittleEndian
	count := le.Uint16(b[10:])
	if string(b[:8]) != "metadata" || count > vhdxMaxEntries {
		return nil, errVHDX("metadata")
	}
	items := vhdxItems{}
	for i := range int(count) {
		e := b[32+32*i:][:32]
		id := string(e[:16])
		if id == vhdxParentLocator {
			return nil, errors.New("it has a parent: only images that stand alone are taken in")
		}
		if vhdxNeeded[id] == 0 {
			if le.Uint32(e[24:])&vhdxRequired != 0 {
				return nil, errors.New("it has metadata that is not known here and may not be passed over")
			}
			continue
		}
		if _, twice := items[id]; twice {
			return nil, errVHDX("metadata")
		}
		items[id] = vhdxRegion{uint64(le.Uint32(e[16:])), le.Uint32(e[20:])}
	}
	for id, length := range vhdxNeeded {
		if items[id].length < length || items[id].offset < vhdxTableLen {
			return nil, errVHDX("metadata")
		}
	}
	return items, nil
}

// read reads the items.
func (items vhdxItems) read(s *source, metadata, bat vhdxRegion) (in Inspection, err error) {
	values := map[string][]byte{}
	for id, length := range vhdxNeeded {
		r := items[id]
		if r.offset+uint64(r.length) > uint64(metadata.length) {
			return in, errVHDX("metadata")
		}
		values[id], err = s.at(int64(metadata.offset+r.offset), int64(length), "the VHDX metadata")
		if err != nil {
			return in, err
		}
	}
	le := binary.LittleEndian
	block, flags := le.Uint32(values[vhdxParameters]), le.Uint32(values[vhdxParameters][4:])
	size, sector := le.Uint64(values[vhdxDiskSize]), le.Uint32(values[vhdxLogicalSector])
	switch {
	case flags&vhdxHasParent != 0:
		return in, errors.New("it has a parent: only images that stand alone are taken in")
	case block < 1<<20 || block > 256<<20 || block&(block-1) != 0:
		return in, fmt.Errorf("its blocks have %d bytes: powers of two from 1 MiB to 256 MiB are known", block)
	case sector != 512 && sector != 4096:
		return in, fmt.Errorf("its sectors have %d bytes: 512 and 4096 are known", sector)
	case size > vhdxMaxSize:
		return in, fmt.Errorf("its virtual size is %d bytes: VHDX allows %d", size, int64(vhdxMaxSize))
	case size%uint64(sector) != 0:
		return in, fmt.Errorf("its virtual size is %d bytes, which is not a multiple of its sectors of %d", size, sector)
	}
	// One entry for each block, and one for each chunk of 2^23 sectors but the last; section 2.5.
	blocks := (size + uint64(block) - 1) / uint64(block)
	chunk := uint64(1<<23) * uint64(sector) / uint64(block)
	if blocks > 0 && (blocks+(blocks-1)/chunk)*8 > uint64(bat.length) {
		return in, errVHDX("block table")
	}
	return Inspection{VirtualSize: int64(size)}, nil
}
