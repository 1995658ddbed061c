package rest

import (
	"iter"
	"net/http"
	"slices"
	"sync"
)

// sendAt is how much of an array gathers before it is sent.
const sendAt = 128 << 10

var parts = sync.Pool{New: func() any { return new(slices.Grow([]byte(nil), sendAt+4096)) }}

// ReplyEach answers 200 with a JSON array, to which add appends each element. A long one leaves in parts while it
// is made, so that it is never whole in memory. An error of the elements is returned; if some were sent before,
// the connection has to be dropped, and Handler does that.
func ReplyEach[T any](w http.ResponseWriter, elements iter.Seq2[T, error], add func(b []byte, element T) []byte) error {
	held := parts.Get().(*[]byte)
	b := append((*held)[:0], '[')
	defer func() {
		*held = b
		parts.Put(held)
	}()
	count, sent := 0, false
	for element, err := range elements {
		if err != nil {
			return err
		}
		if count++; count > 1 {
			b = append(b, ',')
		}
		b = add(b, element)
		if len(b) < sendAt {
			continue
		}
		if !sent {
			sent = true
			begin(w, http.StatusOK)
		}
		if _, err := w.Write(b); err != nil {
			return nil // the client is gone, and nobody is left to tell
		}
		b = b[:0]
	}
	b = append(b, ']', '\n')
	if !sent {
		write(w, http.StatusOK, b)
		return nil
	}
	_, _ = w.Write(b) // as above
	return nil
}
