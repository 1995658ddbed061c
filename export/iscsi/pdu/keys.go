package pdu

import (
	"bytes"
	"errors"
	"strings"
)

// The limits of text; section 6.1.
const (
	MaxKeyLength   = 63   // bytes of a key's name
	MaxValueLength = 255  // bytes of a value, of each where it is a list
	MaxBinaryText  = 8192 // bytes of a value that encodes binary data, as it stands in the text
)

// What ParseText finds wrong with a text.
var (
	ErrTextEnd     = errors.New("the text does not end with a null byte")
	ErrTextEquals  = errors.New("a key has no value")
	ErrKeyName     = errors.New("a key's name is not of 1 to 63 letters, digits and .-+@_#, the first a letter")
	ErrValueLength = errors.New("a value is longer than 255 bytes, or an encoded one than 8192")
	ErrTooManyKeys = errors.New("the text has too many keys")
)

// Pair is a key=value pair; section 6.1.
type Pair struct{ Key, Value string }

// ParseText takes a whole text apart: pairs, each with a null byte after it, at most limit of them. Null bytes
// beyond those are passed over, as initiators send them for padding. Nothing is said of keys that come twice.
func ParseText(text []byte, limit int) ([]Pair, error) {
	if len(text) > 0 && text[len(text)-1] != 0 {
		return nil, ErrTextEnd
	}
	pairs := make([]Pair, 0, min(limit, bytes.Count(text, []byte{'='})))
	for item := range strings.SplitSeq(string(text), "\x00") {
		if item == "" {
			continue
		}
		key, value, found := strings.Cut(item, "=")
		switch {
		case !found:
			return nil, ErrTextEquals
		case !isKeyName(key):
			return nil, ErrKeyName
		case !fits(value):
			return nil, ErrValueLength
		case len(pairs) == limit:
			return nil, ErrTooManyKeys
		}
		pairs = append(pairs, Pair{key, value})
	}
	return pairs, nil
}

// AppendPair appends a pair and the null byte after it.
func AppendPair(dst []byte, key, value string) []byte {
	return append(append(append(append(dst, key...), '='), value...), 0)
}

// isKeyName checks a standard-label, or the X- and X# forms of private keys; section 6.1. That has it begin with
// a capital, and iSCSIProtocolLevel, of section 13.24, does not.
func isKeyName(key string) bool {
	if key == "" || len(key) > MaxKeyLength || !isAlphanumeric(key[0]) || key[0] <= '9' {
		return false
	}
	for i := range len(key) {
		if c := key[i]; !isAlphanumeric(c) && !strings.ContainsRune(".-+@_#", rune(c)) {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// fits checks the length of a value, or of each of a list.
func fits(value string) bool {
	if len(value) > MaxBinaryText {
		return false
	}
	if len(value) <= MaxValueLength || isEncoded(value) {
		return true
	}
	for item := range strings.SplitSeq(value, ",") {
		if len(item) > MaxValueLength {
			return false
		}
	}
	return true
}
