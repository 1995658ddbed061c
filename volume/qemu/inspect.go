package qemu

import (
	"errors"
	"fmt"
	"io"
	"math"

	"elstore/volume/fault"
)

// InspectOptions says what an image from outside may be.
type InspectOptions struct {
	Format  Format // that the image is said to have; "" takes what it bears
	MaxSize int64  // virtual bytes; 0 is no limit
}

// Inspection is what an image from outside is.
type Inspection struct {
	Format      Format // Raw for an ISO too
	VirtualSize int64  // bytes, a multiple of 512
	Snapshots   int    // inside the image: a copy has only its present state
}

// Inspect decides whether an image from outside, of size bytes, may be given to qemu-img. It reads headers and
// tables of tables only, not all of the image: an image that passes names no other file, is not encrypted, was
// closed in order, and can't make qemu-img use more than its limits, but its data may still be damaged.
//
// What does not pass is a fault of code ImageRefused whose sentence says what is wrong and what is allowed. An error
// of r itself is a fault of the file system.
func Inspect(r io.ReaderAt, size int64, o InspectOptions) (Inspection, error) {
	in, err := inspect(newSource(r, size), o)
	if err == nil {
		return in, nil
	}
	if e, ok := errors.AsType[readError](err); ok {
		return Inspection{}, fault.FromOS("read the image", e.err)
	}
	return Inspection{}, fault.Errorf(fault.ImageRefused, "the image is refused: %w", err)
}

// inspectors return what an image of their format is, or an error that completes "the image is refused:".
var inspectors = map[Format]func(*source) (Inspection, error){
	Raw: inspectRaw, QCOW2: inspectQCOW2, VMDK: inspectVMDK, VDI: inspectVDI, VPC: inspectVHD, VHDX: inspectVHDX,
}

func inspect(s *source, o InspectOptions) (Inspection, error) {
	if s.size <= 0 {
		return Inspection{}, errors.New("it is empty")
	}
	found, err := detectFile(s)
	if err != nil {
		return Inspection{}, err
	}
	if found == ISO {
		found = Raw // nobody here reads what it holds
	}
	if err := checkFormat(found, o.Format); err != nil {
		return Inspection{}, err
	}
	in, err := inspectors[found](s)
	if err != nil {
		return Inspection{}, err
	}
	in.Format = found
	return in, checkVirtualSize(in.VirtualSize, o.MaxSize)
}

// checkFormat refuses what is no image, and what is not what it is said to be.
func checkFormat(found, said Format) error {
	switch {
	case !found.valid():
		return errors.New("it is " + found.sentence())
	case said == "" || said == found:
		return nil
	case !said.valid():
		return fmt.Errorf("it is said to be in the format %.20q: raw, qcow2, vmdk, vdi, vpc and vhdx are known", string(said))
	case found == Raw:
		return fmt.Errorf("it is said to be %s and bears no sign of that format", said.sentence())
	}
	return fmt.Errorf("it is said to be %s and is %s", said.sentence(), found.sentence())
}

// checkVirtualSize refuses sizes that a volume can't have.
func checkVirtualSize(size, most int64) error {
	switch {
	case size <= 0:
		return errors.New("its virtual size is 0 bytes")
	case size%512 != 0:
		return fmt.Errorf("its virtual size is %d bytes, which is not a multiple of 512", size)
	case most > 0 && size > most:
		return fmt.Errorf("its virtual size is %d bytes: at most %d are allowed", size, most)
	}
	return nil
}

// inspectRaw rounds up to whole sectors, as QEMU does.
func inspectRaw(s *source) (Inspection, error) {
	if s.size > math.MaxInt64-511 {
		return Inspection{}, errors.New("it is larger than there can be")
	}
	return Inspection{VirtualSize: (s.size + 511) &^ 511}, nil
}
