package guest

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// bootSector is the code of a master boot record, which starts the active partition.
const bootSector = "/usr/lib/syslinux/mbr/mbr.bin"

// The disk: a FAT file system with the loader, the kernel and the initial file system, and a partition to write to.
const (
	DiskSize = 128 << 20 // bytes
	DataDisk = "vda2"    // the partition to write to, of 95 MiB, where the disk is virtio's first

	sectorSize  = 512
	bootStart   = 2048    // sectors
	bootSectors = 1 << 16 // 32 MiB
	dataStart   = bootStart + bootSectors
)

// Types of a partition.
const (
	typeFAT16LBA = 0x0e
	typeLinux    = 0x83
)

// Disk returns the path of a raw image, which is DiskSize long and mostly a hole, of a disk that a PC boots from. It
// is not to be written to: it is every test's.
func Disk(t testing.TB) string {
	t.Helper()
	Need(t)
	img, err := imageOnce()
	if err != nil {
		t.Fatal(err)
	}
	return img.disk
}

// disk is what a disk that a PC boots from is made of.
type disk struct {
	kernel, initrd string // paths of a bzImage and an initial file system
	arguments      string // the kernel's
	size           int64  // bytes
}

// makeDisk makes the disk at path. Its second partition is empty.
func makeDisk(path string, d disk) error {
	code, err := os.ReadFile(bootSector)
	if err != nil {
		return err
	}
	record, err := masterBootRecord(code, d.size)
	if err != nil {
		return fmt.Errorf("%s: %w", bootSector, err)
	}
	if err := os.WriteFile(path, record, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(path, d.size); err != nil {
		return err
	}
	config := filepath.Join(filepath.Dir(path), "syslinux.cfg")
	text := "DEFAULT linux\nLABEL linux\n\tKERNEL linux\n\tINITRD initrd\n\tAPPEND " + d.arguments + "\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	system := fmt.Sprintf("%s@@%d", path, bootStart*sectorSize)
	for _, command := range [][]string{
		{"mformat", "-i", system, "-T", fmt.Sprint(bootSectors), "-h", "64", "-s", "32", "-H", fmt.Sprint(bootStart), "::"},
		{"mcopy", "-i", system, d.kernel, "::linux"},
		{"mcopy", "-i", system, d.initrd, "::initrd"},
		{"mcopy", "-i", system, config, "::syslinux.cfg"},
		{"syslinux", "--install", "--offset", fmt.Sprint(bootStart * sectorSize), path},
	} {
		if err := run(command[0], command[1:]...); err != nil {
			return err
		}
	}
	return os.Remove(config)
}

// masterBootRecord is the first sector of a disk of size bytes: code, the table of four partitions and the signature. UEFI
// section 5.2.1.
func masterBootRecord(code []byte, size int64) ([]byte, error) {
	const table, signature = 446, 510
	if len(code) == 0 || len(code) > 440 {
		return nil, fmt.Errorf("%d bytes are no code of a boot record, which has 1 to 440", len(code))
	}
	record := make([]byte, sectorSize)
	copy(record, code)
	partition := func(number int, active, kind byte, start, sectors uint32) {
		entry := record[table+16*number:]
		entry[0], entry[4] = active, kind
		// Cylinders, heads and sectors that say: count blocks.
		copy(entry[1:4], "\xfe\xff\xff")
		copy(entry[5:8], "\xfe\xff\xff")
		binary.LittleEndian.PutUint32(entry[8:], start)
		binary.LittleEndian.PutUint32(entry[12:], sectors)
	}
	partition(0, 0x80, typeFAT16LBA, bootStart, bootSectors)
	partition(1, 0, typeLinux, dataStart, uint32(size/sectorSize-dataStart))
	copy(record[signature:], "\x55\xaa")
	return record, nil
}
