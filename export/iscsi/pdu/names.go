package pdu

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxNameLength is that of an iSCSI name in bytes; section 4.2.7.1.
const MaxNameLength = 223

// What ParseName finds wrong.
var (
	ErrNameLength = errors.New("an iSCSI name has 1 to 223 bytes")
	ErrNameForm   = errors.New("an iSCSI name is iqn.YYYY-MM.domain[:string], eui. and 16 or naa. and 16 or 32 hexadecimal digits")
	ErrNameChar   = errors.New("an iSCSI name has letters, digits, hyphens, dots and colons")
)

// Name is an iSCSI name as ParseName normalised it: two names are the same node's where they are equal.
type Name string

// ParseName checks the form of an iSCSI name (section 4.2.7) and lowers its letters, as RFC 3722 has names
// compared. Of that profile the rest, NFKC, is not done: names of ASCII do not need it. Against it an underscore
// is taken, since initiators put host names into theirs.
func ParseName(s string) (Name, error) {
	if s == "" || len(s) > MaxNameLength {
		return "", ErrNameLength
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, isForbidden) {
		return "", ErrNameChar
	}
	lower := strings.ToLower(s)
	if len(lower) > MaxNameLength {
		return "", ErrNameLength
	}
	kind, rest, _ := strings.Cut(lower, ".")
	ok := false
	switch kind {
	case "iqn":
		ok = isQualified(rest)
	case "eui":
		ok = isHex(rest, 16)
	case "naa":
		ok = isHex(rest, 16) || isHex(rest, 32)
	}
	if !ok {
		return "", ErrNameForm
	}
	return Name(lower), nil
}

func isForbidden(r rune) bool {
	if r < utf8.RuneSelf {
		return !isAlphanumeric(byte(r)) && !strings.ContainsRune("-.:_", r)
	}
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
}

// isQualified checks what follows iqn. : a month, a naming authority and perhaps a colon and a string.
func isQualified(s string) bool {
	const month = "YYYY-MM."
	if len(s) <= len(month) || s[4] != '-' || s[7] != '.' {
		return false
	}
	for _, i := range []int{0, 1, 2, 3, 5, 6} {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	if mm := s[5:7]; mm < "01" || mm > "12" {
		return false
	}
	authority, _, _ := strings.Cut(s[len(month):], ":")
	return authority != "" && authority[0] != '.'
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}
