package pdu

import "encoding/binary"

// The types of Additional Header Segments; section 11.2.2.1.
const (
	ahsExtendedCDB    = 1
	ahsBidiReadLength = 2
)

// MaxCDBLength is that of a CDB with its extension, in bytes: SPC-4's limit for one of variable length.
const MaxCDBLength = 260

// AHS is what the Additional Header Segments of a SCSI Command say; section 11.2.2.
type AHS struct {
	// ExtendedCDB is what follows the first 16 bytes of the CDB, a part of what was decoded; section 11.2.2.3.
	ExtendedCDB []byte
	// ExpectedBidiReadLength is the Bidirectional Read Expected Data Transfer Length in bytes; section 11.2.2.4.
	ExpectedBidiReadLength uint32
	// HasBidiRead says that ExpectedBidiReadLength was given.
	HasBidiRead bool
}

// Decode reads all the segments, which fill p. ok is false where a length does not fit, a type is unknown or
// comes twice.
func (a *AHS) Decode(p []byte) (ok bool) {
	*a = AHS{}
	for len(p) > 0 {
		if len(p) < 4 {
			return false
		}
		// AHSLength counts from after the type, and so the byte that is reserved in both types.
		length, kind := int(binary.BigEndian.Uint16(p)), p[2]
		whole := 3 + length + Padding(3+length)
		if length < 1 || whole > len(p) {
			return false
		}
		body := p[4 : 3+length]
		switch {
		case kind == ahsExtendedCDB && a.ExtendedCDB == nil && len(body) > 0 && len(body) <= MaxCDBLength-16:
			a.ExtendedCDB = body
		case kind == ahsBidiReadLength && !a.HasBidiRead && len(body) == 4:
			a.ExpectedBidiReadLength, a.HasBidiRead = binary.BigEndian.Uint32(body), true
		default:
			return false
		}
		p = p[whole:]
	}
	return true
}

// Append appends the segments that Decode reads.
func (a *AHS) Append(dst []byte) []byte {
	if n := len(a.ExtendedCDB); n > 0 {
		dst = append(binary.BigEndian.AppendUint16(dst, uint16(n+1)), ahsExtendedCDB, 0)
		dst = append(append(dst, a.ExtendedCDB...), zeros[:Padding(n)]...)
	}
	if a.HasBidiRead {
		dst = append(binary.BigEndian.AppendUint16(dst, 5), ahsBidiReadLength, 0)
		dst = binary.BigEndian.AppendUint32(dst, a.ExpectedBidiReadLength)
	}
	return dst
}
