package samba

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
)

// ntHash is the form in which smbd keeps a password: the MD4 of its UTF-16LE ([MS-NLMP] section 3.3.1).
func ntHash(password string) [16]byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(password)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return md4(b)
}

// md4 is the message digest of RFC 1320. It protects nothing any more, and is here because the protocol has it.
func md4(message []byte) (sum [16]byte) {
	// Section 3.1 and 3.2: padding and length.
	p := append(append([]byte{}, message...), 0x80)
	for len(p)%64 != 56 {
		p = append(p, 0)
	}
	p = binary.LittleEndian.AppendUint64(p, uint64(len(message))*8)

	state := [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}
	for ; len(p) > 0; p = p[64:] {
		var x [16]uint32
		for i := range x {
			x[i] = binary.LittleEndian.Uint32(p[4*i:])
		}
		md4Block(&state, &x)
	}
	for i, v := range state {
		binary.LittleEndian.PutUint32(sum[4*i:], v)
	}
	return sum
}

// rounds are those of section 3.4: the order of the words, the shifts, the constant and the function of each.
var rounds = [3]struct {
	order  [16]int
	shifts [4]int
	add    uint32
	f      func(x, y, z uint32) uint32
}{
	{
		[16]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		[4]int{3, 7, 11, 19},
		0,
		func(x, y, z uint32) uint32 { return x&y | ^x&z },
	},
	{
		[16]int{0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15},
		[4]int{3, 5, 9, 13},
		0x5a827999,
		func(x, y, z uint32) uint32 { return x&y | x&z | y&z },
	},
	{
		[16]int{0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15},
		[4]int{3, 9, 11, 15},
		0x6ed9eba1,
		func(x, y, z uint32) uint32 { return x ^ y ^ z },
	},
}

func md4Block(state *[4]uint32, x *[16]uint32) {
	a, b, c, d := state[0], state[1], state[2], state[3]
	for _, r := range rounds {
		for i, k := range r.order {
			a, b, c, d = d, bits.RotateLeft32(a+r.f(b, c, d)+x[k]+r.add, r.shifts[i%4]), b, c
		}
	}
	state[0] += a
	state[1] += b
	state[2] += c
	state[3] += d
}
