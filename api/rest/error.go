package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"elstore/volume/fault"
)

// Status returns the HTTP status of kind. It is the only place that knows.
func Status(kind fault.Kind) int {
	switch kind {
	case fault.Internal:
		return http.StatusInternalServerError
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Method:
		return http.StatusMethodNotAllowed
	case fault.Conflict:
		return http.StatusConflict
	case fault.Precondition:
		return http.StatusPreconditionFailed
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.BadRange:
		return http.StatusRequestedRangeNotSatisfiable
	case fault.TooMany:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.NoSpace:
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}

// Describe returns what a caller may be told about err: its code, and its sentence where it was classified.
// What nobody classified is ours: its text stays in the log.
func Describe(err error) (code fault.Code, sentence string) {
	code = fault.CodeOf(err)
	if known, ok := errors.AsType[*fault.Error](err); ok && code != fault.InternalError {
		return code, known.Msg
	}
	if code == fault.JobCancelled {
		return code, "the request was cancelled before it was done"
	}
	return fault.InternalError, "the server failed at this request; its log says why"
}

// Cause returns what an error that Describe has a sentence for came from, for the log; "" where that is not known, or no error of
// ours to a caller.
func Cause(err error) string {
	if known, ok := errors.AsType[*fault.Error](err); ok && known.Err != nil {
		return known.Err.Error()
	}
	return ""
}

// Error answers r with err: its kind's status and a JSON object of error, code and, for a failure of ours,
// request_id and the request's own keys (see WithEcho). 503 and 429 get a Retry-After, 405 its Allow, 401 a
// challenge. Nothing may have been written to w before.
func Error(w http.ResponseWriter, r *http.Request, err error) {
	failed(r.Context(), err)
	code, sentence := Describe(err)
	status := Status(fault.KindOf(err))
	h := w.Header()
	for _, k := range []string{"Content-Encoding", "Content-Disposition", "ETag", "Last-Modified", "Repr-Digest"} {
		h.Del(k) // they would speak of the answer that didn't come about
	}
	body := map[string]any{"error": sentence, "code": code}
	if at, ok := errors.AsType[*indexed](err); ok {
		body["index"] = at.index
	}
	switch status {
	case http.StatusInternalServerError:
		echo(body, Echo(r.Context()))
		if id := RequestID(r.Context()); id != "" {
			body["request_id"] = id
			if code == fault.InternalError {
				body["error"] = fmt.Sprintf("%s under request id %s", sentence, id)
			}
		}
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", retryAfter(err))
	case http.StatusUnauthorized:
		if h.Get("WWW-Authenticate") == "" {
			h.Set("WWW-Authenticate", `Bearer realm="elstore"`)
		}
	case http.StatusMethodNotAllowed:
		if m, ok := errors.AsType[*methodError](err); ok {
			h.Set("Allow", strings.Join(m.allowed, ", "))
		}
	}
	text, encodeErr := encode(body)
	if encodeErr != nil {
		text = []byte(`{"error":"the server failed at this request","code":"InternalError"}` + "\n")
	}
	write(w, status, text)
}

func echo(body map[string]any, keys map[string]json.RawMessage) {
	for k, v := range keys {
		if _, ours := body[k]; !ours {
			body[k] = v
		}
	}
}

// RetryAfter is what an error in the chain may have to say when asking again makes sense; without it a caller
// is told 5 seconds.
type RetryAfter interface{ RetryAfter() time.Duration }

func retryAfter(err error) string {
	wait := 5 * time.Second
	var r RetryAfter
	if errors.As(err, &r) {
		wait = r.RetryAfter()
	}
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}
