package iso

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf16"

	"elstore/volume/fault"
)

// Sector is the size of a logical sector in bytes (ECMA-119 section 6.1.2). The images that are read may have smaller
// logical blocks, but descriptors lie on sectors.
const Sector = 2048

// systemArea is how many sectors come before the first volume descriptor (section 6.2.1).
const systemArea = 16

// standardID is what every volume descriptor bears (section 8.1.2).
const standardID = "CD001"

// Types of volume descriptors (section 8.1.1).
const (
	bootRecord    = 0
	primary       = 1
	supplementary = 2
	terminator    = 255
)

// Places in a primary or supplementary volume descriptor (sections 8.4 and 8.5), counted from 0.
const (
	atSystem        = 8
	atLabel         = 40
	atSpaceSize     = 80
	atEscapes       = 88
	atBlockSize     = 128
	atPathTableSize = 132
	atPathTable     = 140 // the one of little-endian numbers
	atRoot          = 156
	atPublisher     = 318
	atPreparer      = 446
	atApplication   = 574
	atCreated       = 813
	atExpires       = 847
	atDatesEnd      = 881
)

// Places in a directory record (section 9.1).
const (
	recordExtent  = 2
	recordLength  = 10
	recordDate    = 18
	recordFlags   = 25
	recordNameLen = 32
	recordName    = 33
	minRecord     = 34
)

// Flags of a directory record (section 9.1.6).
const (
	flagDir   = 0x02
	flagAssoc = 0x04
	flagMore  = 0x80 // another extent of the same file follows
)

// refuse is the error for an image that is not what it should be.
func refuse(format string, args ...any) error {
	return fault.Errorf(fault.ImageRefused, "the image is refused: "+format, args...)
}

// both reads a number that is stored in both byte orders (section 7.3.3). Writers err in the big-endian half, so it is
// not held against the other.
func both(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// text reads a padded string of d- or a-characters. Others are taken as they are, if they print.
func text(b []byte) string {
	s := strings.TrimRight(string(b), " \x00")
	return strings.Map(printable, strings.ToValidUTF8(s, "?"))
}

// ucs2 reads a padded big-endian string of a Joliet descriptor or record.
func ucs2(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return strings.Map(printable, strings.TrimRight(string(utf16.Decode(units)), " \x00"))
}

func printable(r rune) rune {
	if r < 0x20 || r == 0x7f {
		return '?'
	}
	return r
}

// isJoliet reports whether escape sequences are those of UCS-2 (Joliet specification, "Escape Sequences").
func isJoliet(escapes []byte) bool {
	return escapes[0] == '%' && escapes[1] == '/' && (escapes[2] == '@' || escapes[2] == 'C' || escapes[2] == 'E')
}

// longDate writes the date of a volume descriptor (section 8.4.26.1); the zero time is "not specified".
func longDate(t time.Time) []byte {
	if t.IsZero() {
		return append([]byte(strings.Repeat("0", 16)), 0)
	}
	return append([]byte(t.UTC().Format("20060102150405")+"00"), 0)
}

// shortDate writes the date of a directory record (section 9.1.5).
func shortDate(t time.Time) []byte {
	t = t.UTC()
	return []byte{byte(t.Year() - 1900), byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second()), 0}
}
