package pdu

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// The values that answer any key; section 6.2.
const (
	Rejected      = "Reject"
	Irrelevant    = "Irrelevant"
	NotUnderstood = "NotUnderstood"
)

// ParseNumber reads a number as text has it: decimal without leading zeros, or hexadecimal after 0x; section
// 6.1. ok is false for what is no number and for one of more than 64 bits.
func ParseNumber(s string) (n uint64, ok bool) {
	base := 10
	if len(s) > 1 && s[0] == '0' {
		if s[1] != 'x' && s[1] != 'X' {
			return 0, false
		}
		s, base = s[2:], 16
	}
	if s == "" || !isAlphanumeric(s[0]) { // ParseUint knows a sign
		return 0, false
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil
}

// ParseBool reads Yes and No.
func ParseBool(s string) (value, ok bool) { return s == "Yes", s == "Yes" || s == "No" }

// FormatBool is Yes or No.
func FormatBool(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}

// Choose is the answer to an offer of a list: the first of its values that is among supported; section 6.2.1.
func Choose(offer string, supported ...string) (value string, ok bool) {
	for value := range strings.SplitSeq(offer, ",") {
		if slices.Contains(supported, value) {
			return value, true
		}
	}
	return "", false
}

// isEncoded reports whether s begins as an encoded binary value does.
func isEncoded(s string) bool {
	return len(s) > 2 && s[0] == '0' && strings.IndexByte("xXbB", s[1]) >= 0
}

// ParseBinary reads a binary value of 1 to limit bytes: hexadecimal after 0x, with an odd number of digits
// too, or base64 after 0b; section 6.1.
func ParseBinary(s string, limit int) (value []byte, ok bool) {
	if !isEncoded(s) || len(s) > MaxBinaryText {
		return nil, false
	}
	digits := s[2:]
	var err error
	if s[1] == 'x' || s[1] == 'X' {
		if len(digits)%2 == 1 {
			digits = "0" + digits
		}
		value, err = hex.DecodeString(digits)
	} else {
		// RFC 4648 has it padded, some senders leave that away; the decoder would pass over line breaks.
		if strings.ContainsAny(digits, "\r\n") {
			return nil, false
		}
		value, err = base64.RawStdEncoding.Strict().DecodeString(unpad(digits))
	}
	if err != nil || len(value) == 0 || len(value) > limit {
		return nil, false
	}
	return value, true
}

// unpad takes the padding of whole base64 away.
func unpad(s string) string {
	if len(s)%4 == 0 {
		return strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	}
	return s
}

// FormatBinary is value in hexadecimal after 0x: every initiator reads that, and not every one base64.
func FormatBinary(value []byte) string { return "0x" + hex.EncodeToString(value) }
