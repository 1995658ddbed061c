package client

import (
	"fmt"
	"math/big"
	"strings"
)

// SectorSize is the smallest unit of a volume's size, in bytes.
const SectorSize = 512

// maxSectors keeps a size in bytes, and sums of some, within an int64.
const maxSectors = 1 << 52

// Size is a volume's virtual size in bytes. The API takes it as a number of GB (10^9 bytes), which is written
// with as many decimals as it takes to lose no byte; the server rounds up to a whole sector.
type Size int64

// MarshalJSON writes the number of GB.
func (s Size) MarshalJSON() ([]byte, error) {
	if s < 0 {
		return nil, fmt.Errorf("size %d bytes is negative", int64(s))
	}
	text := fmt.Sprintf("%d.%09d", s/1e9, s%1e9)
	return []byte(strings.TrimRight(strings.TrimRight(text, "0"), ".")), nil
}

// UnmarshalJSON reads a number of GB, or the numeric string that some clients send and the server echoes.
func (s *Size) UnmarshalJSON(data []byte) error {
	refused := fmt.Errorf("size %.64s is not a number of GB", data)
	number := strings.Trim(string(data), `"`)
	mantissa, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	// big.Rat also reads fractions, other bases, and exponents that fill the memory.
	if len(mantissa) > 32 || len(exponent) > 3 || strings.Trim(number, "0123456789.eE+-") != "" {
		return refused
	}
	gb, ok := new(big.Rat).SetString(number)
	if !ok || gb.Sign() < 0 {
		return refused
	}
	gb.Mul(gb, big.NewRat(1e9, SectorSize))
	sectors, rest := new(big.Int).QuoRem(gb.Num(), gb.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		sectors.Add(sectors, big.NewInt(1))
	}
	if sectors.Cmp(big.NewInt(maxSectors)) > 0 {
		return refused
	}
	*s = Size(sectors.Int64() * SectorSize)
	return nil
}
