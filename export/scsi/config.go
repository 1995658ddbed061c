package scsi

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
)

// ID is the identity of a volume. It makes the serial number and the world wide name.
type ID [16]byte

// Config says what a logical unit is. Zero values have the meaning that is written beside them.
type Config struct {
	Device Device // the medium
	ID     ID     // identity; two units with the same are taken for the same by every initiator

	Vendor   string // T10 vendor identification, at most 8 printable ASCII characters; empty is ELSTORE
	Product  string // product identification, at most 16; empty is VIRTUAL DISK or VIRTUAL CD-ROM
	Revision string // product revision level, at most 4; empty is 1

	BlockSize        int   // bytes of a logical block, 512, 1024, 2048 or 4096; 0 is 512, and 2048 on a CD-ROM
	PhysicalExponent uint8 // logical blocks per physical block as a power of two, at most 7

	ReadOnly  bool // every command that would change the medium gets DATA PROTECT
	Thin      bool // logical block provisioning: UNMAP is offered, zeros take no storage
	NoUnmap   bool // a thin unit unmaps by WRITE SAME alone: UNMAP is not offered
	Removable bool // the medium can be ejected
	CDROM     bool // an MMC unit: blocks of 2048 bytes, read-only, removable

	Limits Limits // what one command may ask for

	// Reservations keeps persistent reservations. Without it they last as long as the LogicalUnit, and
	// APTPL is refused.
	Reservations ReservationStore

	Counters Counters     // counts every command of the unit; nil counts nothing
	Log      *slog.Logger // nil logs nothing
}

// Limits bounds what one command may ask for. Initiators read them in the block limits page.
type Limits struct {
	TransferLength   uint32 // blocks of a READ or WRITE; 0 is 32 MiB
	OptimalTransfer  uint32 // blocks from which on nothing gets faster; 0 is 1 MiB
	UnmapBlocks      uint32 // blocks of one UNMAP; 0 is 1 Mi
	UnmapDescriptors uint32 // block descriptors of one UNMAP; 0 is 256
	WriteSameLength  uint32 // blocks of one WRITE SAME; 0 is 1 Mi
	CompareAndWrite  uint8  // blocks of one COMPARE AND WRITE; 0 is 255
	UnmapGranularity uint32 // blocks whose storage is given back together; 0 is 4096 bytes
	Registrations    int    // persistent reservation registrations; 0 is 1024
}

const (
	defaultVendor  = "ELSTORE"
	defaultProduct = "VIRTUAL DISK"
	defaultCDROM   = "VIRTUAL CD-ROM"
	cdBlockSize    = 2048
)

// withDefaults returns c with its zero values replaced, or an error that names what is not allowed.
func (c Config) withDefaults() (Config, error) {
	if c.Device == nil {
		return c, errors.New("a logical unit needs a device")
	}
	if c.CDROM {
		c.ReadOnly, c.Removable, c.Thin = true, true, false
		c.BlockSize = orDefault(c.BlockSize, cdBlockSize)
		c.Product = orDefault(c.Product, defaultCDROM)
		if c.BlockSize != cdBlockSize {
			return c, fmt.Errorf("a CD-ROM has blocks of %d bytes, not of %d", cdBlockSize, c.BlockSize)
		}
	}
	c.Vendor = orDefault(c.Vendor, defaultVendor)
	c.Product = orDefault(c.Product, defaultProduct)
	c.Revision = orDefault(c.Revision, "1")
	c.BlockSize = orDefault(c.BlockSize, 512)
	switch c.BlockSize {
	case 512, 1024, 2048, 4096:
	default:
		return c, fmt.Errorf("a logical block can have 512, 1024, 2048 or 4096 bytes, not %d", c.BlockSize)
	}
	if c.PhysicalExponent > 7 {
		return c, fmt.Errorf("2^%d logical blocks per physical block are too many: at most 2^7", c.PhysicalExponent)
	}
	for _, field := range []struct {
		name, value string
		size        int
	}{{"vendor", c.Vendor, 8}, {"product", c.Product, 16}, {"revision", c.Revision, 4}} {
		if !isPrintable(field.value) || len(field.value) > field.size {
			return c, fmt.Errorf("the %s %q is not at most %d printable ASCII characters", field.name, field.value, field.size)
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.withDefaults(uint32(c.BlockSize))
	return c, nil
}

func (l Limits) withDefaults(blockSize uint32) Limits {
	l.TransferLength = orDefault(l.TransferLength, 32<<20/blockSize)
	l.OptimalTransfer = orDefault(l.OptimalTransfer, min(1<<20/blockSize, l.TransferLength))
	l.UnmapBlocks = orDefault(l.UnmapBlocks, 1<<20)
	l.UnmapDescriptors = orDefault(l.UnmapDescriptors, 256)
	l.WriteSameLength = orDefault(l.WriteSameLength, 1<<20)
	l.CompareAndWrite = orDefault(l.CompareAndWrite, 255)
	l.UnmapGranularity = orDefault(l.UnmapGranularity, max(4096/blockSize, 1))
	l.Registrations = orDefault(l.Registrations, 1024)
	return l
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// isPrintable reports whether s is all ASCII data, SPC-4 section 4.4.1.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// naa returns the world wide name: NAA 3h, locally assigned, SPC-4 section 7.8.6.6.4. We own no IEEE company
// id, so its 60 bits are the beginning of the id's SHA-256: ids made by hand differ in a few bits only.
func (id ID) naa() [8]byte {
	sum := sha256.Sum256(id[:])
	var name [8]byte
	binary.BigEndian.PutUint64(name[:], 3<<60|binary.BigEndian.Uint64(sum[:])>>4)
	return name
}
