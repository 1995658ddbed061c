package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// A token is written "elst_", 16 digits of its id, "_", 64 digits of its secret, all in lower-case hexadecimal: of
// fixed length and one spelling, so that what was cut off, pasted twice or typed is told by its form alone, and
// easy to find for programs that look for leaked secrets.
const (
	prefix      = "elst_"
	idDigits    = 16
	secretBytes = 32
	textLength  = len(prefix) + idDigits + 1 + 2*secretBytes
)

type secret [secretBytes]byte

// newToken makes an id and a secret, which crypto/rand never fails to.
func newToken() (id string, s secret) {
	var random [idDigits / 2]byte
	_, _ = rand.Read(random[:])
	_, _ = rand.Read(s[:])
	return hex.EncodeToString(random[:]), s
}

// format writes a token.
func format(id string, s secret) string { return prefix + id + "_" + hex.EncodeToString(s[:]) }

// parseToken reads what format wrote, and nothing else.
func parseToken(text string) (id string, s secret, ok bool) {
	if len(text) != textLength || !strings.HasPrefix(text, prefix) || text[len(prefix)+idDigits] != '_' {
		return "", s, false
	}
	id, digits := text[len(prefix):len(prefix)+idDigits], text[len(prefix)+idDigits+1:]
	if !lowerHex(id) || !lowerHex(digits) {
		return "", s, false
	}
	_, err := hex.Decode(s[:], []byte(digits))
	return id, s, err == nil
}

func lowerHex(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// sum is what the store keeps of a secret.
func (s secret) sum() [sha256.Size]byte { return sha256.Sum256(s[:]) }
