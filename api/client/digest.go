package client

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"elstore/volume/fault"
)

// digest is the SHA-256 that the bytes of an image must have; "" where it is not known.
type digest string

// newDigest makes a digest of a sum.
func newDigest(sum []byte) digest { return digest(sum) }

// header returns the value of a Repr-Digest header (RFC 9530 section 3).
func (d digest) header() string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString([]byte(d)) + ":"
}

// reprDigest reads the SHA-256 of a Repr-Digest header. One that says none, or what can't be read, says nothing.
func reprDigest(header string) digest {
	for item := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(item), "=")
		if !strings.EqualFold(name, "sha-256") {
			continue
		}
		sum, err := base64.StdEncoding.DecodeString(strings.Trim(value, ":"))
		if err == nil && len(sum) == sha256.Size {
			return digest(sum)
		}
	}
	return ""
}

// check compares what was summed up with d.
func (d digest) check(sum []byte) error {
	if d == "" || d == digest(sum) {
		return nil
	}
	return fault.Errorf(fault.ChecksumMismatch, "what was downloaded has the SHA-256 %s, and the server's image %s",
		hex.EncodeToString(sum), hex.EncodeToString([]byte(d)))
}
