package volume

import (
	"bytes"
	"math/big"
	"strings"

	"elstore/volume/fault"
)

// SectorSize is the smallest unit of a volume's size, in bytes.
const SectorSize = 512

// MaxSize is the largest virtual size of a volume, in bytes: 1 PiB less a sector.
const MaxSize = 1<<50 - SectorSize

// Gigabytes is a size of the API: a number of GB of 10^9 bytes, an integer, a fraction or a numeric string. It is
// kept as bytes, rounded up to a whole sector, and as it was written, to be echoed so.
type Gigabytes struct {
	Bytes int64
	text  string
}

// FromBytes is a size of n bytes, which is rounded up to a whole sector.
func FromBytes(n int64) Gigabytes {
	n = (n + SectorSize - 1) / SectorSize * SectorSize
	return Gigabytes{Bytes: n, text: new(big.Rat).SetFrac64(n, 1e9).FloatString(9)}
}

// Allowed says in an error message what a size looks like.
func (g Gigabytes) Allowed() string {
	return "a number of GB (10^9 bytes) over 0 and under 1125899"
}

// UnmarshalJSON reads 1, 1.5, 1e2 or "100". Arithmetic is exact, and no exponent makes it long.
func (g *Gigabytes) UnmarshalJSON(data []byte) error {
	number := string(bytes.Trim(data, `"`))
	bad := func() error {
		return fault.Errorf(fault.BadRequest, "size %.64s is not allowed: use %s", data, g.Allowed())
	}
	// big.Rat also reads fractions, other bases, infinities and exponents that fill the memory.
	if len(number) == 0 || len(number) > 32 || strings.Trim(number, "0123456789.eE+-") != "" {
		return bad()
	}
	if i := strings.IndexAny(number, "eE"); i >= 0 && len(strings.TrimLeft(number[i+1:], "+-0")) > 2 {
		return bad()
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok || r.Sign() <= 0 {
		return bad()
	}
	r.Mul(r, big.NewRat(1e9, SectorSize))
	sectors, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		sectors.Add(sectors, big.NewInt(1))
	}
	if sectors.Cmp(big.NewInt(MaxSize/SectorSize)) > 0 {
		return bad()
	}
	*g = Gigabytes{Bytes: sectors.Int64() * SectorSize, text: string(data)}
	return nil
}

// MarshalJSON writes the size as it was given.
func (g Gigabytes) MarshalJSON() ([]byte, error) {
	if g.text == "" {
		return []byte("0"), nil
	}
	return []byte(g.text), nil
}
