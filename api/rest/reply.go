package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
)

// Reply writes v as JSON with status. Nothing is written where it returns an error, except that the client may
// be gone. A nil slice is written as [], because an empty list is a list. A status without a body (204, 304)
// gets none.
func Reply(w http.ResponseWriter, status int, v any) error {
	if status == http.StatusNoContent || status == http.StatusNotModified {
		w.WriteHeader(status)
		return nil
	}
	body, err := encode(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	write(w, status, body)
	return nil
}

func encode(v any) ([]byte, error) {
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Slice && rv.IsNil() {
		return []byte("[]\n"), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	begin(w, status)
	_, _ = w.Write(body) // it fails only if the client is gone, and then nobody is left to tell
}

// begin sends the status of an answer in JSON.
func begin(w http.ResponseWriter, status int) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
}
