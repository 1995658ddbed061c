package samba

import (
	"encoding/binary"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //nolint:gosec,staticcheck // the protocol has it, and it protects nothing more than smbd's own passdb
)

// ntHash is the form in which smbd keeps a password: the MD4 of its UTF-16LE ([MS-NLMP] section 3.3.1).
func ntHash(password string) (sum [md4.Size]byte) {
	var b []byte
	for _, u := range utf16.Encode([]rune(password)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	h := md4.New() //nolint:gosec // as above
	h.Write(b)
	h.Sum(sum[:0])
	return sum
}
