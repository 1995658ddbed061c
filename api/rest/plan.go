package rest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// plan is what a request struct's tags say, worked out once per type.
type plan struct {
	fields []field
	byKey  map[string]int // a key or alias to its index in fields
	extra  []int          // the index of the field that takes unknown keys; nil where there is none

	callers []callerField // the fields that say who asks
}

type field struct {
	key      string
	index    []int // for reflect.Value.FieldByIndex
	required bool
	secret   bool
}

var plans sync.Map // reflect.Type to *plan

var extraType = reflect.TypeFor[map[string]json.RawMessage]()

// planOf returns the plan of struct type t. It panics where the tags contradict each other, which the first
// test that decodes into t finds.
func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := &plan{byKey: make(map[string]int)}
	p.add(t, nil)
	got, _ := plans.LoadOrStore(t, p)
	return got.(*plan)
}

func (p *plan) add(t reflect.Type, at []int) {
	for i := range t.NumField() {
		sf := t.Field(i)
		index := append(slices.Clip(at), i)
		if sf.Tag.Get("rest") == "extra" {
			if sf.Type != extraType || p.extra != nil {
				panic(fmt.Sprintf("rest: %v.%s can't be the one field for unknown keys", t, sf.Name))
			}
			p.extra = index
			continue
		}
		key, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if key == "" && sf.Anonymous && sf.Type.Kind() == reflect.Struct {
			p.add(sf.Type, index)
			continue
		}
		if key == "" || key == "-" || !sf.IsExported() {
			continue
		}
		f := field{
			key:      key,
			index:    index,
			required: sf.Tag.Get("required") == "true",
			secret:   sf.Tag.Get("secret") == "true",
		}
		keys := []string{key}
		if alias := sf.Tag.Get("alias"); alias != "" {
			keys = append(keys, strings.Split(alias, ",")...)
		}
		for _, k := range keys {
			if _, taken := p.byKey[k]; taken {
				panic(fmt.Sprintf("rest: %v has two fields for the key %q", t, k))
			}
			p.byKey[k] = len(p.fields)
		}
		p.fields = append(p.fields, f)
		p.addCallers(sf, f)
	}
}
