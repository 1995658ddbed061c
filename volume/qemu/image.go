package qemu

import (
	"path/filepath"
	"strings"

	"elstore/volume/fault"
)

// Image names an image and says its format.
type Image struct {
	Path   string // absolute; of a source also QEMU's name for an RBD image, rbd:pool/name
	Format Format // never guessed
	Bases  string // the directory of the images that it may be an overlay of, which qemu-img may read; "" is none
}

// check refuses what qemu-img would read in another way than as the name of a file: a relative path could begin
// with a protocol (nbd:, json:) or an option.
func (i Image) check() error {
	if !i.Format.valid() {
		return fault.Errorf(fault.UnsupportedFormat, "the image format %.20q is not known: it may be raw, qcow2, vmdk, vdi, vpc or vhdx", string(i.Format))
	}
	if strings.ContainsRune(i.Path, 0) || !filepath.IsAbs(i.Path) && !strings.HasPrefix(i.Path, "rbd:") {
		return fault.Errorf(fault.ImageToolFailed, "the path of the image %.40q is not absolute", filepath.Base(i.Path))
	}
	return nil
}

// checkFile is check for an image that must be a file.
func (i Image) checkFile() error {
	if err := i.check(); err != nil {
		return err
	}
	if !filepath.IsAbs(i.Path) {
		return fault.Errorf(fault.ImageToolFailed, "the image %.40q is not a file", filepath.Base(i.Path))
	}
	return nil
}

// Preallocation says how much of a new image's storage is taken at once.
type Preallocation string

// The preallocations. The empty string is PreallocOff.
const (
	PreallocOff      Preallocation = "off"
	PreallocMetadata Preallocation = "metadata" // the tables that say where data lies; not for raw, which has none
	PreallocFalloc   Preallocation = "falloc"   // reserved, not written
	PreallocFull     Preallocation = "full"     // written with zeros
)

// check refuses a preallocation that images in format f can't have.
func (p Preallocation) check(f Format) error {
	switch p {
	case "", PreallocOff:
		return nil
	case PreallocMetadata:
		if f == QCOW2 {
			return nil
		}
	case PreallocFalloc, PreallocFull:
		if f == QCOW2 || f == Raw {
			return nil
		}
	}
	return fault.Errorf(fault.BadRequest, "a %s image can't be preallocated with %.20q: raw allows off, falloc and full, qcow2 also metadata, other formats only off",
		f, string(p))
}

// on reports whether anything is preallocated.
func (p Preallocation) on() bool { return p != "" && p != PreallocOff }
