package rest

import (
	"io"
	"net/http"
)

// Handler answers a request: it either writes a reply or writes nothing and returns an error.
type Handler func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP runs h and answers with its error, if any. If h had begun to answer before it failed, the
// connection is dropped, so that the client can't take the part for the whole.
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := Record(w)
	err := h(rec, r)
	switch {
	case err == nil:
	case rec.Status() == 0:
		Error(rec, r, err)
	default:
		failed(r.Context(), err)
		panic(http.ErrAbortHandler)
	}
}

// Route says which handler answers which methods at a path below the API's base, such as /update/resize.
// A part in braces, such as {id}, matches one path element and comes to the handler as r.PathValue("id"),
// decoded; {data...} matches the rest of the path, slashes and all, and comes as it was sent, still encoded.
// Where GET is answered HEAD is too.
type Route struct {
	Methods []string
	Path    string
	Handler Handler
}

// Recorder is a ResponseWriter that remembers what went through it. Not for concurrent use, like any
// ResponseWriter.
type Recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Record returns w itself if it is a Recorder, else a new one around it.
func Record(w http.ResponseWriter) *Recorder {
	if rec, ok := w.(*Recorder); ok {
		return rec
	}
	return &Recorder{ResponseWriter: w}
}

// Status returns the final status that was sent, 0 where none was yet.
func (r *Recorder) Status() int { return r.status }

// Bytes returns how many bytes of body were sent.
func (r *Recorder) Bytes() int64 { return r.bytes }

// WriteHeader sends the status. Informational ones (1xx) may come before the final one.
func (r *Recorder) WriteHeader(status int) {
	if r.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (r *Recorder) Write(p []byte) (int, error) {
	r.begin()
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// ReadFrom sends all of src, by sendfile where the connection and src can.
func (r *Recorder) ReadFrom(src io.Reader) (int64, error) {
	r.begin()
	n, err := io.Copy(r.ResponseWriter, src)
	r.bytes += n
	return n, err
}

// FlushError sends what is buffered, and with it the status.
func (r *Recorder) FlushError() error {
	r.begin()
	return http.NewResponseController(r.ResponseWriter).Flush()
}

// Unwrap serves http.ResponseController.
func (r *Recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *Recorder) begin() {
	if r.status == 0 {
		r.status = http.StatusOK
	}
}
