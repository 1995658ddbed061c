package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxAnswer is the largest JSON answer that is read, in bytes; the longest list is far below.
const maxAnswer = 1 << 30

// errTimeout is why a call ended that the server should have answered at once.
var errTimeout = errors.New("the answer took too long")

// call is a request and what to expect of it.
type call struct {
	method string
	path   string // below the API's base, escaped
	body   any    // sent as JSON; nil: no body
	raw    []byte // sent as it is, in place of body
	kind   string // the Content-Type of raw
	key    string // Idempotency-Key, or ""
	async  bool   // the server may answer 202 with a job
	top    bool   // path is below the server's root instead
	long   bool   // the answer may take as long as it takes
}

// answer is what the server said to a call.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// newKey returns an idempotency key that nobody had before.
func newKey() string { return rand.Text() }

// orKey returns the caller's own key, or a new one.
func orKey(key string) string {
	if key == "" {
		return newKey()
	}
	return key
}

// roundTrip sends the call, again where the line breaks, and reads the whole answer.
func (c *Client) roundTrip(ctx context.Context, cl call) (*answer, error) {
	body := cl.raw
	if cl.body != nil {
		var err error
		if body, err = json.Marshal(cl.body); err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
	}
	for tries := c.retries(); ; {
		a, err := c.once(ctx, cl, body)
		if err == nil || !broken(err) {
			return a, err
		}
		if err := tries.again(ctx, err); err != nil {
			return nil, err
		}
	}
}

// once sends the call one time.
func (c *Client) once(ctx context.Context, cl call, body []byte) (*answer, error) {
	if !cl.long {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.cfg.Timeout, errTimeout)
		defer cancel()
	}
	req, err := c.request(ctx, cl, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, c.lineError(ctx, err)
	case len(data) > maxAnswer:
		return nil, fmt.Errorf("the server's answer has over %d bytes", maxAnswer)
	}
	return &answer{resp.StatusCode, resp.Header, data}, nil
}

// request builds the HTTP request of a call.
func (c *Client) request(ctx context.Context, cl call, body []byte) (*http.Request, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	base := c.base
	if cl.top {
		base = c.cfg.BaseURL
	}
	req, err := http.NewRequestWithContext(ctx, cl.method, base+cl.path, reader)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if cl.kind != "" {
		req.Header.Set("Content-Type", cl.kind)
	}
	if cl.key != "" {
		req.Header.Set("Idempotency-Key", cl.key)
	}
	if cl.async {
		req.Header.Set("Prefer", "respond-async")
	}
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// send sends req and returns its answer if that is 2xx; the caller closes the body. Anything else is an error.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if c.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lineError(req.Context(), err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, readError(resp)
	}
	return resp, nil
}

// lineError says why no whole answer came: the caller gave up, it took too long, or the line broke.
func (c *Client) lineError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil:
		return c.unreachable(err)
	case errors.Is(context.Cause(ctx), errTimeout):
		return c.unreachable(errTimeout)
	}
	return gaveUp(ctx)
}

// gaveUp is the error of a context that ended: which of the two, and why, where that was said.
func gaveUp(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// fetch sends the call and decodes its answer into a T.
func fetch[T any](ctx context.Context, c *Client, cl call) (T, error) {
	var v T
	a, err := c.roundTrip(ctx, cl)
	if err != nil {
		return v, err
	}
	return decode[T](a.body)
}

// decode reads an answer.
func decode[T any](data []byte) (T, error) {
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("the server's answer can't be understood; is it an elstore server? %w", err)
	}
	return v, nil
}

func post(path string, body any) call { return call{method: http.MethodPost, path: path, body: body} }

func get(path string) call { return call{method: http.MethodGet, path: path} }
