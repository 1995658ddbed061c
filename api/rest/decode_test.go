package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"elstore/volume/fault"
)

// format is a type that decodes itself, says what it takes and classifies its refusals.
type format string

func (f *format) UnmarshalText(text []byte) error {
	if s := string(text); s != "raw" && s != "qcow2" {
		return fault.Errorf(fault.VolumeFormatNotAllowed, "format %q is not known", s)
	}
	*f = format(text)
	return nil
}

func (f *format) Allowed() string { return "raw or qcow2" }

// bus classifies its refusals and leaves the sentence to them.
type bus string

func (b *bus) UnmarshalText(text []byte) error {
	if string(text) != "virtio" {
		return fault.Errorf(fault.VolumeBusNotAllowed, "bus %q is not one of virtio", text)
	}
	*b = bus(text)
	return nil
}

// size takes a number or a numeric string.
type size int64

func (s *size) UnmarshalJSON(text []byte) error {
	r, ok := new(big.Rat).SetString(strings.Trim(string(text), `"`))
	if !ok || r.Sign() <= 0 || r.Cmp(big.NewRat(1e9, 1)) > 0 {
		return errors.New("out of range")
	}
	f, _ := r.Float64()
	*s = size(f * 1e9)
	return nil
}

func (s *size) Allowed() string { return "a number of GB from above 0 to 1000000000" }

type common struct {
	CreatorID string `json:"creatorID" required:"true"`
	Name      string `json:"name" required:"true"`
}

type request struct {
	common
	VolumeID string                     `json:"volume_id" alias:"volumeID,vid"`
	Size     size                       `json:"size"`
	Format   format                     `json:"format,omitempty"`
	Bus      bus                        `json:"bus"`
	Private  *bool                      `json:"private"`
	Limit    int                        `json:"limit"`
	Small    int8                       `json:"small"`
	Count    uint16                     `json:"count"`
	Ratio    float64                    `json:"ratio"`
	Files    []string                   `json:"files"`
	Formats  []format                   `json:"formats"`
	Limits   *limits                    `json:"limits"`
	Raw      json.RawMessage            `json:"raw"`
	Labels   map[string]string          `json:"labels"`
	Secret   string                     `json:"secret" secret:"true"`
	SecretID bus                        `json:"secretBus" secret:"true"`
	Extra    map[string]json.RawMessage `rest:"extra"`
	Ignored  string
	Dashed   string `json:"-"`
}

type limits struct {
	ReadIOPS uint64 `json:"read_iops"`
	Burst    int    `json:"burst" required:"true"`
}

func post(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestDecode(t *testing.T) {
	yes := true
	who := common{"c", "n"}
	for name, c := range map[string]struct {
		body string
		want request
	}{
		"least":                {`{"creatorID":"c","name":"n"}`, request{common: who}},
		"null is absent":       {`{"creatorID":"c","name":"n","private":null,"size":null,"labels":null}`, request{common: who}},
		"pointer":              {`{"creatorID":"c","name":"n","private":true}`, request{common: who, Private: &yes}},
		"key":                  {`{"creatorID":"c","name":"n","volume_id":"v"}`, request{common: who, VolumeID: "v"}},
		"first alias":          {`{"creatorID":"c","name":"n","volumeID":"v"}`, request{common: who, VolumeID: "v"}},
		"second alias":         {`{"creatorID":"c","name":"n","vid":"v"}`, request{common: who, VolumeID: "v"}},
		"alias and key agree":  {`{"creatorID":"c","name":"n","vid":"v","volume_id":"v"}`, request{common: who, VolumeID: "v"}},
		"alias null":           {`{"creatorID":"c","name":"n","vid":null,"volume_id":"v"}`, request{common: who, VolumeID: "v"}},
		"text type":            {`{"creatorID":"c","name":"n","format":"\u0072aw"}`, request{common: who, Format: "raw"}},
		"number for size":      {`{"creatorID":"c","name":"n","size":1.5}`, request{common: who, Size: 1_500_000_000}},
		"string for size":      {`{"creatorID":"c","name":"n","size":"100"}`, request{common: who, Size: 100_000_000_000}},
		"numbers":              {`{"creatorID":"c","name":"n","limit":-5,"small":-128,"count":65535,"ratio":1e-3}`, request{common: who, Limit: -5, Small: -128, Count: 65535, Ratio: 0.001}},
		"list":                 {`{"creatorID":"c","name":"n","files":["a","b"],"formats":["raw"]}`, request{common: who, Files: []string{"a", "b"}, Formats: []format{"raw"}}},
		"nested":               {`{"creatorID":"c","name":"n","limits":{"read_iops":7,"burst":1,"unknown":2}}`, request{common: who, Limits: &limits{7, 1}}},
		"raw":                  {`{"creatorID":"c","name":"n","raw":{"x":[1]}}`, request{common: who, Raw: json.RawMessage(`{"x":[1]}`)}},
		"map":                  {`{"creatorID":"c","name":"n","labels":{"a":"b"}}`, request{common: who, Labels: map[string]string{"a": "b"}}},
		"unknown keys":         {`{"creatorID":"c","name":"n","hw_device":"sda","ip":null}`, request{common: who, Extra: map[string]json.RawMessage{"hw_device": json.RawMessage(`"sda"`), "ip": json.RawMessage("null")}}},
		"another case":         {`{"creatorID":"c","name":"n","Limit":5}`, request{common: who, Extra: map[string]json.RawMessage{"Limit": json.RawMessage("5")}}},
		"fields without a tag": {`{"creatorID":"c","name":"n","Ignored":"x"}`, request{common: who, Extra: map[string]json.RawMessage{"Ignored": json.RawMessage(`"x"`)}}},
		"empty text":           {`{"creatorID":"","name":"n"}`, request{common: common{"", "n"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Decode[request](post(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	with := func(more string) string { return `{"creatorID":"c","name":"n",` + more + `}` }
	for name, c := range map[string]struct {
		body string
		code fault.Code
		msg  string
	}{
		"empty body":              {"", fault.BadRequest, "request was badly formatted. 'creatorID'"},
		"first missing":           {`{}`, fault.BadRequest, "request was badly formatted. 'creatorID'"},
		"second missing":          {`{"creatorID":"c"}`, fault.BadRequest, "request was badly formatted. 'name'"},
		"null is missing":         {`{"creatorID":null,"name":"n"}`, fault.BadRequest, "request was badly formatted. 'creatorID'"},
		"wrong case is missing":   {`{"creatorid":"c","name":"n"}`, fault.BadRequest, "request was badly formatted. 'creatorID'"},
		"missing before invalid":  {`{"creatorID":5}`, fault.BadRequest, "request was badly formatted. 'name'"},
		"missing in nested":       {with(`"limits":{}`), fault.BadRequest, "request was badly formatted. 'burst'"},
		"array":                   {`[]`, fault.BadRequest, "the request's body is an array where a JSON object is expected"},
		"null":                    {`null`, fault.BadRequest, "the request's body is null where a JSON object is expected"},
		"string":                  {`"x"`, fault.BadRequest, "the request's body is a string where a JSON object is expected"},
		"bool":                    {`true`, fault.BadRequest, "the request's body is true or false where a JSON object is expected"},
		"form":                    {`creatorID=c&name=n`, fault.BadRequest, "the request's body is not JSON: 'c' at byte 0, where a value is expected"},
		"number for string":       {with(`"volume_id":5`), fault.BadRequest, "'volume_id' is 5; allowed is a string"},
		"alias is named":          {with(`"vid":5`), fault.BadRequest, "'vid' is 5; allowed is a string"},
		"aliases differ":          {with(`"vid":"a","volumeID":"b"`), fault.BadRequest, "'vid' and 'volumeID' are two names of one key and differ; give one of them"},
		"string for bool":         {with(`"private":"yes"`), fault.BadRequest, `'private' is "yes"; allowed is true or false`},
		"number for bool":         {with(`"private":1`), fault.BadRequest, "'private' is 1; allowed is true or false"},
		"fraction for int":        {with(`"limit":1.5`), fault.BadRequest, "'limit' is 1.5; allowed is an integer from -9223372036854775808 to 9223372036854775807"},
		"huge int":                {with(`"limit":1e30`), fault.BadRequest, "'limit' is 1e30; allowed is an integer from -9223372036854775808 to 9223372036854775807"},
		"int8 over":               {with(`"small":128`), fault.BadRequest, "'small' is 128; allowed is an integer from -128 to 127"},
		"negative uint":           {with(`"count":-1`), fault.BadRequest, "'count' is -1; allowed is an integer from 0 to 65535"},
		"string for number":       {with(`"ratio":"1"`), fault.BadRequest, `'ratio' is "1"; allowed is a number`},
		"number past float":       {with(`"ratio":1e400`), fault.BadRequest, "'ratio' is 1e400; allowed is a number"},
		"own type, own code":      {with(`"format":"vhd"`), fault.VolumeFormatNotAllowed, `'format' is "vhd"; allowed is raw or qcow2`},
		"own type, not text":      {with(`"format":{"a":1}`), fault.BadRequest, `'format' is {"a":1}; allowed is raw or qcow2`},
		"own sentence":            {with(`"bus":"isa"`), fault.VolumeBusNotAllowed, `'bus': bus "isa" is not one of virtio`},
		"own type, not text, bus": {with(`"bus":7`), fault.BadRequest, `'bus' is 7; allowed is a string`},
		"size negative":           {with(`"size":-1`), fault.BadRequest, "'size' is -1; allowed is a number of GB from above 0 to 1000000000"},
		"size zero":               {with(`"size":0`), fault.BadRequest, "'size' is 0; allowed is a number of GB from above 0 to 1000000000"},
		"size huge":               {with(`"size":1e30`), fault.BadRequest, "'size' is 1e30; allowed is a number of GB from above 0 to 1000000000"},
		"size NaN text":           {with(`"size":"NaN"`), fault.BadRequest, `'size' is "NaN"; allowed is a number of GB from above 0 to 1000000000`},
		"element":                 {with(`"files":["a",5]`), fault.BadRequest, "'files[1]' is 5; allowed is a string"},
		"null element":            {with(`"files":[null]`), fault.BadRequest, "'files[0]' is null; allowed is a value"},
		"own type in list":        {with(`"formats":["raw","vhd"]`), fault.VolumeFormatNotAllowed, `'formats[1]' is "vhd"; allowed is raw or qcow2`},
		"null of own type":        {with(`"formats":[null]`), fault.BadRequest, `'formats[0]' is null; allowed is raw or qcow2`},
		"no list":                 {with(`"files":"a"`), fault.BadRequest, `'files' is "a"; allowed is an array`},
		"long list":               {with(`"files":[` + strings.Repeat(`"",`, 10000) + `""]`), fault.BadRequest, "'files' has 10001 elements; at most 10000 are allowed"},
		"no object":               {with(`"limits":7`), fault.BadRequest, "'limits' is 7; allowed is an object"},
		"nested":                  {with(`"limits":{"burst":1,"read_iops":"x"}`), fault.BadRequest, `'limits.read_iops' is "x"; allowed is an integer from 0 to 18446744073709551615`},
		"map of others":           {with(`"labels":{"a":1}`), fault.BadRequest, `'labels' is {"a":1}, which is not valid here`},
		"secret":                  {with(`"secret":12345678`), fault.BadRequest, "'secret' is [redacted]; allowed is a string"},
		"secret of own sentence":  {with(`"secretBus":"hunter2"`), fault.VolumeBusNotAllowed, "'secretBus' is [redacted], which is not valid here"},
		"long value":              {with(`"private":"` + strings.Repeat("x", 100) + `"`), fault.BadRequest, `'private' is "` + strings.Repeat("x", 63) + `…; allowed is true or false`},
		"line break in value":     {with("\"private\":[\n1]"), fault.BadRequest, `'private' is [\u000a1]; allowed is true or false`},
		"duplicate key":           {`{"creatorID":"c","name":"n","name":"n"}`, fault.BadRequest, `the request's body has the key "name" twice`},
		"duplicate deep":          {with(`"x":{"y":[{"z":1,"z":1}]}`), fault.BadRequest, `the request's body has the key "z" twice`},
		"too many unknown keys":   {with(unknownKeys(65, 1)), fault.BadRequest, "the request's body has too much under unknown keys; at most 64 keys and 65536 bytes are kept"},
		"too much unknown":        {with(unknownKeys(2, 33000)), fault.BadRequest, "the request's body has too much under unknown keys; at most 64 keys and 65536 bytes are kept"},
		"too large":               {with(`"name2":"` + strings.Repeat("x", MaxBody) + `"`), fault.BodyTooLarge, "the request's body is larger than 1048576 bytes, which is the most for JSON"},
		"2 MiB of spaces":         {strings.Repeat(" ", 2<<20), fault.BodyTooLarge, "the request's body is larger than 1048576 bytes, which is the most for JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode[request](post(c.body))
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Error() != c.msg || fault.CodeOf(err) != c.code {
				t.Errorf("got  %s %q\nwant %s %q", fault.CodeOf(err), err, c.code, c.msg)
			}
		})
	}
}

func unknownKeys(n, length int) string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"unknown%d":"%s"`, i, strings.Repeat("x", length))
	}
	return strings.Join(keys, ",")
}

func TestDecodeBounds(t *testing.T) {
	t.Run("64 unknown keys", func(t *testing.T) {
		got, err := Decode[request](post(`{"creatorID":"c","name":"n",` + unknownKeys(64, 1) + `}`))
		if err != nil || len(got.Extra) != 64 {
			t.Errorf("got %d keys, %v", len(got.Extra), err)
		}
	})
	t.Run("1000 unknown keys that nobody wants", func(t *testing.T) {
		if got, err := Decode[common](post(`{"creatorID":"c","name":"n",` + unknownKeys(1000, 1) + `}`)); err != nil || got.Name != "n" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("exactly 1 MiB", func(t *testing.T) {
		head, tail := `{"creatorID":"c","name":"`, `"}`
		name := strings.Repeat("x", MaxBody-len(head)-len(tail))
		if got, err := Decode[common](post(head + name + tail)); err != nil || got.Name != name {
			t.Errorf("got %d letters, %v", len(got.Name), err)
		}
	})
}

func TestDecodeSlice(t *testing.T) {
	got, err := Decode[[]common](post(`[{"creatorID":"a","name":"1"},{"creatorID":"b","name":"2"}]`))
	if err != nil || !reflect.DeepEqual(got, []common{{"a", "1"}, {"b", "2"}}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := Decode[[]common](post(`[]`)); err != nil || got == nil || len(got) != 0 {
		t.Errorf("empty: got %+v, %v", got, err)
	}
	for name, c := range map[string]struct {
		body, msg string
		index     int
	}{
		"missing":      {`[{"creatorID":"a","name":"1"},{"creatorID":"b"}]`, "request was badly formatted. 'name'", 1},
		"invalid":      {`[{"creatorID":"a","name":"1"},{"creatorID":"b","name":2}]`, "'[1].name' is 2; allowed is a string", 1},
		"no object":    {`[7]`, "the request's body has a number at [0], where a JSON object is expected", 0},
		"object":       {`{}`, "the request's body is an object where a JSON array of objects is expected", -1},
		"empty":        {``, "the request's body is not whole JSON: it ends where a value is expected", -1},
		"too many":     {`[` + strings.Repeat("{},", 10000) + `{}]`, "the request's body is an array of 10001 elements; at most 10000 are allowed", -1},
		"double":       {`[{"creatorID":"a","name":"1","name":"1"}]`, `the request's body has the key "name" twice`, -1},
		"null element": {`[null]`, "the request's body has null at [0], where a JSON object is expected", 0},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode[[]common](post(c.body))
			code, sentence := Describe(err)
			if code != fault.BadRequest || sentence != c.msg {
				t.Errorf("got  %s %q\nwant %q", code, sentence, c.msg)
			}
			at, ok := errors.AsType[*indexed](err)
			if ok != (c.index >= 0) || ok && at.index != c.index {
				t.Errorf("got index of %v, want %d", err, c.index)
			}
		})
	}
}

func TestDecodeBodyBreaks(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader(`{"a":`), broken{}))
	_, err := Decode[common](r)
	if !fault.Is(err, fault.BadRequest) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	r.Body = nil
	if _, err := Decode[common](r); !fault.Is(err, fault.BadRequest) {
		t.Errorf("no body: got %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestPlanPanicsOnContradictions(t *testing.T) {
	for name, decode := range map[string]func() error{
		"key twice": func() error {
			_, err := Decode[struct {
				A string `json:"a"`
				B string `json:"b" alias:"a"`
			}](post(`{}`))
			return err
		},
		"extra of another type": func() error {
			_, err := Decode[struct {
				Extra map[string]string `rest:"extra"`
			}](post(`{}`))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			t.Error(decode())
		})
	}
}

func TestDecodeQuery(t *testing.T) {
	yes := true
	who := common{"c", "n"}
	for name, c := range map[string]struct {
		query string
		want  request
	}{
		"least":         {"creatorID=c&name=n", request{common: who}},
		"bool":          {"creatorID=c&name=n&private=true", request{common: who, Private: &yes}},
		"numbers":       {"creatorID=c&name=n&limit=5&size=2&ratio=0.5", request{common: who, Limit: 5, Size: 2e9, Ratio: 0.5}},
		"digits text":   {"creatorID=7&name=true", request{common: common{"7", "true"}}},
		"alias":         {"creatorID=c&name=n&vid=9", request{common: who, VolumeID: "9"}},
		"list":          {"creatorID=c&name=n&files=1&files=b", request{common: who, Files: []string{"1", "b"}}},
		"own type":      {"creatorID=c&name=n&format=raw&formats=raw", request{common: who, Format: "raw", Formats: []format{"raw"}}},
		"unknown":       {"creatorID=c&name=n&x=1", request{common: who, Extra: map[string]json.RawMessage{"x": json.RawMessage(`"1"`)}}},
		"quotes in it":  {"creatorID=c&name=n&vid=%22%7B", request{common: who, VolumeID: `"{`}},
		"space as plus": {"creatorID=c&name=a+b", request{common: common{"c", "a b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeQuery[request](httptest.NewRequest(http.MethodGet, "/?"+c.query, nil))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
	for name, c := range map[string]struct{ query, msg string }{
		"missing":   {"name=n", "request was badly formatted. 'creatorID'"},
		"twice":     {"creatorID=c&name=n&name=m", `the query string has the key "name" 2 times`},
		"bool":      {"creatorID=c&name=n&private=yes", `'private' is "yes"; allowed is true or false`},
		"int":       {"creatorID=c&name=n&limit=x", `'limit' is "x"; allowed is an integer from -9223372036854775808 to 9223372036854775807`},
		"size":      {"creatorID=c&name=n&size=-1", `'size' is -1; allowed is a number of GB from above 0 to 1000000000`},
		"null text": {"creatorID=c&name=n&limit=null", `'limit' is "null"; allowed is an integer from -9223372036854775808 to 9223372036854775807`},
		"no UTF-8":  {"creatorID=c&name=%ff", `the query string is not valid UTF-8 in "name"`},
		"malformed": {"creatorID=c&name=%zz", `the query string is malformed: invalid URL escape "%zz"`},
		"semicolon": {"creatorID=c;name=n", "the query string is malformed: invalid semicolon separator in query"},
		"object":    {"creatorID=c&name=n&limits=%7B%22burst%22:1%7D", `'limits' is "{\"burst\":1}"; allowed is an object`},
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			var v request
			if err := decodeQuery(c.query, &v); err == nil || err.Error() != c.msg || !fault.Is(err, fault.BadRequest) {
				t.Errorf("got %v\nwant %s", err, c.msg)
			}
		})
	}
}

func TestDecodeAny(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"POST":           post(`{"creatorID":"c","name":"n"}`),
		"GET with query": httptest.NewRequest(http.MethodGet, "/?creatorID=c&name=n", nil),
		"GET with body":  httptest.NewRequest(http.MethodGet, "/?creatorID=x&name=x", strings.NewReader(`{"creatorID":"c","name":"n"}`)),
		"GET, chunked":   httptest.NewRequest(http.MethodGet, "/", io.MultiReader(strings.NewReader(`{"creatorID":"c","name":"n"}`))),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := DecodeAny[common](r); err != nil || got != (common{"c", "n"}) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"creatorID":"c","name":"n"}`, `{"creatorID":"c","name":"n","size":"1.5","private":null,"vid":"x","volume_id":"x"}`,
		`{"creatorID":"c","name":"n","limits":{"burst":1},"files":["a"],"formats":["raw"],"x":{"y":[1]}}`, `{"a":1,"a":2}`, `[{}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var one request
		var many []request
		for _, into := range []any{&one, &many} {
			err := decode(data, into)
			if err == nil && twice(data) {
				t.Fatalf("took %q, which has a key twice", data)
			}
			if err == nil && !json.Valid(data) {
				t.Fatalf("took %q, which is not JSON", data)
			}
			if err != nil {
				code, sentence := Describe(err)
				if Status(fault.KindOf(err)) != http.StatusBadRequest || code == "" || len(sentence) > 1000 {
					t.Fatalf("refused %q with %s %q", data, code, sentence)
				}
			}
		}
	})
}

func FuzzDecodeQuery(f *testing.F) {
	for _, s := range []string{"creatorID=c&name=n", "creatorID=c&name=n&size=1&files=a&files=b&private=true&x=%00", "a=%ff", "a;b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		var v request
		if err := decodeQuery(query, &v); err != nil && Status(fault.KindOf(err)) != http.StatusBadRequest {
			t.Fatalf("refused %q with %v", query, err)
		}
	})
}

// decode checks data and fills into, a pointer to a struct or to a slice of structs.
func decode(data []byte, into any) error {
	n, err := split(data)
	if err != nil {
		return err
	}
	return fillTop(n, reflect.ValueOf(into).Elem())
}
