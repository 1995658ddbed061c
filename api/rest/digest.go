package rest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strings"

	"elstore/volume/fault"
)

// Digest says what the bytes of a body or an image hash to. Two algorithms are taken, SHA-256 and SHA-512;
// MD5 and SHA-1 are not, because another image with the same sum can be made.
type Digest struct {
	algorithm *algorithm
	sum       string
}

type algorithm struct {
	name   string // as Repr-Digest spells it (RFC 9530 section 5)
	size   int    // bytes of a sum
	create func() hash.Hash
}

// The algorithms, the stronger first.
var algorithms = []*algorithm{
	{"sha-512", sha512.Size, sha512.New},
	{"sha-256", sha256.Size, sha256.New},
}

// New returns a hash that computes d's algorithm.
func (d Digest) New() hash.Hash { return d.algorithm.create() }

// Algorithm returns "sha256" or "sha512".
func (d Digest) Algorithm() string { return strings.ReplaceAll(d.algorithm.name, "-", "") }

// Sum returns the sum's bytes.
func (d Digest) Sum() []byte { return []byte(d.sum) }

// Matches reports whether sum, from a hash that New made, is d's.
func (d Digest) Matches(sum []byte) bool { return d.sum == string(sum) }

// IsZero reports whether d says nothing. The other methods are for a Digest that says something.
func (d Digest) IsZero() bool { return d.algorithm == nil }

// String returns "sha256:" or "sha512:" and the sum in lower-case hexadecimal, or "" for the zero Digest.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return d.Algorithm() + ":" + hex.EncodeToString([]byte(d.sum))
}

// Header returns the value of a Repr-Digest header, "sha-256=:base64:".
func (d Digest) Header() string {
	return d.algorithm.name + "=:" + base64.StdEncoding.EncodeToString([]byte(d.sum)) + ":"
}

const allowedDigest = `allowed is "sha256:" or "sha512:" and the sum in hexadecimal, the bare hexadecimal sum, or "sha-256=:base64:" as in Repr-Digest`

// ParseChecksum reads a checksum as people write it: "sha256:hex", "sha-512:hex", the bare hexadecimal sum,
// whose length tells the algorithm, or the form of a Repr-Digest header. Hexadecimal is read in either case.
func ParseChecksum(s string) (Digest, error) {
	if strings.Contains(s, "=") {
		return ParseReprDigest(s)
	}
	name, sum, named := strings.Cut(s, ":")
	if !named {
		sum = s
	}
	raw, err := hex.DecodeString(sum)
	if err == nil {
		for _, a := range algorithms {
			if len(raw) == a.size && (!named || a.is(name)) {
				return Digest{a, string(raw)}, nil
			}
		}
	}
	return Digest{}, fault.Errorf(fault.BadRequest, "the checksum is %s; %s", shorten(quote(s)), allowedDigest)
}

// ParseReprDigest reads the value of a Repr-Digest header (RFC 9530 section 3), several lines of it joined by
// commas. Of several digests the strongest that we know is taken, and those of other algorithms are passed over.
func ParseReprDigest(s string) (Digest, error) {
	refused := fault.Errorf(fault.BadRequest, "the digest is %s; %s", shorten(quote(s)), allowedDigest)
	var best Digest
	for item := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(strings.Trim(item, " \t"), "=")
		if !ok {
			return Digest{}, refused
		}
		for rank, a := range algorithms {
			if !a.is(name) {
				continue
			}
			raw, ok := byteSequence(value)
			if !ok || len(raw) != a.size {
				return Digest{}, refused
			}
			if best.IsZero() || rank == 0 {
				best = Digest{a, string(raw)}
			}
		}
	}
	if best.IsZero() {
		return Digest{}, refused
	}
	return best, nil
}

// byteSequence reads ":base64:" (RFC 9651 section 3.3.5).
func byteSequence(s string) ([]byte, bool) {
	inner, opened := strings.CutPrefix(s, ":")
	inner, closed := strings.CutSuffix(inner, ":")
	if !opened || !closed || strings.ContainsAny(inner, "\r\n") {
		return nil, false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(inner)
	return raw, err == nil
}

// is reports whether name means a: sha-256, sha256, in either case.
func (a *algorithm) is(name string) bool {
	return strings.EqualFold(name, a.name) || strings.EqualFold(name, strings.ReplaceAll(a.name, "-", ""))
}
