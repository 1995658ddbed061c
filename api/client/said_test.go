package client_test

import (
	"encoding/json"
	"testing"

	"elstore/api/client"
)

// TestAnswersAreWrittenAsTheyCame: every type that is an answer keeps the keys that this package doesn't know.
func TestAnswersAreWrittenAsTheyCame(t *testing.T) {
	const text = `{"tomorrow":{"a":[1,2]},"name":"x"}`
	check(t, text, client.Volume{})
	check(t, text, client.Created{})
	check(t, text, client.Echo{})
	check(t, text, client.Job{})
	check(t, text, client.Event{})
	check(t, text, client.Pool{})
	check(t, text, client.ServerVersion{})
}

func check[T any](t *testing.T, text string, made T) {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Errorf("%T: %v", v, err)
	}
	if got, err := json.Marshal([]T{v}); err != nil || string(got) != "["+text+"]" {
		t.Errorf("%T was written as %s, %v", v, got, err)
	}
	if err := json.Unmarshal([]byte(`[]`), &v); err == nil {
		t.Errorf("%T was read of an array", v)
	}
	// One that did not come from a server is written by its fields.
	got, err := json.Marshal(made)
	var fields map[string]any
	if err != nil || json.Unmarshal(got, &fields) != nil || len(fields) == 0 {
		t.Errorf("a new %T was written as %s, %v", made, got, err)
	}
}
