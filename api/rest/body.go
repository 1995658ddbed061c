package rest

import (
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// stallTimeout is how long the server waits for the next part of a body, of an upload too.
	stallTimeout = time.Minute

	// restTimeout is how long it waits for what the handler didn't read: net/http reads up to 256 KiB of that
	// before it sends the answer.
	restTimeout = 5 * time.Second
)

// timedBody is a request's body whose reading fails with os.ErrDeadlineExceeded when nothing comes. The server
// has no read timeout of its own, because an upload may take hours.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	until   time.Time // when all of it must have come; zero is never
	ended   bool      // nothing more is to come, for good or bad
}

// Read reads on. When the body has ended the deadline goes again: the server then reads in the background to
// see the client hang up, and would take a timeout for that.
func (b *timedBody) Read(p []byte) (int, error) {
	deadline := time.Now().Add(stallTimeout)
	if !b.until.IsZero() && b.until.Before(deadline) {
		deadline = b.until
	}
	b.setDeadline(deadline)
	n, err := b.ReadCloser.Read(p)
	b.ended = err != nil
	if errors.Is(err, io.EOF) {
		b.setDeadline(time.Time{})
	}
	return n, err
}

// finish is called when the handler has returned.
func (b *timedBody) finish() {
	if !b.ended {
		b.setDeadline(time.Now().Add(restTimeout))
	}
}

// setDeadline bounds reading; it fails where there is no connection, in tests of handlers.
func (b *timedBody) setDeadline(t time.Time) { _ = b.control.SetReadDeadline(t) }
