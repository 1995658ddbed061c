package pdu

import (
	"encoding/binary"
	"hash/crc32"
)

// DigestLength is the length of a header or data digest in bytes.
const DigestLength = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Digest is the CRC32C of p; section 13.1. The digest of several pieces is that of the first, updated by the rest.
func Digest(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// UpdateDigest is the digest of what has the digest crc, followed by p.
func UpdateDigest(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) }

// AppendDigest appends a digest as it is on the wire: unlike everything else, least significant byte first.
func AppendDigest(dst []byte, crc uint32) []byte { return binary.LittleEndian.AppendUint32(dst, crc) }

// wireDigest reads the digest at the start of p.
func wireDigest(p []byte) uint32 { return binary.LittleEndian.Uint32(p) }

var zeros [4]byte

// Append appends a whole PDU: h with its two lengths set from ahs and data, ahs, header digest, data, padding,
// data digest. The length of ahs is a multiple of four of at most MaxTotalAHSLength, that of data at most
// MaxDataSegmentLength. A Writer does the same without copying the data.
func Append(dst []byte, h *BHS, ahs, data []byte, headerDigest, dataDigest bool) []byte {
	h[4] = byte(len(ahs) / 4)
	h.SetDataSegmentLength(len(data))
	dst = append(append(dst, h[:]...), ahs...)
	if headerDigest {
		dst = AppendDigest(dst, UpdateDigest(Digest(h[:]), ahs))
	}
	if len(data) == 0 {
		return dst
	}
	padding := zeros[:Padding(len(data))]
	dst = append(append(dst, data...), padding...)
	if dataDigest {
		dst = AppendDigest(dst, UpdateDigest(Digest(data), padding))
	}
	return dst
}
