package rest

import (
	"encoding"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"elstore/volume/fault"
)

// DecodeQuery fills a struct T from r's query string by the same tags and with the same errors as Decode.
// A value is read as the field's type asks: "true" for a bool, "5" for a number. A key that comes twice
// is refused unless its field is a slice, which takes one element from each.
func DecodeQuery[T any](r *http.Request) (T, error) {
	var v T
	if err := decodeQuery(r.URL.RawQuery, &v); err != nil {
		return v, err
	}
	return v, bind(r, reflect.ValueOf(&v).Elem())
}

// DecodeAny is Decode where r has a body, else DecodeQuery: for calls that answer GET and POST alike, because
// some clients send a JSON body with GET.
func DecodeAny[T any](r *http.Request) (T, error) {
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && (r.Body == nil || r.ContentLength == 0) {
		return DecodeQuery[T](r)
	}
	return Decode[T](r)
}

// decodeQuery fills into, a pointer to a struct, from a raw query string.
func decodeQuery(raw string, into any) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return fault.New(fault.BadRequest, "the query string is malformed", err)
	}
	v := reflect.ValueOf(into).Elem()
	p := planOf(v.Type())
	members := make([]member, 0, len(query))
	for _, key := range slices.Sorted(maps.Keys(query)) {
		values := query[key]
		for _, s := range append(slices.Clip(values), key) {
			if !utf8.ValidString(s) {
				return fault.Errorf(fault.BadRequest, "the query string is not valid UTF-8 in %s", shorten(quote(key)))
			}
		}
		var want reflect.Type
		if at, known := p.byKey[key]; known {
			want = v.FieldByIndex(p.fields[at].index).Type()
		}
		text, err := queryText(key, values, want)
		if err != nil {
			return err
		}
		members = append(members, member{key, text})
	}
	return fillObject(members, v, "")
}

// queryText writes a key's values as the JSON that a field of type want reads; a nil want is an unknown key.
func queryText(key string, values []string, want reflect.Type) (json.RawMessage, error) {
	for want != nil && want.Kind() == reflect.Pointer {
		want = want.Elem()
	}
	if want != nil && want.Kind() == reflect.Slice && !decodesItself(want) {
		var b strings.Builder
		for i, s := range values {
			b.WriteByte("[,"[min(i, 1)])
			b.WriteString(scalarText(s, want.Elem()))
		}
		return json.RawMessage(b.String() + "]"), nil
	}
	if len(values) != 1 {
		return nil, fault.Errorf(fault.BadRequest, "the query string has the key %s %d times", shorten(quote(key)), len(values))
	}
	return json.RawMessage(scalarText(values[0], want)), nil
}

// scalarText writes s as the JSON that a field of type want reads: as it is where the field takes a number or a
// bool and s is one, else as a string. A type with UnmarshalJSON is asked, the string first.
func scalarText(s string, want reflect.Type) string {
	for want != nil && want.Kind() == reflect.Pointer {
		want = want.Elem()
	}
	quoted := quote(s)
	if want == nil || want.Kind() == reflect.String && !decodesItself(want) {
		return quoted
	}
	if decodesItself(want) {
		u, ok := reflect.TypeAssert[json.Unmarshaler](reflect.New(want))
		if !ok || u.UnmarshalJSON([]byte(quoted)) == nil {
			return quoted
		}
	}
	if n, err := split([]byte(s)); err == nil && string(n.text) == s && strings.IndexByte(`{["n`, n.kind) < 0 {
		return s
	}
	return quoted
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
)

// decodesItself reports whether a t unmarshals itself.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler)
}
