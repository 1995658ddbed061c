package qemu

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// QEMU's bounds for tables, and ours for snapshots: QEMU allows 65536, each of which costs it time and memory when
// it opens the image.
const (
	maxL1Bytes       = 32 << 20
	maxRefcountBytes = 8 << 20
	maxSnapshots     = 1024
	maxSnapshotExtra = 1024 // bytes of extra data of one snapshot
)

// inspectQCOW2 refuses what reaches out of the image or makes its reading uncertain. Compression with zstd and
// extended L2 entries are features that QEMU reads since 5.1 and 5.2. Snapshots inside the image are allowed when
// their table is in order: qemu-img convert copies the present state only.
func inspectQCOW2(s *source) (Inspection, error) {
	h, err := readQCOW2(s)
	if err != nil {
		return Inspection{}, err
	}
	if err := h.checkFeatures(); err != nil {
		return Inspection{}, err
	}
	if err := h.checkTables(s); err != nil {
		return Inspection{}, err
	}
	if err := h.checkSnapshots(s); err != nil {
		return Inspection{}, err
	}
	return Inspection{VirtualSize: h.VirtualSize, Snapshots: int(h.Snapshots)}, nil
}

func (h *QCOW2Header) checkFeatures() error {
	const extendedL2Clusters = 14 // smallest ClusterBits with them
	switch {
	case h.hasBacking || h.BackingFile != "":
		return fmt.Errorf("it has the backing file %.100q: only images that stand alone are taken in; flatten it with qemu-img convert", h.BackingFile)
	case h.Incompatible&IncompatibleDataFile != 0 || h.DataFile != "":
		return fmt.Errorf("its data is in an external file, %.100q: only images that hold their own data are taken in", h.DataFile)
	case h.CryptMethod != 0 || h.hasCrypto:
		return errors.New("it is encrypted: only images that are not are taken in")
	case h.Incompatible&IncompatibleCorrupt != 0:
		return errors.New("it is marked as corrupt: repair it with qemu-img check first")
	case h.Incompatible&IncompatibleDirty != 0:
		return errors.New("it is marked as dirty, for it was not closed in order: repair it with qemu-img check first")
	case h.Incompatible&^knownIncompatible != 0:
		return fmt.Errorf("it uses features of qcow2 that are not known here (bits %#x)", h.Incompatible&^knownIncompatible)
	case h.Incompatible&IncompatibleExtendedL2 != 0 && h.ClusterBits < extendedL2Clusters:
		return errors.New("its clusters are too small for its extended L2 entries")
	case h.Compression > 1:
		return fmt.Errorf("its compression %d is not known: zlib (0) and zstd (1) are", h.Compression)
	}
	return nil
}

// checkTables refuses tables that are misplaced, larger than QEMU takes, or too small for the virtual size.
func (h *QCOW2Header) checkTables(s *source) error {
	cluster := uint64(1) << h.ClusterBits
	switch {
	case h.refcountTables == 0 || uint64(h.refcountTables) > maxRefcountBytes>>h.ClusterBits:
		return fmt.Errorf("its reference count table has %d clusters: there may be 1 to %d", h.refcountTables, maxRefcountBytes>>h.ClusterBits)
	case uint64(h.l1Size)*8 > maxL1Bytes:
		return fmt.Errorf("its L1 table has %d entries: there may be %d", h.l1Size, maxL1Bytes/8)
	case uint64(h.l1Size) < h.l1Needed():
		return fmt.Errorf("its L1 table has %d entries, too few for its virtual size of %d bytes", h.l1Size, h.VirtualSize)
	case h.refcountOffset%cluster != 0 || h.l1Offset%cluster != 0 || h.Snapshots > 0 && h.snapshotOffset%cluster != 0:
		return errors.New("one of its tables does not begin where a cluster does")
	}
	if err := s.inside("its reference count table", h.refcountOffset, uint64(h.refcountTables), cluster, cluster); err != nil {
		return err
	}
	if h.l1Size == 0 {
		return nil
	}
	return s.inside("its L1 table", h.l1Offset, uint64(h.l1Size), 8, cluster)
}

// l1Needed returns the number of L1 entries that the virtual size takes.
func (h *QCOW2Header) l1Needed() uint64 {
	entry := uint32(3) // bits of the size of an L2 entry
	if h.Incompatible&IncompatibleExtendedL2 != 0 {
		entry = 4
	}
	covers := uint64(1) << (h.ClusterBits + h.ClusterBits - entry) // bytes by one L1 entry
	size := uint64(h.VirtualSize)
	return size/covers + min(size%covers, 1)
}

// checkSnapshots walks the snapshot table; docs/interop/qcow2.txt, section "Snapshots".
func (h *QCOW2Header) checkSnapshots(s *source) error {
	if h.Snapshots == 0 {
		return nil
	}
	if h.Snapshots > maxSnapshots {
		return fmt.Errorf("it has %d snapshots inside: at most %d are allowed", h.Snapshots, maxSnapshots)
	}
	const header = 40
	cluster := uint64(1) << h.ClusterBits
	if err := s.inside("its snapshot table", h.snapshotOffset, uint64(h.Snapshots), header, cluster); err != nil {
		return err
	}
	be := binary.BigEndian
	off := int64(h.snapshotOffset)
	for i := range h.Snapshots {
		b, err := s.at(off, header, "its snapshot table")
		if err != nil {
			return err
		}
		l1Offset, l1Size := be.Uint64(b), be.Uint32(b[8:])
		id, name, extra := be.Uint16(b[12:]), be.Uint16(b[14:]), be.Uint32(b[36:])
		switch {
		case extra > maxSnapshotExtra, h.Version == 3 && extra < 16:
			return fmt.Errorf("its snapshot %d has %d bytes of extra data: its snapshot table is damaged", i+1, extra)
		case l1Offset%cluster != 0 || uint64(l1Size)*8 > maxL1Bytes:
			return fmt.Errorf("the L1 table of its snapshot %d is not in order: its snapshot table is damaged", i+1)
		}
		if err := s.inside(fmt.Sprintf("the L1 table of its snapshot %d", i+1), l1Offset, uint64(l1Size), 8, cluster); err != nil {
			return err
		}
		entry := header + int64(extra) + int64(id) + int64(name)
		if entry > s.size-off {
			return truncatedError{"its snapshot table"}
		}
		off += (entry + 7) &^ 7
	}
	return nil
}
