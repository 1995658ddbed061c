package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"elstore/volume/fault"
)

func TestStatus(t *testing.T) {
	for code, want := range map[fault.Code]int{
		fault.InternalError:                    500,
		fault.ImageToolFailed:                  500,
		fault.BadRequest:                       400,
		fault.VolumeImpossibleFormatMetaUpdate: 400,
		fault.Unauthorized:                     401,
		fault.CrossSite:                        403,
		fault.VolumeNotExportable:              403,
		fault.VolumeNotFound:                   404,
		fault.MethodNotAllowed:                 405,
		fault.VolumeAlreadyLocked:              409,
		fault.ConditionFailed:                  412,
		fault.BodyTooLarge:                     413,
		fault.UploadInvalidRange:               416,
		fault.RateLimited:                      429,
		fault.PoolUnavailable:                  503,
		fault.PoolFull:                         507,
		fault.VolumeNotAllocable:               507,
		fault.Code("nobody's code"):            500,
	} {
		if got := Status((&fault.Error{Code: code}).Kind()); got != want {
			t.Errorf("%s: got %d, want %d", code, got, want)
		}
	}
	if got := Status(fault.Kind(200)); got != 500 {
		t.Errorf("a kind that is none: got %d", got)
	}
}

// every kind has a status of its own.
func TestStatusesDiffer(t *testing.T) {
	seen := map[int]fault.Kind{}
	for k := fault.Internal; k.String() != "unknown"; k++ {
		if other, ok := seen[Status(k)]; ok {
			t.Errorf("%v and %v are both %d", k, other, Status(k))
		}
		seen[Status(k)] = k
	}
}

// answer runs h under WithEcho against a POST of body and returns the answer and its JSON.
func answer(t *testing.T, body string, h Handler) (*http.Response, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	WithEcho(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		SetRequestID(r.Context(), "id-1")
		h.ServeHTTP(w, r)
	})).ServeHTTP(w, post(body))
	var v map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatalf("answer %q: %v", w.Body, err)
		}
	}
	return w.Result(), v
}

// slow is a failure that says when to ask again.
type slow struct{ error }

func (slow) RetryAfter() time.Duration { return 1500 * time.Millisecond }

func TestError(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status int
		body   map[string]any
		header map[string]string
	}{
		"classified": {
			fault.Errorf(fault.VolumeNotFound, "there is no volume x"), 404,
			map[string]any{"error": "there is no volume x", "code": "VolumeNotFound"},
			map[string]string{"Content-Type": "application/json"},
		},
		"wrapped": {
			fmt.Errorf("deep inside: %w", fault.Errorf(fault.PoolFull, "the pool is full")), 507,
			map[string]any{"error": "the pool is full", "code": "PoolFull"},
			nil,
		},
		"of an element": {
			AtIndex(3, fault.Errorf(fault.BadRequest, "no")), 400,
			map[string]any{"error": "no", "code": "BadRequest", "index": 3.0},
			nil,
		},
		"unavailable": {
			fault.Errorf(fault.PoolUnavailable, "the pool is gone"), 503,
			map[string]any{"error": "the pool is gone", "code": "PoolUnavailable"},
			map[string]string{"Retry-After": "5"},
		},
		"too many, says when": {
			&fault.Error{Code: fault.RateLimited, Msg: "too many", Err: slow{errors.New("x")}}, 429,
			map[string]any{"error": "too many", "code": "RateLimited"},
			map[string]string{"Retry-After": "2"},
		},
		"method": {
			MethodNotAllowed("PUT", "GET", "HEAD"), 405,
			map[string]any{"error": "PUT is not allowed here; allowed is GET, HEAD", "code": "MethodNotAllowed"},
			map[string]string{"Allow": "GET, HEAD"},
		},
		"no credentials": {
			fault.Errorf(fault.Unauthorized, "a token is needed"), 401,
			map[string]any{"error": "a token is needed", "code": "Unauthorized"},
			map[string]string{"WWW-Authenticate": `Bearer realm="elstore"`},
		},
		"cancelled": {
			context.Canceled, 409,
			map[string]any{"error": "the request was cancelled before it was done", "code": "JobCancelled"},
			nil,
		},
		"ours": {
			errors.New("open /secret/path: nope"), 500,
			map[string]any{
				"error": "the server failed at this request; its log says why under request id id-1", "code": "InternalError",
				"request_id": "id-1", "name": "n", "deep": map[string]any{"a": []any{1.0}}, "secret": "[redacted]",
			},
			map[string]string{"Content-Type": "application/json"},
		},
		"ours by code": {
			fault.New(fault.InternalError, "op", errors.New("/secret/path")), 500,
			map[string]any{
				"error": "the server failed at this request; its log says why under request id id-1", "code": "InternalError",
				"request_id": "id-1", "name": "n", "deep": map[string]any{"a": []any{1.0}}, "secret": "[redacted]",
			},
			nil,
		},
		"ours with a sentence": {
			fault.Errorf(fault.VolumeCannotBeCreated, "qemu-img refused"), 500,
			map[string]any{
				"error": "qemu-img refused", "code": "VolumeCannotBeCreated",
				"request_id": "id-1", "name": "n", "deep": map[string]any{"a": []any{1.0}}, "secret": "[redacted]",
			},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"name":"n","deep":{"a":[1]},"error":"mine","code":7,"request_id":"mine","secret":"hunter2"}`
			resp, got := answer(t, body, func(w http.ResponseWriter, r *http.Request) error {
				if _, err := Decode[struct {
					Secret string `json:"secret" secret:"true"`
				}](r); err != nil {
					return err
				}
				w.Header().Set("ETag", `"of the other answer"`)
				return c.err
			})
			if resp.StatusCode != c.status || !reflect.DeepEqual(got, c.body) {
				t.Errorf("got  %d %v\nwant %d %v", resp.StatusCode, got, c.status, c.body)
			}
			for k, want := range c.header {
				if resp.Header.Get(k) != want {
					t.Errorf("%s: got %q, want %q", k, resp.Header.Get(k), want)
				}
			}
			if resp.Header.Get("ETag") != "" {
				t.Error("the ETag of the answer that failed was left")
			}
		})
	}
}

func TestErrorWithoutMiddleware(t *testing.T) {
	w := httptest.NewRecorder()
	Error(w, post(`{}`), errors.New("secret"))
	if w.Code != 500 || w.Body.String() != `{"code":"InternalError","error":"the server failed at this request; its log says why"}`+"\n" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestFailureKeepsTheCause(t *testing.T) {
	cause := errors.New("the cause")
	var got error
	h := WithEcho(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if Failure(r.Context()) != nil {
			t.Error("a failure before any")
		}
		Handler(func(http.ResponseWriter, *http.Request) error { return cause }).ServeHTTP(w, r)
		got = Failure(r.Context())
	}))
	h.ServeHTTP(httptest.NewRecorder(), post(`{}`))
	if !errors.Is(got, cause) {
		t.Errorf("got %v", got)
	}
	if Failure(t.Context()) != nil || RequestID(t.Context()) != "" {
		t.Error("a context of no request knows something")
	}
	SetRequestID(t.Context(), "x") // must not panic
}

func TestEchoIsTheCallersOwn(t *testing.T) {
	_, got := answer(t, `{"b":1,"a":"x"}`, func(w http.ResponseWriter, r *http.Request) error {
		if n := len(Echo(r.Context())); n != 0 {
			t.Errorf("%d keys before Decode", n)
		}
		if _, err := Decode[struct{}](r); err != nil {
			return err
		}
		Echo(r.Context())["b"] = nil
		return Reply(w, 200, Echo(r.Context()))
	})
	if want := map[string]any{"b": 1.0, "a": "x"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReply(t *testing.T) {
	var nothing []int
	for name, c := range map[string]struct {
		status int
		v      any
		body   string
	}{
		"object":       {200, map[string]any{"b": 1, "a": "<&>"}, `{"a":"<&>","b":1}` + "\n"},
		"nil slice":    {200, nothing, "[]\n"},
		"slice":        {201, []int{1}, "[1]\n"},
		"bare integer": {200, 3, "3\n"},
		"no content":   {204, nil, ""},
		"unchanged":    {304, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if err := Reply(w, c.status, c.v); err != nil {
				t.Fatal(err)
			}
			if w.Code != c.status || w.Body.String() != c.body {
				t.Errorf("got %d %q", w.Code, w.Body)
			}
			if c.body != "" && (w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Content-Length") != fmt.Sprint(len(c.body))) {
				t.Errorf("headers %v", w.Header())
			}
		})
	}
}

func TestReplyThatCantBeEncoded(t *testing.T) {
	resp, got := answer(t, `{}`, func(w http.ResponseWriter, _ *http.Request) error {
		return Reply(w, 200, func() {})
	})
	if resp.StatusCode != 500 || got["code"] != "InternalError" {
		t.Errorf("got %d %v", resp.StatusCode, got)
	}
}

func TestHandlerDropsTheConnectionMidway(t *testing.T) {
	s := httptest.NewServer(Handler(func(w http.ResponseWriter, _ *http.Request) error {
		if _, err := io.WriteString(w, "the first part"); err != nil {
			return err
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return err
		}
		return errors.New("the disk died")
	}))
	defer s.Close()
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		t.Errorf("the client took %q for the whole", body)
	}
}

func TestRecorder(t *testing.T) {
	for name, c := range map[string]struct {
		do     func(w *Recorder)
		status int
		bytes  int64
	}{
		"nothing":       {func(*Recorder) {}, 0, 0},
		"write":         {func(w *Recorder) { _, _ = w.Write([]byte("abc")) }, 200, 3},
		"status":        {func(w *Recorder) { w.WriteHeader(404) }, 404, 0},
		"informational": {func(w *Recorder) { w.WriteHeader(103) }, 0, 0},
		"both":          {func(w *Recorder) { w.WriteHeader(103); w.WriteHeader(206); _, _ = w.Write([]byte("a")) }, 206, 1},
		"copied":        {func(w *Recorder) { _, _ = io.Copy(w, strings.NewReader("abcd")) }, 200, 4},
		"flushed":       {func(w *Recorder) { _ = http.NewResponseController(w).Flush() }, 200, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := Record(sink{http.Header{}})
			if Record(w) != w {
				t.Error("a recorder was wrapped again")
			}
			c.do(w)
			if w.Status() != c.status || w.Bytes() != c.bytes {
				t.Errorf("got %d, %d bytes; want %d, %d", w.Status(), w.Bytes(), c.status, c.bytes)
			}
		})
	}
}

// sink takes everything, as a connection does; httptest's recorder knows no informational statuses.
type sink struct{ header http.Header }

func (s sink) Header() http.Header       { return s.header }
func (sink) WriteHeader(int)             {}
func (sink) Write(p []byte) (int, error) { return len(p), nil }
func (sink) FlushError() error           { return nil }

func TestReplyEach(t *testing.T) {
	add := func(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }
	numbers := func(n int, end error) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
			if end != nil {
				yield(0, end)
			}
		}
	}
	var got []int
	const long = 200_000 // more than leaves at once
	for name, n := range map[string]int{"none": 0, "one": 1, "many": long} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if err := ReplyEach(w, numbers(n, nil), add); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got) != n || n > 0 && got[n-1] != n-1 {
				t.Errorf("%d elements, want %d: %v", len(got), n, err)
			}
			if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%d, %v", w.Code, w.Header())
			}
		})
	}
	t.Run("an error before anything was sent", func(t *testing.T) {
		w := httptest.NewRecorder()
		if err := ReplyEach(w, numbers(10, io.ErrUnexpectedEOF), add); !errors.Is(err, io.ErrUnexpectedEOF) || w.Body.Len() > 0 {
			t.Errorf("%v, %d bytes", err, w.Body.Len())
		}
	})
	t.Run("an error in the middle", func(t *testing.T) {
		s := httptest.NewServer(Handler(func(w http.ResponseWriter, _ *http.Request) error {
			return ReplyEach(w, numbers(long, io.ErrUnexpectedEOF), add)
		}))
		defer s.Close()
		resp, err := http.Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("the part of %d bytes was taken for the whole", len(body))
		}
	})
}
