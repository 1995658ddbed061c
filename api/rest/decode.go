package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"time"

	"elstore/volume/fault"
)

const (
	// MaxBody is how large a JSON body may be, in bytes.
	MaxBody = 1 << 20

	// bodyTimeout is how long a JSON body may take to arrive. The server has no read timeout of its own,
	// because an upload may take hours.
	bodyTimeout = 30 * time.Second

	// maxDrain is how much of a body that is too large is read and thrown away, so that a client that sends
	// first and reads later gets the 413 instead of a broken connection.
	maxDrain = 16 << 20
)

// Decode reads r's body as JSON into a T, a struct or a slice of structs, whatever the Content-Type says.
//
// A field takes the key that its json tag names, letter by letter; fields without a tag are left alone, and
// embedded structs are taken apart. Further tags: `required:"true"`; `alias:"volumeID,vid"` for other names of
// the same key; `secret:"true"` keeps the value out of messages and echoes; `caller:"fill"` and `caller:"match"` are
// for WithBound; `rest:"extra"` on one
// map[string]json.RawMessage gives the unknown keys, at most 64 of them and 64 KiB. null is the same as absent,
// and a pointer field tells absent from given. A type decodes itself with UnmarshalJSON or UnmarshalText and
// says with Allowed (see Allower) what it takes; if it refuses with a *fault.Error, that code is kept. A slice
// takes at most 10,000 elements. An empty body is the same as {}.
//
// Errors are faults of code BadRequest (or the field type's own) that name the key, the value and what is
// allowed, in the exact words "request was badly formatted. 'the_key'" for the first missing key; and
// BodyTooLarge over MaxBody.
func Decode[T any](r *http.Request) (T, error) {
	var v T
	data, err := readBody(r)
	if err != nil {
		return v, err
	}
	target := reflect.ValueOf(&v).Elem()
	if len(bytes.TrimSpace(data)) == 0 && target.Kind() == reflect.Struct {
		data = []byte("{}")
	}
	n, err := split(data)
	if err != nil {
		return v, err
	}
	remember(r, n.members, target)
	if err := fillTop(n, target); err != nil {
		return v, err
	}
	return v, bind(r, target)
}

// readBody reads the whole body within MaxBody and, under WithEcho, bodyTimeout.
func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	if n := notesOf(r.Context()); n != nil && n.body != nil {
		n.body.until = time.Now().Add(bodyTimeout)
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, badBody("did not arrive within %v", bodyTimeout)
	case err != nil:
		return nil, fault.New(fault.BadRequest, "the request's body did not arrive whole", err)
	case len(data) > MaxBody:
		_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
		return nil, fault.Errorf(fault.BodyTooLarge, "the request's body is larger than %d bytes, which is the most for JSON", MaxBody)
	}
	return data, nil
}

// indexed is an error about one element of a body that is an array.
type indexed struct {
	index int
	err   error
}

// atIndex says that err is about element i, counted from 0. Error writes it as "index" beside the sentence,
// so that the text for a missing key stays what clients know.
func atIndex(i int, err error) error { return &indexed{i, err} }

// AtIndex marks err as being about element i, counted from 0, of a request whose body is an array; Error then
// writes an "index" into the answer. A nil err gives nil.
func AtIndex(i int, err error) error {
	if err == nil {
		return nil
	}
	return atIndex(i, err)
}

// Error returns the sentence with the element's number.
func (e *indexed) Error() string { return fmt.Sprintf("[%d]: %v", e.index, e.err) }

// Unwrap returns the error about the element.
func (e *indexed) Unwrap() error { return e.err }
