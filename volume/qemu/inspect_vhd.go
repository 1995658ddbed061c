package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Microsoft's "Virtual Hard Disk Image Format Specification", version 1.0.
const (
	vhdFooterLen    = 512
	vhdDynamicLen   = 1024 // of the dynamic disk header
	vhdDynamicMagic = "cxsparse"
	vhdFixed        = 2
	vhdDynamic      = 3
	vhdDifferencing = 4
	vhdMaxGeometry  = 65535 * 16 * 255 // sectors: the geometry says no more, so it does not count
)

// vhdFooter is the footer that every VHD ends with, and that one of dynamic size begins with too.
type vhdFooter struct {
	kind    uint32
	data    uint64 // where the dynamic disk header is
	current uint64 // size in bytes
	chs     uint64 // size in sectors, by its geometry
	creator string // the application
}

// parseVHDFooter reads 512 bytes. ok is false if they are no footer.
func parseVHDFooter(b []byte) (f vhdFooter, ok bool) {
	if len(b) != vhdFooterLen || string(b[:8]) != vhdCookie {
		return f, false
	}
	be := binary.BigEndian
	if be.Uint32(b[64:]) != vhdChecksum(b, 64) {
		return f, false
	}
	return vhdFooter{
		kind: be.Uint32(b[60:]), data: be.Uint64(b[16:]), current: be.Uint64(b[48:]), creator: string(b[28:32]),
		chs: uint64(be.Uint16(b[56:])) * uint64(b[58]) * uint64(b[59]),
	}, true
}

// vhdChecksum is the complement of the sum of all bytes but those of the checksum at skip.
func vhdChecksum(b []byte, skip int) uint32 {
	var sum uint32
	for i, c := range b {
		if i < skip || i >= skip+4 {
			sum += uint32(c)
		}
	}
	return ^sum
}

// isFixedVHD reports whether the file ends with the footer of a VHD, which is all that makes one of fixed size.
func isFixedVHD(s *source) (bool, error) {
	if s.size < vhdFooterLen {
		return false, nil
	}
	b, err := s.at(s.size-vhdFooterLen, vhdFooterLen, "its end")
	if err != nil {
		return false, err
	}
	_, ok := parseVHDFooter(b)
	return ok, nil
}

// inspectVHD allows images of fixed and dynamic size that stand alone.
func inspectVHD(s *source) (Inspection, error) {
	b, err := s.at(s.size-min(s.size, vhdFooterLen), min(s.size, vhdFooterLen), "the VHD footer")
	if err != nil {
		return Inspection{}, err
	}
	footer, ok := parseVHDFooter(b)
	if !ok {
		return Inspection{}, truncatedError{"the VHD footer"}
	}
	first, err := s.at(0, vhdFooterLen, "the VHD header")
	if err != nil {
		return Inspection{}, err
	}
	header, dynamic := parseVHDFooter(first)
	// QEMU takes every image that begins with the cookie for a dynamic one, and reads one whose kind says otherwise
	// in two ways at once.
	if dynamic || bytes.HasPrefix(first, []byte(vhdCookie)) {
		if !dynamic || header != footer {
			return Inspection{}, errors.New("its header and its footer disagree")
		}
	}
	switch {
	case footer.kind == vhdDifferencing:
		return Inspection{}, errors.New("it is a differencing VHD, which has a parent: only images that stand alone are taken in")
	case dynamic && footer.kind != vhdDynamic, !dynamic && footer.kind != vhdFixed:
		return Inspection{}, fmt.Errorf("it is a VHD of type %d: fixed (2) and dynamic (3) are taken in", footer.kind)
	}
	sectors := footer.sectors()
	if sectors > math.MaxInt64/512 {
		return Inspection{}, fmt.Errorf("its virtual size is %d bytes, more than there can be", footer.current)
	}
	if !dynamic {
		if sectors*512 > uint64(s.size-vhdFooterLen) {
			return Inspection{}, truncatedError{"its data"}
		}
	} else if err := footer.checkDynamic(s, sectors); err != nil {
		return Inspection{}, err
	}
	return Inspection{VirtualSize: int64(sectors) * 512}, nil
}

// sectors returns the virtual size in sectors, as QEMU finds it: Virtual PC goes by the geometry, which rounds
// down; Hyper-V and some others by the size.
func (f vhdFooter) sectors() uint64 {
	switch f.creator {
	case "win ", "qem2", "d2v ", "tap\x00", "CTXS":
		return f.current / 512
	}
	if f.chs == vhdMaxGeometry {
		return f.current / 512
	}
	return f.chs
}

// checkDynamic reads the dynamic disk header.
func (f vhdFooter) checkDynamic(s *source, sectors uint64) error {
	if f.data > math.MaxInt64 {
		return truncatedError{"the VHD header"}
	}
	b, err := s.at(int64(f.data), vhdDynamicLen, "the VHD header")
	if err != nil {
		return err
	}
	be := binary.BigEndian
	table, entries, block := be.Uint64(b[16:]), be.Uint32(b[28:]), be.Uint32(b[32:])
	switch {
	case string(b[:8]) != vhdDynamicMagic || be.Uint32(b[36:]) != vhdChecksum(b, 36):
		return errors.New("its dynamic disk header is damaged")
	case !zeros(b[40:56]):
		return errors.New("it has a parent: only images that stand alone are taken in")
	case block < 512 || block&(block-1) != 0:
		return fmt.Errorf("its blocks have %d bytes, which is no power of two", block)
	case sectors > uint64(entries)*uint64(block)/512:
		return fmt.Errorf("its block table has %d entries, too few for its virtual size of %d bytes", entries, sectors*512)
	}
	return s.inside("its block table", table, uint64(entries), 4, vhdFooterLen)
}
