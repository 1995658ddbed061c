package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"elstore/api/client"
	"elstore/volume/fault"
)

const madeAnswer = `{"vid":"` + vid + `","name":"web","img_format":"raw","pool":"fast"}`

// TestBrokenLine: whatever breaks the line on its way, a call is answered, and one that makes something bears the
// same key in every try.
func TestBrokenLine(t *testing.T) {
	breaks := []struct {
		name  string
		first []func(http.ResponseWriter)
	}{
		{"before the answer", []func(http.ResponseWriter){cut("")}},
		{"within the answer", []func(http.ResponseWriter){cut(`{"vid":"2be`)}},
		{"three times", []func(http.ResponseWriter){cut(""), cut("{"), cut("")}},
	}
	for _, tt := range breaks {
		t.Run(tt.name, func(t *testing.T) {
			rec := &recorder{answers: append(tt.first, says(200, madeAnswer))}
			c := serve(t, rec, nil)
			op, err := c.Create(t.Context(), client.CreateRequest{Creator: me, Name: "web", Size: 1e9})
			if err != nil {
				t.Fatal(err)
			}
			v, err := op.Wait(t.Context(), nil)
			if err != nil || v.ID != vid || v.Pool != "fast" || v.Format != "raw" {
				t.Errorf("made %+v, %v", v, err)
			}
			got := rec.requests()
			if len(got) < len(tt.first)+1 { // net/http may try once more by itself
				t.Fatalf("%d requests, want %d", len(got), len(tt.first)+1)
			}
			for _, r := range got {
				if r.Key == "" || r != got[0] {
					t.Errorf("a try was %+v, the first %+v", r, got[0])
				}
			}
		})
	}
}

func TestBrokenLineIsBounded(t *testing.T) {
	rec := &recorder{answers: []func(http.ResponseWriter){cut("")}}
	c := serve(t, rec, func(cfg *client.Config) { cfg.Retries = 2 })
	_, err := c.Destroy(t.Context(), client.DestroyRequest{ID: vid})
	e, ok := errors.AsType[*client.UnreachableError](err)
	if !ok || e.BaseURL != c.BaseURL() || strings.Count(err.Error(), c.BaseURL()) != 1 {
		t.Errorf("error %v, want an UnreachableError that names the server once", err)
	}
	if n := len(rec.requests()); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	never := &recorder{answers: []func(http.ResponseWriter){cut("")}}
	c = serve(t, never, func(cfg *client.Config) { cfg.Retries = -1 })
	if _, err := c.Destroy(t.Context(), client.DestroyRequest{ID: vid}); err == nil || len(never.requests()) != 1 {
		t.Errorf("%d requests and error %v, want one request", len(never.requests()), err)
	}
}

func TestRefusalIsNotRepeated(t *testing.T) {
	rec := &recorder{answers: []func(http.ResponseWriter){says(503, `{"error":"away","code":"PoolUnavailable"}`)}}
	c := serve(t, rec, nil)
	if _, err := c.Info(t.Context(), vid); !fault.Is(err, fault.PoolUnavailable) {
		t.Errorf("error %v", err)
	}
	if n := len(rec.requests()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestNobodyThere(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	c := dial(t, s.URL, nil)
	_, err := c.Pools(t.Context())
	if _, ok := errors.AsType[*client.UnreachableError](err); !ok || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v", err)
	}
}

func TestCertificateIsNoBrokenLine(t *testing.T) {
	tries := 0
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.StartTLS()
	defer s.Close()
	c := dial(t, s.URL, func(cfg *client.Config) {
		cfg.HTTP = &http.Client{Transport: counter{http.DefaultTransport, &tries}}
	})
	if _, err := c.Pools(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v", err)
	}
	if tries != 1 {
		t.Errorf("%d tries, want 1", tries)
	}
}

// counter counts the requests that go through it.
type counter struct {
	http.RoundTripper
	n *int
}

func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	*c.n++
	return c.RoundTripper.RoundTrip(r)
}

// hangs answers nothing until the request ends, and says on began that it came.
func hangs(began chan<- struct{}) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see the client go
		began <- struct{}{}
		<-r.Context().Done()
	})
}

func TestTimeout(t *testing.T) {
	began := make(chan struct{}, 10)
	c := serve(t, hangs(began), func(cfg *client.Config) { cfg.Timeout = 20 * time.Millisecond })
	_, err := c.Info(t.Context(), vid)
	if _, ok := errors.AsType[*client.UnreachableError](err); !ok || !strings.Contains(err.Error(), "too long") {
		t.Errorf("error %v", err)
	}
	if len(began) != 1 {
		t.Errorf("%d requests, want 1: a server that hangs is not asked again", len(began))
	}
}

func TestCancelled(t *testing.T) {
	began := make(chan struct{}, 10)
	c := serve(t, hangs(began), nil)
	because := errors.New("the user went home")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-began
		cancel(because)
	}()
	_, err := c.Info(ctx, vid)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, because) {
		t.Errorf("error %v, want both that it was cancelled and why", err)
	}
	if len(began) != 0 {
		t.Error("it was tried again")
	}
}

func TestCancelledBetweenTries(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	rec := &recorder{answers: []func(http.ResponseWriter){func(http.ResponseWriter) {
		cancel()
		panic(http.ErrAbortHandler)
	}}}
	c := serve(t, rec, func(cfg *client.Config) { cfg.RetryDelay = time.Hour })
	if _, err := c.Info(ctx, vid); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
}
