package volume

import (
	"slices"
	"strings"

	"elstore/volume/fault"
)

// Format is how a volume's image is stored.
type Format string

// The formats. A raw volume's file is data.img; the others have their name as extension.
const (
	Raw   Format = "raw"
	QCOW2 Format = "qcow2"
	RBD   Format = "rbd"
	ISO   Format = "iso"
)

// Ext returns the extension of the data file.
func (f Format) Ext() string {
	if f == Raw {
		return "img"
	}
	return string(f)
}

// Allowed lists the formats for an error message.
func (f Format) Allowed() string { return "raw, qcow2, rbd or iso" }

// UnmarshalText accepts the formats and the spelling "rdb" of older clients.
func (f *Format) UnmarshalText(text []byte) error {
	switch v := Format(text); v {
	case Raw, QCOW2, RBD, ISO:
		*f = v
		return nil
	case "rdb":
		*f = RBD
		return nil
	}
	return refuse(fault.VolumeFormatNotAllowed, "format", text, f.Allowed())
}

// Bus is how a virtual machine is to see the volume.
type Bus string

// The buses.
const (
	Virtio Bus = "virtio"
	SCSI   Bus = "scsi"
	SATA   Bus = "sata"
	IDE    Bus = "ide"
)

// Allowed lists the buses for an error message.
func (b Bus) Allowed() string { return "virtio, scsi, sata or ide" }

// UnmarshalText accepts the buses.
func (b *Bus) UnmarshalText(text []byte) error {
	if v := Bus(text); slices.Contains([]Bus{Virtio, SCSI, SATA, IDE}, v) {
		*b = v
		return nil
	}
	return refuse(fault.VolumeBusNotAllowed, "bus", text, b.Allowed())
}

// Alg is how a clone's data is copied where the file system can't share it.
type Alg string

// The algorithms. NoClone forbids cloning for good.
const (
	Copy    Alg = "cp"
	Rclone  Alg = "rclone"
	Rsync   Alg = "rsync"
	NoClone Alg = "no"
)

// Allowed lists the algorithms for an error message.
func (a Alg) Allowed() string { return "cp, rclone, rsync or no" }

// UnmarshalText accepts the algorithms.
func (a *Alg) UnmarshalText(text []byte) error {
	if v := Alg(text); slices.Contains([]Alg{Copy, Rclone, Rsync, NoClone}, v) {
		*a = v
		return nil
	}
	return refuse(fault.VolumeCloningAlgNotAllowed, "alg", text, a.Allowed())
}

// Prealloc is how much of a new volume's storage is taken at once; QEMU's words.
type Prealloc string

// The preallocation modes. Off, the default, makes a sparse volume.
const (
	PreallocOff      Prealloc = "off"
	PreallocMetadata Prealloc = "metadata" // qcow2's tables; for raw the same as off
	PreallocFalloc   Prealloc = "falloc"   // blocks reserved, not written
	PreallocFull     Prealloc = "full"     // zeros written
)

// Takes reports whether the mode takes the whole size from the file system at once.
func (p Prealloc) Takes() bool { return p == PreallocFalloc || p == PreallocFull }

// Allowed lists the modes for an error message.
func (p Prealloc) Allowed() string { return "off, metadata, falloc or full" }

// UnmarshalText accepts the modes.
func (p *Prealloc) UnmarshalText(text []byte) error {
	if v := Prealloc(text); slices.Contains([]Prealloc{PreallocOff, PreallocMetadata, PreallocFalloc, PreallocFull}, v) {
		*p = v
		return nil
	}
	return refuse(fault.BadRequest, "preallocation", text, p.Allowed())
}

// MaxName is the longest name of a volume, in bytes of UTF-8.
const MaxName = 255

// CheckName refuses names that are empty, too long or bear control characters, which would garble lists and logs.
func CheckName(name string) error {
	switch {
	case name == "":
		return fault.Errorf(fault.BadRequest, "name is empty; allowed are 1 to %d bytes without control characters", MaxName)
	case len(name) > MaxName:
		return fault.Errorf(fault.BadRequest, "name has %d bytes; allowed are 1 to %d", len(name), MaxName)
	case strings.ContainsFunc(name, isControl):
		return fault.Errorf(fault.BadRequest, "name %q bears a control character; allowed are 1 to %d bytes without any", name, MaxName)
	}
	return nil
}

// isControl covers C0, C1, the line separators and the marks that reverse the direction of text.
func isControl(r rune) bool {
	return r < 0x20 || r >= 0x7f && r <= 0x9f || r == 0xfffd ||
		r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

func refuse(code fault.Code, key string, value []byte, allowed string) error {
	if len(value) > 64 {
		value = append(slices.Clip(value[:64]), "..."...)
	}
	return fault.Errorf(code, "%s %q is not allowed: use %s", key, value, allowed)
}
