package qemu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"elstore/volume/fault"
)

// QCOW2Header is what the header of a qcow2 image says; QEMU's docs/interop/qcow2.txt, section "Header".
type QCOW2Header struct {
	Version        uint32 // 2 or 3
	VirtualSize    int64  // bytes
	ClusterBits    uint32 // 9 to 21; a cluster has 1 << ClusterBits bytes
	CryptMethod    uint32 // 0 is none
	RefcountOrder  uint32 // a reference count has 1 << RefcountOrder bits; at most 6
	Incompatible   uint64 // feature bits: with an unknown one the image can't be read
	Compatible     uint64 // feature bits that may be ignored
	Autoclear      uint64 // feature bits that whoever writes without knowing them clears
	Compression    uint8  // 0 zlib, 1 zstd
	BackingFile    string // as the image names it, or ""
	BackingFormat  string // as the image names it, or "": then QEMU would guess
	DataFile       string // as the image names it, or ""
	Snapshots      uint32 // how many there are in the image
	length         uint32 // of the header
	hasBacking     bool   // a place for its name is given, perhaps with no name
	hasCrypto      bool   // the extension for LUKS is there
	l1Size         uint32 // entries
	l1Offset       uint64
	refcountOffset uint64
	refcountTables uint32 // clusters
	snapshotOffset uint64
}

// The incompatible feature bits of a qcow2 image.
const (
	IncompatibleDirty       uint64 = 1 << 0 // reference counts may be wrong
	IncompatibleCorrupt     uint64 = 1 << 1 // anything may be wrong
	IncompatibleDataFile    uint64 = 1 << 2 // the data is in an external file
	IncompatibleCompression uint64 = 1 << 3 // compressed otherwise than with zlib
	IncompatibleExtendedL2  uint64 = 1 << 4 // clusters are allocated in 32 parts
	knownIncompatible              = IncompatibleDirty | IncompatibleCorrupt | IncompatibleDataFile | IncompatibleCompression | IncompatibleExtendedL2
)

const (
	qcow2Magic     = 0x514649fb
	qcow2V2Length  = 72
	qcow2V3Length  = 104 // at least
	minClusterBits = 9
	maxClusterBits = 21 // QEMU's bound
	maxRefcount    = 6

	extEnd           = 0
	extBackingFormat = 0xe2792aca
	extCrypto        = 0x0537be77
	extDataFile      = 0x44415441
)

// maxExtensions is how far into the file header extensions may reach. QEMU writes less than 1 KiB of them.
const maxExtensions = 64 << 10

// Header reads the header of a qcow2 image, without a process and, of what QEMU writes, with one read of 4 KiB.
// It checks that the header is one, not that the image is safe or whole. An image that it can't make out is a
// fault of code VolumeDamaged.
func Header(r io.ReaderAt) (QCOW2Header, error) {
	h, err := readQCOW2(newSource(r, math.MaxInt64))
	if err == nil {
		return h, nil
	}
	if e, ok := errors.AsType[readError](err); ok {
		return QCOW2Header{}, fault.FromOS("read the header of a qcow2 image", e.err)
	}
	return QCOW2Header{}, fault.Errorf(fault.VolumeDamaged, "the qcow2 image can't be read: %w", err)
}

// readQCOW2 reads a header. Its error completes "the image can't be read:".
func readQCOW2(s *source) (h QCOW2Header, err error) {
	b, err := s.at(0, qcow2V2Length, "the qcow2 header")
	if err != nil {
		return h, err
	}
	be := binary.BigEndian
	if be.Uint32(b) != qcow2Magic {
		return h, errors.New("it does not begin as a qcow2 image does")
	}
	if h.Version = be.Uint32(b[4:]); h.Version != 2 && h.Version != 3 {
		return h, fmt.Errorf("its version of qcow2 is %d: 2 and 3 are known", h.Version)
	}
	backingOffset, backingSize := be.Uint64(b[8:]), be.Uint32(b[16:])
	h.ClusterBits = be.Uint32(b[20:])
	size := be.Uint64(b[24:])
	h.CryptMethod = be.Uint32(b[32:])
	h.l1Size = be.Uint32(b[36:])
	h.l1Offset = be.Uint64(b[40:])
	h.refcountOffset = be.Uint64(b[48:])
	h.refcountTables = be.Uint32(b[56:])
	h.Snapshots = be.Uint32(b[60:])
	h.snapshotOffset = be.Uint64(b[64:])
	h.length, h.RefcountOrder = qcow2V2Length, 4

	if h.ClusterBits < minClusterBits || h.ClusterBits > maxClusterBits {
		return h, fmt.Errorf("its clusters have 2^%d bytes: 2^%d to 2^%d are known", h.ClusterBits, minClusterBits, maxClusterBits)
	}
	if size > math.MaxInt64 {
		return h, fmt.Errorf("its virtual size is %d bytes, more than there can be", size)
	}
	h.VirtualSize = int64(size)
	if h.Version == 3 {
		if err := h.readVersion3(s); err != nil {
			return h, err
		}
	}
	end := uint64(1) << h.ClusterBits
	if backingOffset != 0 {
		if err := h.readBacking(s, backingOffset, backingSize); err != nil {
			return h, err
		}
		end = backingOffset
	}
	return h, h.readExtensions(s, int64(end))
}

// readVersion3 reads the fields that version 3 added.
func (h *QCOW2Header) readVersion3(s *source) error {
	b, err := s.at(0, qcow2V3Length, "the qcow2 header")
	if err != nil {
		return err
	}
	be := binary.BigEndian
	h.Incompatible = be.Uint64(b[72:])
	h.Compatible = be.Uint64(b[80:])
	h.Autoclear = be.Uint64(b[88:])
	h.RefcountOrder = be.Uint32(b[96:])
	h.length = be.Uint32(b[100:])
	if h.length < qcow2V3Length || h.length > 1<<h.ClusterBits || h.length%8 != 0 || h.length > maxExtensions {
		return fmt.Errorf("its header is said to be %d bytes long", h.length)
	}
	if h.RefcountOrder > maxRefcount {
		return fmt.Errorf("its reference counts have 2^%d bits: 2^%d is the most", h.RefcountOrder, maxRefcount)
	}
	if h.length > qcow2V3Length { // byte 104: compression type
		if b, err = s.at(0, qcow2V3Length+1, "the qcow2 header"); err != nil {
			return err
		}
		h.Compression = b[qcow2V3Length]
	}
	if named := h.Incompatible&IncompatibleCompression != 0; named != (h.Compression != 0) {
		return errors.New("its header contradicts itself about the compression")
	}
	return nil
}

// readBacking reads the backing file's name, which lies in the first cluster.
func (h *QCOW2Header) readBacking(s *source, offset uint64, size uint32) (err error) {
	h.hasBacking = true
	cluster := uint64(1) << h.ClusterBits
	if size > maxBacking || offset < uint64(h.length) || offset > cluster || uint64(size) > cluster-offset {
		return errors.New("the place of its backing file's name is outside the first cluster")
	}
	name, err := s.at(int64(offset), int64(size), "the backing file's name")
	h.BackingFile = string(name)
	return err
}

// readExtensions reads the header extensions, which end with one of type 0 or at end, where QEMU stops too.
func (h *QCOW2Header) readExtensions(s *source, end int64) error {
	for off := int64(h.length); end-off >= 8; {
		if off > maxExtensions {
			return fmt.Errorf("its header extensions take more than %d bytes", maxExtensions)
		}
		head, err := s.at(off, 8, "the header extensions")
		if err != nil {
			return err
		}
		kind, n := binary.BigEndian.Uint32(head), int64(binary.BigEndian.Uint32(head[4:]))
		off += 8
		if kind == extEnd {
			return nil
		}
		if n > end-off {
			return errors.New("a header extension is longer than its place")
		}
		if err := h.readExtension(s, kind, off, n); err != nil {
			return err
		}
		off += (n + 7) &^ 7
	}
	return nil
}

func (h *QCOW2Header) readExtension(s *source, kind uint32, off, n int64) error {
	switch kind {
	case extCrypto:
		h.hasCrypto = true
	case extBackingFormat, extDataFile:
		if n > maxBacking {
			return errors.New("a name in its header extensions is too long")
		}
		name, err := s.at(off, n, "the header extensions")
		if err != nil {
			return err
		}
		if kind == extBackingFormat {
			h.BackingFormat = string(name)
		} else {
			h.DataFile = string(name)
		}
	}
	return nil
}
