package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"elstore/volume/fault"
)

// Body is content on its way. Reading it ends with io.EOF only when all of it came; its errors are faults of code
// FetchFailed, or the context's. It must be closed.
type Body struct {
	io.ReadCloser
	URL         string // where it came from at last, redacted
	Offset      int64  // bytes of the content that were left out before the first one read; 0 where the server can't
	Size        int64  // bytes of the whole content; -1 unknown
	Validator   string // a strong ETag or a Last-Modified that proves the content is the same; "" none
	ContentType string // as the server says, "" if it doesn't
}

// stallBytes is what must arrive within StallTimeout of waiting.
const stallBytes = 4 << 10

// guarded bounds a response's body in time and size, and checks its length where HTTP doesn't.
// Only the time spent waiting for the server counts.
type guarded struct {
	body   io.ReadCloser
	cause  func() error // why the request's context ended, nil while it didn't
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
	left   time.Duration // of stall, until stallBytes have come
	got    int64         // bytes since left was full
	at     int64         // offset in the content
	size   int64         // where the content ends; -1 unknown
	most   int64         // where it must have ended
	shown  string        // the URL for messages
}

func (c *Client) guard(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, b Body) *guarded {
	g := &guarded{
		body: body, cancel: cancel, cause: func() error { return context.Cause(ctx) },
		stall: c.config.StallTimeout, left: c.config.StallTimeout,
		at: b.Offset, size: b.Size, most: c.config.MaxBytes, shown: b.URL,
	}
	g.timer = time.AfterFunc(time.Hour, func() { cancel(&stalled{c.config.StallTimeout}) })
	g.timer.Stop()
	return g
}

// Read reads on.
func (g *guarded) Read(p []byte) (int, error) {
	began := time.Now()
	g.timer.Reset(g.left)
	n, err := g.body.Read(p)
	g.timer.Stop()
	g.left -= time.Since(began)
	g.at += int64(n)
	if g.got += int64(n); g.got >= stallBytes {
		g.got, g.left = 0, g.stall
	}
	if g.at > g.most {
		return 0, tooLarge(g.shown, g.most)
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && (g.size < 0 || g.at == g.size):
		return n, io.EOF
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return n, &broken{err: fault.Errorf(fault.FetchFailed, "%s stopped at byte %d of %s", g.shown, g.at, bytesOf(g.size))}
	}
	return n, lineError(g.cause(), err, g.shown, fmt.Sprintf("broke off at byte %d of %s", g.at, bytesOf(g.size)))
}

// Close gives up what was not read.
func (g *guarded) Close() error {
	g.timer.Stop()
	g.cancel(nil)
	return g.body.Close()
}

// refusesPages fails if the content is a web page: a login form or a mirror list in place of the image.
func refusesPages(b Body) (io.Reader, error) {
	page := fault.Errorf(fault.FetchFailed, "%s answered with a web page (HTML) where an image is expected", b.URL)
	if isHTML(b.ContentType) {
		return nil, page
	}
	if b.Offset > 0 {
		return b.ReadCloser, nil
	}
	head := make([]byte, 512) // as much as the sniffing algorithm of the web looks at
	n, err := io.ReadFull(b.ReadCloser, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if isHTML(http.DetectContentType(head[:n])) {
		return nil, page
	}
	return io.MultiReader(bytes.NewReader(head[:n]), b.ReadCloser), nil
}
