package rest

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"

	"elstore/volume/fault"
)

// Bounds on what a request may bring along.
const (
	maxElements   = 10_000   // elements of an array
	maxExtraKeys  = 64       // unknown keys that are kept
	maxExtraBytes = 64 << 10 // and their text, keys included
)

// fillTop fills v, a struct or a slice of structs, from the whole body.
func fillTop(n node, v reflect.Value) error {
	if v.Kind() != reflect.Slice {
		if n.kind != '{' {
			return badBody("is %s where a JSON object is expected", kindName(n.kind))
		}
		return fillObject(n.members, v, "")
	}
	if n.kind != '[' {
		return badBody("is %s where a JSON array of objects is expected", kindName(n.kind))
	}
	if len(n.elements) > maxElements {
		return badBody("is an array of %d elements; at most %d are allowed", len(n.elements), maxElements)
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.elements), len(n.elements)))
	for i, text := range n.elements {
		element, err := split(text)
		if err != nil {
			return err
		}
		if element.kind != '{' {
			return atIndex(i, badBody("has %s at [%d], where a JSON object is expected", kindName(element.kind), i))
		}
		if err := fillObject(element.members, v.Index(i), fmt.Sprintf("[%d].", i)); err != nil {
			return atIndex(i, err)
		}
	}
	return nil
}

// fillObject fills struct v by its plan. path is what stands before a key in messages. What is missing is
// reported before what is invalid, the first in the struct's order.
func fillObject(members []member, v reflect.Value, path string) error {
	p := planOf(v.Type())
	given := make([]*member, len(p.fields))
	var extra map[string]json.RawMessage
	extraBytes := 0
	for i := range members {
		m := &members[i]
		at, known := p.byKey[m.key]
		switch {
		case known && isNull(m.value):
		case known && given[at] == nil:
			given[at] = m
		case known && !bytes.Equal(given[at].value, m.value):
			return fault.Errorf(fault.BadRequest, "'%s%s' and '%s%s' are two names of one key and differ; give one of them",
				path, given[at].key, path, m.key)
		case known || p.extra == nil:
		default:
			extraBytes += len(m.key) + len(m.value)
			if len(extra) == maxExtraKeys || extraBytes > maxExtraBytes {
				return badBody("has too much under unknown keys; at most %d keys and %d bytes are kept", maxExtraKeys, maxExtraBytes)
			}
			if extra == nil {
				extra = make(map[string]json.RawMessage)
			}
			extra[m.key] = bytes.Clone(m.value)
		}
	}
	for i, f := range p.fields {
		if f.required && given[i] == nil {
			return missing(f.key)
		}
	}
	for i, f := range p.fields {
		if given[i] == nil {
			continue
		}
		e := entry{path: path + given[i].key, secret: f.secret}
		if err := e.fill(given[i].value, v.FieldByIndex(f.index)); err != nil {
			return err
		}
	}
	if p.extra != nil {
		v.FieldByIndex(p.extra).Set(reflect.ValueOf(extra))
	}
	return nil
}

// missing is the error for a required key that is absent. Clients know this text: it may not change.
func missing(key string) error {
	return fault.Errorf(fault.BadRequest, "request was badly formatted. '%s'", key)
}

func isNull(text []byte) bool { return string(text) == "null" }

func kindName(kind byte) string {
	switch kind {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

// entry is one value on its way into a field.
type entry struct {
	path   string // the key, as messages name it
	secret bool   // messages don't show the value
}

// Allower is what a field's type may have to say, in error messages, what its values are: Allowed completes the
// sentence "'key' is 7; allowed is …", such as "raw, qcow2 or rbd".
type Allower interface{ Allowed() string }

// fill puts text, one checked JSON value that is not null, into v.
func (e entry) fill(text []byte, v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return e.fill(text, v.Elem())
	}
	switch u := v.Addr().Interface().(type) {
	case json.Unmarshaler:
		return e.refused(text, v, u.UnmarshalJSON(bytes.Clone(text)), "")
	case encoding.TextUnmarshaler:
		s, err := unquote(text, true)
		if text[0] != '"' || err != nil {
			return e.invalid(text, v, "a string")
		}
		return e.refused(text, v, u.UnmarshalText([]byte(s)), "")
	}
	switch v.Kind() {
	case reflect.Struct:
		return e.fillStruct(text, v)
	case reflect.Slice:
		return e.fillSlice(text, v)
	case reflect.Bool:
		return e.refused(text, v, json.Unmarshal(text, v.Addr().Interface()), "true or false")
	case reflect.String:
		return e.refused(text, v, json.Unmarshal(text, v.Addr().Interface()), "a string")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		most := int64(math.MaxInt64) >> (64 - v.Type().Bits())
		return e.refused(text, v, json.Unmarshal(text, v.Addr().Interface()),
			fmt.Sprintf("an integer from %d to %d", -most-1, most))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return e.refused(text, v, json.Unmarshal(text, v.Addr().Interface()),
			"an integer from 0 to "+strconv.FormatUint(math.MaxUint64>>(64-v.Type().Bits()), 10))
	case reflect.Float32, reflect.Float64:
		return e.refused(text, v, json.Unmarshal(text, v.Addr().Interface()), "a number")
	default: // maps and any: the plain rules of encoding/json, on text whose keys are known to differ
		return e.refused(text, v, json.Unmarshal(text, v.Addr().Interface()), "")
	}
}

func (e entry) fillStruct(text []byte, v reflect.Value) error {
	n, err := split(text)
	if err != nil {
		return err
	}
	if n.kind != '{' {
		return e.invalid(text, v, "an object")
	}
	return fillObject(n.members, v, e.path+".")
}

func (e entry) fillSlice(text []byte, v reflect.Value) error {
	n, err := split(text)
	if err != nil {
		return err
	}
	if n.kind != '[' {
		return e.invalid(text, v, "an array")
	}
	if len(n.elements) > maxElements {
		return fault.Errorf(fault.BadRequest, "'%s' has %d elements; at most %d are allowed", e.path, len(n.elements), maxElements)
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.elements), len(n.elements)))
	for i, element := range n.elements {
		at := entry{path: fmt.Sprintf("%s[%d]", e.path, i), secret: e.secret}
		if isNull(element) {
			return at.invalid(element, v.Index(i), "a value")
		}
		if err := at.fill(element, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// refused turns the error with which v's own type refused text into one for the caller. A fault keeps its code,
// and its sentence where the type doesn't say itself what is allowed.
func (e entry) refused(text []byte, v reflect.Value, err error, allowed string) error {
	if err == nil {
		return nil
	}
	code := fault.BadRequest
	known, classified := errors.AsType[*fault.Error](err)
	if classified {
		code = known.Code
	}
	if a, ok := reflect.TypeAssert[Allower](v.Addr()); ok {
		allowed = a.Allowed()
	}
	switch {
	case allowed != "":
		return &fault.Error{Code: code, Msg: e.sentence(text, allowed), Err: err}
	case classified && !e.secret:
		return &fault.Error{Code: code, Msg: fmt.Sprintf("'%s': %s", e.path, known.Msg), Err: err}
	}
	return &fault.Error{Code: code, Msg: fmt.Sprintf("'%s' is %s, which is not valid here", e.path, e.show(text)), Err: err}
}

// invalid is the error for a value of the wrong JSON type.
func (e entry) invalid(text []byte, v reflect.Value, allowed string) error {
	if a, ok := reflect.TypeAssert[Allower](v.Addr()); ok {
		allowed = a.Allowed()
	}
	return &fault.Error{Code: fault.BadRequest, Msg: e.sentence(text, allowed)}
}

func (e entry) sentence(text []byte, allowed string) string {
	return fmt.Sprintf("'%s' is %s; allowed is %s", e.path, e.show(text), allowed)
}

func (e entry) show(text []byte) string {
	if e.secret {
		return "[redacted]"
	}
	return shorten(string(text))
}
