package api

import (
	"errors"
	"io"
	"math"
	"net/http"
	"time"
)

const (
	// writeTimeout is how long a client may take to receive a piece of an answer. The server has no write
	// timeout of its own, because a download or a wait may take hours.
	writeTimeout = time.Minute

	// piece is how much of an answer that is: below 20 kB/s a client counts as gone.
	piece = 1 << 20
)

// paced bounds how long each piece of an answer may take.
func paced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &pacer{w, http.NewResponseController(w)}
		// What the last request of this connection left must not hit the server's own "100 Continue".
		p.setDeadline(time.Time{})
		next.ServeHTTP(p, r)
	})
}

type pacer struct {
	http.ResponseWriter
	control *http.ResponseController
}

// setDeadline bounds writing; it fails where there is no connection, in tests of handlers.
func (p *pacer) setDeadline(t time.Time) { _ = p.control.SetWriteDeadline(t) }

// Write sends b piece by piece.
func (p *pacer) Write(b []byte) (int, error) {
	total := 0
	for {
		part := b[total:min(len(b), total+piece)]
		p.setDeadline(time.Now().Add(writeTimeout))
		n, err := p.ResponseWriter.Write(part)
		total += n
		if err != nil || total == len(b) {
			return total, err
		}
	}
}

// ReadFrom sends src piece by piece, each by sendfile where src is a file, or a limited part of one: sendfile sees
// through one limit, not through two.
func (p *pacer) ReadFrom(src io.Reader) (int64, error) {
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: src, N: math.MaxInt64}
	}
	var total int64
	for limited.N > 0 {
		p.setDeadline(time.Now().Add(writeTimeout))
		n, err := io.CopyN(p.ResponseWriter, limited.R, min(piece, limited.N))
		limited.N -= n
		total += n
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// FlushError sends what is buffered.
func (p *pacer) FlushError() error {
	p.setDeadline(time.Now().Add(writeTimeout))
	return p.control.Flush()
}

// Unwrap serves http.ResponseController.
func (p *pacer) Unwrap() http.ResponseWriter { return p.ResponseWriter }
