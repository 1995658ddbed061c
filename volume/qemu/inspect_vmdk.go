package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// What an image in VMware's format begins with: "Virtual Disk Format 5.0", section "Hosted Sparse Extents".
const (
	vmdkFlagRedundant  = 1 << 1
	vmdkAtEnd          = math.MaxUint64 // grain directory offset: the header at the end says where
	vmdkFooterMarker   = 3
	vmdkDescriptorAt   = 512       // QEMU looks for the parent's name here, whatever the header says
	vmdkDescriptorRead = 20 * 512  // and as far as this
	vmdkMaxDescriptor  = 64 << 10  // bytes
	vmdkMaxGrain       = 128 << 10 // sectors, 64 MiB
	vmdkMaxDirectory   = 32 << 20  // entries; QEMU's bound
)

// vmdkHeader is a sparse extent's header.
type vmdkHeader struct {
	version, flags, tableEntries                     uint32
	capacity, grain, descriptorAt, descriptorSectors uint64 // in sectors
	redundant, directory                             uint64 // in sectors
	unclean                                          bool
	compression                                      uint16
}

// inspectVMDK allows the two forms that hold everything in one file: monolithicSparse and streamOptimized. QEMU
// follows the extents of a descriptor in a file of its own, and where the header's capacity is 0; and a parent's
// name wherever it stands in the descriptor.
func inspectVMDK(s *source) (Inspection, error) {
	h, err := readVMDK(s, 0)
	if err != nil {
		return Inspection{}, err
	}
	if err := checkDescriptor(s, h); err != nil {
		return Inspection{}, err
	}
	if h.directory == vmdkAtEnd {
		end, err := readVMDKFooter(s)
		if err != nil {
			return Inspection{}, err
		}
		if end.capacity != h.capacity {
			return Inspection{}, errors.New("its header and its footer disagree about its size")
		}
		h = end
	}
	if err := h.check(s); err != nil {
		return Inspection{}, err
	}
	if h.capacity > math.MaxInt64/512 {
		return Inspection{}, fmt.Errorf("its virtual size is %d sectors, more than there can be", h.capacity)
	}
	return Inspection{VirtualSize: int64(h.capacity) * 512}, nil
}

// readVMDK reads the header at off.
func readVMDK(s *source, off int64) (h vmdkHeader, err error) {
	b, err := s.at(off, min(512, s.size-off), "the VMDK header")
	if err != nil {
		return h, err
	}
	if string(b[:min(4, len(b))]) != "KDMV" {
		return h, errors.New("it names its data in other files or is of a kind for ESX servers: only VMDK images in one file are taken in (monolithicSparse, streamOptimized)")
	}
	if len(b) < 512 {
		return h, truncatedError{"the VMDK header"}
	}
	le := binary.LittleEndian
	h = vmdkHeader{
		version: le.Uint32(b[4:]), flags: le.Uint32(b[8:]), capacity: le.Uint64(b[12:]), grain: le.Uint64(b[20:]),
		descriptorAt: le.Uint64(b[28:]), descriptorSectors: le.Uint64(b[36:]), tableEntries: le.Uint32(b[44:]),
		redundant: le.Uint64(b[48:]), directory: le.Uint64(b[56:]), unclean: b[72] != 0, compression: le.Uint16(b[77:]),
	}
	switch {
	case h.version < 1 || h.version > 3:
		return h, fmt.Errorf("its version of VMDK is %d: 1 to 3 are known", h.version)
	case string(b[73:77]) != "\n \r\n":
		return h, errors.New("its line ends were changed: it was transferred as a text")
	case h.unclean:
		return h, errors.New("it was not closed in order: open and close it where it comes from")
	case h.capacity == 0:
		return h, errors.New("its virtual size is 0 bytes")
	case h.compression > 1:
		return h, fmt.Errorf("its compression %d is not known", h.compression)
	}
	return h, nil
}

// readVMDKFooter reads the header at the end of a stream-optimized image, which counts: a marker, the header
// and the end-of-stream marker, a sector each.
func readVMDKFooter(s *source) (h vmdkHeader, err error) {
	if s.size%512 != 0 {
		return h, truncatedError{"the VMDK footer"}
	}
	off := s.size - 3*512
	b, err := s.at(off, 3*512, "the VMDK footer")
	if err != nil {
		return h, err
	}
	le := binary.LittleEndian
	if le.Uint32(b[8:]) != 0 || le.Uint32(b[12:]) != vmdkFooterMarker || !zeros(b[1024:1024+16]) {
		return h, truncatedError{"the VMDK footer"}
	}
	h, err = readVMDK(s, off+512)
	if err == nil && h.directory == vmdkAtEnd {
		err = errors.New("its footer does not say where its tables are")
	}
	return h, err
}

// check refuses tables that are misplaced or larger than QEMU takes.
func (h vmdkHeader) check(s *source) error {
	if h.grain == 0 || h.grain&(h.grain-1) != 0 || h.grain > vmdkMaxGrain || h.tableEntries == 0 || h.tableEntries > 512 {
		return fmt.Errorf("its grains of %d sectors in tables of %d are not in order", h.grain, h.tableEntries)
	}
	covers := h.grain * uint64(h.tableEntries)
	entries := h.capacity/covers + min(h.capacity%covers, 1)
	if entries > vmdkMaxDirectory {
		return fmt.Errorf("its grain directory has %d entries: there may be %d", entries, vmdkMaxDirectory)
	}
	directories := []uint64{h.directory}
	if h.flags&vmdkFlagRedundant != 0 {
		directories = append(directories, h.redundant)
	}
	for _, d := range directories {
		if d > math.MaxUint64/512 {
			return truncatedError{"its grain directory"}
		}
		if err := s.inside("its grain directory", d*512, entries, 4, 512); err != nil {
			return err
		}
	}
	return nil
}

// checkDescriptor refuses an embedded descriptor that names anything but the image itself.
func checkDescriptor(s *source, h vmdkHeader) error {
	if h.descriptorAt != vmdkDescriptorAt/512 || h.descriptorSectors == 0 || h.descriptorSectors > vmdkMaxDescriptor/512 {
		return errors.New("it has no descriptor in its second sector: only VMDK images in one file are taken in (monolithicSparse, streamOptimized)")
	}
	n := max(int64(h.descriptorSectors)*512, vmdkDescriptorRead)
	b, err := s.at(vmdkDescriptorAt, min(n, s.size-vmdkDescriptorAt), "the VMDK descriptor")
	if err != nil {
		return err
	}
	if bytes.Contains(bytes.ToLower(b), []byte("parentfilenamehint")) {
		return errors.New("it has a parent: only images that stand alone are taken in")
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return checkDescriptorText(string(b))
}

// checkDescriptorText reads a descriptor; "Virtual Disk Format 5.0", section "The Descriptor File".
func checkDescriptorText(text string) error {
	extents := 0
	seen := map[string]string{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if isExtent(fields) {
			if extents++; extents > 1 {
				return errors.New("it has several extents: only VMDK images in one file are taken in (monolithicSparse, streamOptimized)")
			}
			if err := checkExtent(fields); err != nil {
				return err
			}
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok {
			key = strings.ToLower(strings.TrimSpace(key))
			if _, twice := seen[key]; twice && (key == "parentcid" || key == "createtype") {
				return fmt.Errorf("its descriptor says %s twice", key)
			}
			seen[key] = strings.ToLower(strings.Trim(strings.TrimSpace(value), `"`))
		}
	}
	switch {
	case seen["parentcid"] != "ffffffff":
		return errors.New("it has a parent: only images that stand alone are taken in")
	case seen["createtype"] != "monolithicsparse" && seen["createtype"] != "streamoptimized":
		return fmt.Errorf("it is a VMDK image of the kind %.40q: monolithicSparse and streamOptimized are taken in", seen["createtype"])
	case extents != 1:
		return errors.New("its descriptor names no extent")
	}
	return nil
}

// isExtent reports whether a line of a descriptor describes an extent: access, size, type and name.
func isExtent(fields []string) bool {
	return fields[0] == "RW" || fields[0] == "RDONLY" || fields[0] == "NOACCESS"
}

// checkExtent allows the image itself: it bears the name that it had once.
func checkExtent(fields []string) error {
	if len(fields) < 4 || fields[2] != "SPARSE" {
		return errors.New("its extent is not in the image itself: only VMDK images in one file are taken in (monolithicSparse, streamOptimized)")
	}
	if name := strings.Trim(strings.Join(fields[3:], " "), `"`); name == "" || strings.ContainsAny(name, `/\:"`) {
		return fmt.Errorf("its extent names another file, %.100q: only VMDK images in one file are taken in", name)
	}
	return nil
}

// zeros reports whether b holds nothing else.
func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
