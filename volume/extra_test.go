package volume

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"elstore/volume/fault"
)

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func TestCheckExtra(t *testing.T) {
	many := map[string]json.RawMessage{}
	for i := range MaxExtraKeys + 1 {
		many[fmt.Sprint(i)] = raw("1")
	}
	tests := []struct {
		name  string
		extra map[string]json.RawMessage
		ok    bool
	}{
		{"none", nil, true},
		{"some", map[string]json.RawMessage{"read_iops": raw("100"), "benchmark": raw(`{"a":1}`)}, true},
		{"as long as allowed", map[string]json.RawMessage{"k": raw(`"` + strings.Repeat("x", MaxExtraBytes-3) + `"`)}, true},
		{"too long", map[string]json.RawMessage{"k": raw(`"` + strings.Repeat("x", MaxExtraBytes-2) + `"`)}, false},
		{"too many", many, false},
		{"the server's own", map[string]json.RawMessage{"base": raw(`"x"`)}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := checkExtra(tt.extra)
			if (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
			if err != nil && !fault.Is(err, fault.VolumeMetadataNotUpdatable) {
				t.Errorf("code %s", fault.CodeOf(err))
			}
		})
	}
}

func TestMergeExtra(t *testing.T) {
	there := map[string]json.RawMessage{"a": raw("1"), "b": raw("2")}
	before := maps.Clone(there)
	got := mergeExtra(there, map[string]json.RawMessage{"b": raw("3"), "c": raw("4"), "a": raw("null"), "d": raw("null")})
	if len(got) != 2 || string(got["b"]) != "3" || string(got["c"]) != "4" {
		t.Errorf("got %s", got)
	}
	if !maps.EqualFunc(there, before, func(x, y json.RawMessage) bool { return string(x) == string(y) }) {
		t.Errorf("what was there became %s", there)
	}
	if got := mergeExtra(nil, map[string]json.RawMessage{"a": raw("1")}); string(got["a"]) != "1" {
		t.Errorf("from nothing got %s", got)
	}
}

// Attributes come one update after the other, and together they are bounded too.
func TestChangeBoundsExtraInAll(t *testing.T) {
	m := Meta{Name: "n"}
	var err error
	for i := 0; err == nil && i <= MaxExtraKeys; i++ {
		m, err = Change{Extra: map[string]json.RawMessage{fmt.Sprint(i): raw("1")}}.apply(m)
	}
	if !fault.Is(err, fault.VolumeMetadataNotUpdatable) {
		t.Errorf("got %v", err)
	}
}
