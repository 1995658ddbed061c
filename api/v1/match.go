package v1

import (
	"encoding/json"
	"reflect"
	"strconv"
)

// decodeAll reads the values that a client's own attributes are wanted to have.
func decodeAll(texts map[string]json.RawMessage) map[string]any {
	values := make(map[string]any, len(texts))
	for key, text := range texts {
		var value any
		if json.Unmarshal(text, &value) == nil {
			values[key] = value
		}
	}
	return values
}

// haveAll reports whether attributes has every one of want.
func haveAll(attributes map[string]json.RawMessage, want map[string]any) bool {
	for key, value := range want {
		text, there := attributes[key]
		var has any
		if there && json.Unmarshal(text, &has) != nil {
			return false
		}
		if !matches(has, value) {
			return false
		}
	}
	return true
}

// matches compares by value: 1 is 1.0. In a query string all values are text, so text also stands for the number or bool
// that it spells. A wanted null is an attribute that is not there.
func matches(has, want any) bool {
	if text, ok := want.(string); ok {
		switch v := has.(type) {
		case float64:
			n, err := strconv.ParseFloat(text, 64)
			return err == nil && n == v
		case bool:
			return text == strconv.FormatBool(v)
		}
	}
	return reflect.DeepEqual(has, want)
}
