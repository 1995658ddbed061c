package rest

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf16"
)

// str reads a string from its opening to its closing quote and returns what it says.
func (s *scanner) str() (string, error) {
	start := s.pos
	s.pos++
	escaped := false
	for {
		switch c := s.peek(); {
		case c == '"':
			s.pos++
			return unquote(s.data[start:s.pos], escaped)
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return "", err
			}
		case c < 0x20:
			return "", s.expected("the rest of a string")
		default:
			s.pos++
		}
	}
}

// unquote returns what a checked JSON string says.
func unquote(text []byte, escaped bool) (string, error) {
	if !escaped {
		return string(text[1 : len(text)-1]), nil
	}
	var v string
	if err := json.Unmarshal(text, &v); err != nil {
		return "", badBody("is not JSON: %w", err)
	}
	return v, nil
}

// escape reads one escape sequence, or the two that make a surrogate pair. Half a pair is refused: it has no
// UTF-8 form (RFC 7493 section 2.1), and what is stored would not be what was sent.
func (s *scanner) escape() error {
	r, err := s.escaped()
	if err != nil || !utf16.IsSurrogate(r) {
		return err
	}
	if s.peek() == '\\' {
		low, err := s.escaped()
		if err != nil {
			return err
		}
		if utf16.DecodeRune(r, low) != unicode.ReplacementChar {
			return nil
		}
	}
	return badBody("has half a surrogate pair before byte %d", s.pos)
}

// escaped reads a backslash and what it escapes; for \uXXXX it returns the code unit, else 0.
func (s *scanner) escaped() (rune, error) {
	s.pos++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return 0, nil
	case 'u':
	default:
		return 0, s.expected(`one of "\/bfnrtu`)
	}
	s.pos++
	var r rune
	for range 4 {
		c := s.peek()
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, s.expected("a hexadecimal digit")
		}
		r = r<<4 | rune(c)
		s.pos++
	}
	return r, nil
}

// number reads a number (RFC 8259 section 6).
func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.peek() == '.' {
		s.pos++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		return s.digits()
	}
	return nil
}

// digits reads one or more digits.
func (s *scanner) digits() error {
	if c := s.peek(); c < '0' || c > '9' {
		return s.expected("a digit")
	}
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.pos++
	}
	return nil
}

// quote returns s as a JSON string.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return `""` // can't happen: every string can be encoded
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// maxShown is how many characters of a refused value an error message shows.
const maxShown = 64

// shorten makes text fit to stand in a one-line message: at most maxShown characters, and what does not print
// (line breaks, terminal escapes, direction marks) as \uXXXX.
func shorten(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n == maxShown {
			b.WriteString("…")
			break
		}
		n++
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		if r > 0xffff {
			hi, lo := utf16.EncodeRune(r)
			writeUnit(&b, hi)
			r = lo
		}
		writeUnit(&b, r)
	}
	return b.String()
}

func writeUnit(b *strings.Builder, r rune) {
	const hex = "0123456789abcdef"
	b.WriteString(`\u`)
	for shift := 12; shift >= 0; shift -= 4 {
		b.WriteByte(hex[r>>shift&15])
	}
}
