package rest

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"elstore/volume/fault"
)

// maxDepth bounds how deep arrays and objects may nest; no request needs more than three levels.
const maxDepth = 100

// member is one key of a JSON object with its value's own text.
type member struct {
	key   string
	value json.RawMessage
}

// node is one JSON value that was checked to its end and taken apart one level deep.
type node struct {
	kind     byte // its first byte: { [ " t f n - or a digit
	text     json.RawMessage
	members  []member          // of an object, in order
	elements []json.RawMessage // of an array, in order
}

// split checks that data is one JSON value (RFC 8259) and nothing else, valid UTF-8 with paired surrogates,
// at most maxDepth levels deep, with no key twice in any object, and takes it apart one level. It is stricter
// than encoding/json, which lets the last of two equal keys win and puts U+FFFD for what is not Unicode.
func split(data []byte) (node, error) {
	if !utf8.Valid(data) {
		return node{}, badBody("is not valid UTF-8 at byte %d", invalidAt(data))
	}
	s := scanner{data: data}
	s.space()
	n := node{kind: s.peek()}
	start := s.pos
	var err error
	switch n.kind {
	case '{':
		err = s.object(1, func(key string, value []byte) {
			n.members = append(n.members, member{key, value})
		})
	case '[':
		err = s.array(1, func(value []byte) { n.elements = append(n.elements, value) })
	default:
		err = s.value(1)
	}
	if err != nil {
		return node{}, err
	}
	n.text = data[start:s.pos:s.pos]
	s.space()
	if s.pos != len(data) {
		return node{}, badBody("has more text after its JSON value, at byte %d", s.pos)
	}
	return n, nil
}

func badBody(format string, args ...any) error {
	return fault.Errorf(fault.BadRequest, "the request's body "+format, args...)
}

// invalidAt returns where data stops being UTF-8.
func invalidAt(data []byte) int {
	at := 0
	for at < len(data) {
		r, n := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		at += n
	}
	return at
}

// scanner walks valid UTF-8 and checks that it is JSON.
type scanner struct {
	data []byte
	pos  int
}

// peek returns the next byte, 0 at the end (a NUL is nowhere valid in JSON either).
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// expected makes the error for a byte that can't stand here.
func (s *scanner) expected(what string) error {
	if s.pos >= len(s.data) {
		return badBody("is not whole JSON: it ends where %s is expected", what)
	}
	r, _ := utf8.DecodeRune(s.data[s.pos:])
	return badBody("is not JSON: %q at byte %d, where %s is expected", r, s.pos, what)
}

func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '{':
		return s.object(depth, nil)
	case c == '[':
		return s.array(depth, nil)
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.expected("a value")
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		if s.peek() != word[i] {
			return s.expected(fmt.Sprintf("the word %s", word))
		}
		s.pos++
	}
	return nil
}

// object reads from { to }, calling emit (which may be nil) with each member.
func (s *scanner) object(depth int, emit func(key string, value []byte)) error {
	if depth > maxDepth {
		return badBody("is nested deeper than %d levels", maxDepth)
	}
	s.pos++
	s.space()
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	seen := make(map[string]struct{})
	for {
		if s.peek() != '"' {
			return s.expected("a key in double quotes")
		}
		key, err := s.str()
		if err != nil {
			return err
		}
		if _, twice := seen[key]; twice {
			return badBody("has the key %s twice", shorten(quote(key)))
		}
		seen[key] = struct{}{}
		s.space()
		if s.peek() != ':' {
			return s.expected("a colon")
		}
		s.pos++
		s.space()
		start := s.pos
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if emit != nil {
			emit(key, s.data[start:s.pos:s.pos])
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
			s.space()
		case '}':
			s.pos++
			return nil
		default:
			return s.expected("a comma or }")
		}
	}
}

// array reads from [ to ], calling emit (which may be nil) with each element.
func (s *scanner) array(depth int, emit func(value []byte)) error {
	if depth > maxDepth {
		return badBody("is nested deeper than %d levels", maxDepth)
	}
	s.pos++
	s.space()
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		start := s.pos
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if emit != nil {
			emit(s.data[start:s.pos:s.pos])
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
			s.space()
		case ']':
			s.pos++
			return nil
		default:
			return s.expected("a comma or ]")
		}
	}
}
