package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"elstore/volume/fault"
)

func TestSplitAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"object":           `{"a":1,"b":[true,false,null]}`,
		"same key apart":   `{"a":{"x":1},"b":{"x":1},"c":[{"x":1},{"x":1}]}`,
		"case differs":     `{"a":1,"A":2}`,
		"space everywhere": " \t\r\n{ \"a\" : [ 1 , 2 ] } \n",
		"numbers":          `[0,-0,1,-1.5,10e3,1E+2,2e-2,0.0]`,
		"escapes":          `["\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00"]`,
		"plain text":       `"é 😀"`,
		"empty containers": `[{},[],""]`,
		"100 levels":       strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"bare number":      `7`,
		"NUL as an escape": `"\u0000"`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := split([]byte(text)); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		})
	}
}

func TestSplitRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"nothing":             {"", "ends where a value is expected"},
		"space only":          {" \n", "ends where a value is expected"},
		"key twice":           {`{"a":1,"a":1}`, `the key "a" twice`},
		"key twice, escaped":  {`{"a":1,"\u0061":1}`, `the key "a" twice`},
		"key twice, deep":     {`{"x":[{"y":{"k":1,"z":0,"k":2}}]}`, `the key "k" twice`},
		"empty key twice":     {`{"":1,"":1}`, `the key "" twice`},
		"truncated object":    {`{"a":1`, "ends where a comma or } is expected"},
		"truncated string":    {`{"a":"b`, "ends where the rest of a string is expected"},
		"truncated key":       {`{"a`, "ends where the rest of a string is expected"},
		"truncated escape":    {`"\`, `ends where one of "\/bfnrtu is expected`},
		"truncated hex":       {`"\u00`, "ends where a hexadecimal digit is expected"},
		"truncated word":      {`tru`, "ends where the word true is expected"},
		"truncated number":    {`-`, "ends where a digit is expected"},
		"truncated exponent":  {`1e+`, "ends where a digit is expected"},
		"no colon":            {`{"a" 1}`, "where a colon is expected"},
		"no value":            {`{"a":}`, "'}' at byte 5, where a value is expected"},
		"trailing comma":      {`{"a":1,}`, "'}' at byte 7, where a key in double quotes is expected"},
		"trailing comma [":    {`[1,]`, "']' at byte 3, where a value is expected"},
		"trailing garbage":    {`{"a":1} x`, "more text after its JSON value, at byte 8"},
		"two values":          {`{}{}`, "more text after its JSON value, at byte 2"},
		"NUL after":           {"{}\x00", "more text after its JSON value, at byte 2"},
		"leading zero":        {`[01]`, "where a comma or ] is expected"},
		"plus":                {`[+1]`, "where a value is expected"},
		"bare point":          {`[1.]`, "where a digit is expected"},
		"NaN":                 {`[NaN]`, "'N' at byte 1, where a value is expected"},
		"Infinity":            {`[-Infinity]`, "where a digit is expected"},
		"single quotes":       {`{'a':1}`, "where a key in double quotes is expected"},
		"comment":             {`[1/*x*/]`, "where a comma or ] is expected"},
		"raw line break":      {"\"a\nb\"", "where the rest of a string is expected"},
		"raw NUL":             {"\"a\x00b\"", "where the rest of a string is expected"},
		"invalid UTF-8":       {"{\"a\":\"\xff\"}", "not valid UTF-8 at byte 6"},
		"overlong UTF-8":      {"\"\xc0\xaf\"", "not valid UTF-8 at byte 1"},
		"surrogate as UTF-8":  {"\"\xed\xa0\x80\"", "not valid UTF-8 at byte 1"},
		"byte order mark":     {"\ufeff{}", "where a value is expected"},
		"high surrogate only": {`"\ud800"`, "half a surrogate pair"},
		"low surrogate only":  {`"\udc00"`, "half a surrogate pair"},
		"two high surrogates": {`"\ud800\ud800"`, "half a surrogate pair"},
		"surrogate and n":     {`"\ud800\n"`, "half a surrogate pair"},
		"101 levels":          {strings.Repeat("[", 101) + strings.Repeat("]", 101), "deeper than 100 levels"},
		"101 objects":         {strings.Repeat(`{"a":`, 101) + "1" + strings.Repeat("}", 101), "deeper than 100 levels"},
		"10000 levels":        {strings.Repeat("[", 10000), "deeper than 100 levels"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := split([]byte(c.text))
			if !fault.Is(err, fault.BadRequest) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want BadRequest saying %q", err, c.says)
			}
		})
	}
}

func TestSplitTakesApart(t *testing.T) {
	n, err := split([]byte(` {"b": [1, {"x":2}] , "\u0061":"s"} `))
	if err != nil {
		t.Fatal(err)
	}
	if n.kind != '{' || len(n.members) != 2 || n.members[0].key != "b" || n.members[1].key != "a" ||
		string(n.members[0].value) != `[1, {"x":2}]` || string(n.members[1].value) != `"s"` {
		t.Errorf("got %+v", n)
	}
	n, err = split(n.members[0].value)
	if err != nil || n.kind != '[' || len(n.elements) != 2 || string(n.elements[1]) != `{"x":2}` {
		t.Errorf("got %+v, %v", n, err)
	}
}

func TestShorten(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"short":      {`"raw"`, `"raw"`},
		"just fits":  {strings.Repeat("é", 64), strings.Repeat("é", 64)},
		"one over":   {strings.Repeat("é", 65), strings.Repeat("é", 64) + "…"},
		"line break": {"a\nb", `a\u000ab`},
		"terminal":   {"\x1b[2J", `\u001b[2J`},
		"right-left": {"a\u202eb", `a\u202eb`},
		"tag letter": {"a\U000e0041b", `a\udb40\udc41b`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := shorten(c.in); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// twice reports, by encoding/json's own tokens, whether an object of the JSON text data has a key twice.
func twice(data []byte) bool {
	type level struct {
		keys  map[string]bool // nil in an array
		isKey bool
	}
	var open []level
	d := json.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			return false // not JSON, which is another check's business
		}
		top := len(open) - 1
		if s, ok := token.(string); ok && top >= 0 && open[top].isKey {
			if open[top].keys[s] {
				return true
			}
			open[top].keys[s] = true
			open[top].isKey = false
			continue
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{map[string]bool{}, true})
			continue
		case json.Delim('['):
			open = append(open, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
			top--
		}
		if top >= 0 && open[top].keys != nil {
			open[top].isKey = true
		}
	}
}

// FuzzSplit compares split with encoding/json: what split takes is JSON without double keys and not too deep,
// and JSON that it doesn't take is one of those, or not Unicode.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":{"a":2}}`, `{"a":1,"a":2}`, `[{"x":{"y":1,"y":2}}]`, `"\ud83d\ude00"`, `"\ud800"`, `1e5`, `01`, "{}x", `[[[[]]]]`,
		"\xff", `{"\u0061":1,"a":2}`, ` { } `, `-0.0e-0`, `nul`, `"\u12"`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := split(data)
		valid := json.Valid(data) && utf8.Valid(data)
		if err == nil {
			if !valid {
				t.Fatalf("took %q, which is not JSON", data)
			}
			if twice(data) {
				t.Fatalf("took %q, which has a key twice", data)
			}
			return
		}
		if !fault.Is(err, fault.BadRequest) {
			t.Fatalf("refused %q with %v", data, err)
		}
		says := err.Error()
		switch {
		case !valid, strings.Contains(says, "half a surrogate"), strings.Contains(says, "deeper than"):
		case strings.Contains(says, "twice") && twice(data):
		default:
			t.Fatalf("refused %q with %v", data, err)
		}
	})
}
