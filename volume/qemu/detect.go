package qemu

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// DetectLen is how many bytes of a file's beginning Detect can use. With fewer it finds fewer formats.
const DetectLen = isoOffset + len(isoMagic)

const (
	isoOffset = 16*2048 + 1 // ECMA-119 section 8: the first volume descriptor is in sector 16, its magic one byte in
	isoMagic  = "CD001"
	vdiMagic  = 0xbeda107f // at byte 64
	vhdCookie = "conectix"
	vhdxMagic = "vhdxfile"
)

// magics are what the formats begin with. The first that fits counts.
var magics = []struct {
	format Format
	magic  string
	offset int
}{
	{QCOW2, "QFI\xfb", 0},                         // the old qcow too: Inspect tells them apart
	{VMDK, "KDMV", 0},                             // sparse extent
	{VMDK, "COWD", 0},                             // ESX sparse extent
	{VMDK, "\xbe\xba\xfe\xca\x00\x00\x00\x00", 0}, // seSparse extent
	{VHDX, vhdxMagic, 0},
	{VPC, vhdCookie, 0},
	{LUKS, "LUKS\xba\xbe", 0},
	{QED, "QED\x00", 0},
	{Parallels, "WithoutFreeSpace", 0},
	{Parallels, "WithouFreSpacExt", 0},
	{Gzip, "\x1f\x8b\x08", 0},
	{Bzip2, "BZh", 0}, // and a digit and the digits of pi, see looksLike
	{XZ, "\xfd7zXZ\x00", 0},
	{Zstd, "\x28\xb5\x2f\xfd", 0},
	{Zip, "PK\x03\x04", 0},
	{Tar, "ustar", 257},
	{ISO, isoMagic, isoOffset},
}

// Detect says what begins with header, of which DetectLen bytes are used. What bears no sign is Raw.
func Detect(header []byte) Format {
	header = header[:min(len(header), DetectLen)]
	for _, m := range magics {
		if len(header) > m.offset && bytes.HasPrefix(header[m.offset:], []byte(m.magic)) && looksLike(m.format, header) {
			return m.format
		}
	}
	switch {
	case len(header) >= 68 && binary.LittleEndian.Uint32(header[64:]) == vdiMagic:
		return VDI
	case isDescriptor(header):
		return VMDK
	case isMarkup(header):
		return HTML
	}
	return Raw
}

// looksLike looks closer where a magic is short.
func looksLike(f Format, header []byte) bool {
	if f == Bzip2 {
		return len(header) >= 10 && string(header[4:10]) == "1AY&SY"
	}
	return true
}

// isDescriptor reports whether header is the text that describes a VMDK image: comments and empty lines, and then
// version=1, 2 or 3. The first comment is as a rule "# Disk DescriptorFile", and then no more is asked.
func isDescriptor(header []byte) bool {
	for line := range bytes.Lines(header) {
		line = bytes.TrimSpace(line)
		switch {
		case bytes.EqualFold(line, []byte("# Disk DescriptorFile")):
			return true
		case len(line) == 0, line[0] == '#':
			continue
		}
		v, ok := bytes.CutPrefix(line, []byte("version="))
		return ok && len(v) == 1 && v[0] >= '1' && v[0] <= '3'
	}
	return false
}

// isMarkup reports whether header is HTML or XML.
func isMarkup(header []byte) bool {
	text := string(bytes.TrimSpace(bytes.TrimPrefix(header[:min(len(header), 512)], []byte("\xef\xbb\xbf"))))
	text = strings.ToLower(text[:min(len(text), 32)])
	for _, begin := range []string{"<!doctype", "<html", "<head", "<?xml"} {
		if strings.HasPrefix(text, begin) {
			return true
		}
	}
	return false
}

// detectFile is Detect for a whole file: the sign of a VHD of fixed size is at its end.
func detectFile(s *source) (Format, error) {
	header, err := s.at(0, min(s.size, int64(DetectLen)), "its beginning")
	if err != nil {
		return "", err
	}
	found := Detect(header)
	if found == Raw || found == ISO {
		fixed, err := isFixedVHD(s)
		if err != nil {
			return "", err
		}
		if fixed {
			return VPC, nil
		}
	}
	return found, nil
}
