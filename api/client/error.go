package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"elstore/volume/fault"
)

// Error is a refusal or failure that the server told of. fault.Is and fault.CodeOf see its code:
// fault.Is(err, fault.VolumeNotFound).
type Error struct {
	Status     int           // of HTTP; 0 where a job failed, which has a code alone
	Code       fault.Code    // "" where the answer was not the API's, but a proxy's say
	Message    string        // a sentence for a person
	RequestID  string        // finds the request in the server's log, or ""
	Index      int           // which element of a request that was an array, from 0; -1 where that is not said
	RetryAfter time.Duration // when it makes sense to ask again; 0 where that is not said
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the error as the server's own packages have it, so that fault.Is works on both sides.
func (e *Error) Unwrap() error {
	if e.Code == "" {
		return nil
	}
	return &fault.Error{Code: e.Code, Msg: e.Message}
}

// UnreachableError says that no answer came: the server is not there, or the line broke.
type UnreachableError struct {
	BaseURL string
	Err     error
}

// Error returns the sentence.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no answer from the server at %s: %v", e.BaseURL, e.Err)
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// UnfinishedError says that the waiting ended and the work did not: the server goes on with the job.
type UnfinishedError struct {
	Job Job // as it was last seen
	Err error
}

// Error returns the sentence.
func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("job %s goes on in the server: %v", e.Job.ID, e.Err)
}

// Unwrap returns why the waiting ended.
func (e *UnfinishedError) Unwrap() error { return e.Err }

// maxErrorBody is how much of a refusal is read, in bytes.
const maxErrorBody = 1 << 20

// readError makes an Error of an answer that is not 2xx. It closes the body.
func readError(resp *http.Response) *Error {
	defer resp.Body.Close()
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	e := parseError(resp.StatusCode, data)
	if e.RequestID == "" {
		e.RequestID = resp.Header.Get("X-Request-Id")
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 && seconds <= 86400 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}

// parseError reads an error body. What is not the API's JSON is quoted, cut to what a terminal can take. Pure.
func parseError(status int, data []byte) *Error {
	var body struct {
		Error     string     `json:"error"`
		Code      fault.Code `json:"code"`
		RequestID string     `json:"request_id"`
		Index     *int       `json:"index"`
	}
	e := &Error{Status: status, Index: -1}
	if err := json.Unmarshal(data, &body); err != nil || body.Error == "" {
		e.Message = fmt.Sprintf("the server answered %d %s", status, http.StatusText(status))
		if text := excerpt(data); text != "" {
			e.Message += ": " + text
		}
		return e
	}
	e.Code, e.Message, e.RequestID = body.Code, body.Error, body.RequestID
	if body.Index != nil {
		e.Index = *body.Index
	}
	return e
}

// excerpt is the beginning of data on one line, printable.
func excerpt(data []byte) string {
	const most = 200
	text := strings.Join(strings.Fields(string(data)), " ")
	text = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return text
}

// unreachable wraps a failure to get an answer, without the URL that net/http puts before it.
func (c *Client) unreachable(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return &UnreachableError{BaseURL: c.cfg.BaseURL, Err: err}
}
