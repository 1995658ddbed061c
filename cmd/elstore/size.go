package main

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"elstore/api/client"
)

const sizesHelp = `A size is a number and a unit:

  10G, 10GB     10 GB, of 10^9 bytes each
  10Gi, 10GiB   10 GiB, of 2^30 bytes each
  1.5T 500M     units are K, M, G, T and P, with i for powers of 1024
  4096B         bytes
  10            a bare number is GB, as in the API

Sizes are exact and rounded up to a whole sector of 512 bytes. A volume is smaller than 1 PiB.
`

// units are the exponents of 1000 or 1024.
var units = map[string]int{"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}

// maxSize is the largest size that a volume can have, in bytes.
const maxSize = 1<<50 - client.SectorSize

// parseSize reads a size of the command line, in bytes rounded up to a whole sector. Pure.
func parseSize(s string) (client.Size, error) {
	refused := usagef("size %.64q is not understood; write it as 10G, 10Gi, 1.5T, 500M or a number of GB", s)
	digits := strings.TrimRight(s, "KMGTPBkmgtpib")
	number, ok := new(big.Rat), len(digits) > 0 && len(digits) <= 32 && strings.Trim(digits, "0123456789.") == ""
	if ok {
		number, ok = number.SetString(digits)
	}
	if !ok {
		return 0, refused
	}
	scale, ok := unit(s[len(digits):])
	if !ok {
		return 0, refused
	}
	sectors := number.Mul(number, new(big.Rat).SetFrac(scale, big.NewInt(client.SectorSize)))
	whole, rest := new(big.Int).QuoRem(sectors.Num(), sectors.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	if whole.Sign() == 0 || whole.Cmp(big.NewInt(maxSize/client.SectorSize)) > 0 {
		return 0, usagef("size %.64q is not allowed; it is over 0 and under 1Pi", s)
	}
	return client.Size(whole.Int64() * client.SectorSize), nil
}

// unit returns how many bytes a unit is.
func unit(s string) (*big.Int, bool) {
	s = strings.ToLower(s)
	switch s {
	case "":
		return big.NewInt(1e9), true
	case "b":
		return big.NewInt(1), true
	}
	base := int64(1000)
	s = strings.TrimSuffix(s, "b")
	if prefix, binary := strings.CutSuffix(s, "i"); binary {
		s, base = prefix, 1024
	}
	exponent, ok := units[s]
	return new(big.Int).Exp(big.NewInt(base), big.NewInt(int64(exponent)), nil), ok
}

// humanSize writes a number of bytes for people: 10 GB, 1.5 TB, 107.37 GB.
func humanSize(n int64) string {
	names := []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/1000, 0
	for value >= 999.995 && i < len(names)-1 {
		value /= 1000
		i++
	}
	text := strings.TrimRight(strings.TrimRight(strconv.FormatFloat(value, 'f', 2, 64), "0"), ".")
	return text + " " + names[i]
}
