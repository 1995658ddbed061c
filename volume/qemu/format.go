package qemu

import (
	"strings"

	"elstore/volume/fault"
)

// Format is the format of an image, by QEMU's name for it where QEMU has one.
type Format string

// The formats that images may have.
const (
	Raw   Format = "raw"
	QCOW2 Format = "qcow2"
	VMDK  Format = "vmdk" // VMware
	VDI   Format = "vdi"  // VirtualBox
	VPC   Format = "vpc"  // Microsoft's VHD, which QEMU calls by Virtual PC
	VHDX  Format = "vhdx" // Hyper-V
)

// The kinds of file that Detect tells apart besides: none is an image that is taken in, but an ISO, as raw.
const (
	ISO       Format = "iso"
	LUKS      Format = "luks"
	QED       Format = "qed"
	Parallels Format = "parallels"
	Gzip      Format = "gzip"
	Bzip2     Format = "bzip2"
	XZ        Format = "xz"
	Zstd      Format = "zstd"
	Zip       Format = "zip"
	Tar       Format = "tar" // an OVA too
	HTML      Format = "html"
)

// images are the formats that a Tool works with, and how people call them.
var images = map[Format]string{
	Raw: "raw", QCOW2: "qcow2", VMDK: "VMDK", VDI: "VDI", VPC: "VHD", VHDX: "VHDX",
}

// others are what Detect finds besides, as the end of a sentence that begins with "the file is".
var others = map[Format]string{
	ISO:       "an ISO 9660 image",
	LUKS:      "encrypted with LUKS",
	QED:       "a QED image",
	Parallels: "a Parallels image",
	Gzip:      "compressed with gzip: unpack it first",
	Bzip2:     "compressed with bzip2: unpack it first",
	XZ:        "compressed with xz: unpack it first",
	Zstd:      "compressed with zstd: unpack it first",
	Zip:       "a zip archive: unpack it first",
	Tar:       "a tar archive or OVA: take the disk image out of it first",
	HTML:      "a page of HTML or XML, perhaps an error page of the server that it came from",
}

// ParseFormat reads the name of a format as people write it, in any case: raw, qcow2, vmdk, vdi, vhd or vpc, vhdx.
// Anything else is a fault of code UnsupportedFormat.
func ParseFormat(s string) (Format, error) {
	f := Format(strings.ToLower(s))
	if f == "vhd" {
		f = VPC
	}
	if !f.valid() {
		return "", fault.Errorf(fault.UnsupportedFormat, "the image format %.20q is not known: it may be raw, qcow2, vmdk, vdi, vhd or vhdx", s)
	}
	return f, nil
}

// valid reports whether f is a format that a Tool works with.
func (f Format) valid() bool { return images[f] != "" }

// sentence completes "the file is".
func (f Format) sentence() string {
	if s, ok := images[f]; ok {
		return "in " + s + " format"
	}
	return others[f]
}
