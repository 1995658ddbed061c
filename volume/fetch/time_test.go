package fetch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"elstore/volume/fault"
)

// pipes is a listener whose connections are pipes, so that time in a synctest bubble stands still while
// anything moves.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.conns <- there
	return here, nil
}

// simulate runs test in a bubble with a client whose every connection leads to h.
func simulate(t *testing.T, config Config, h http.HandlerFunc, test func(t *testing.T, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: h}
		var running sync.WaitGroup
		running.Go(func() { _ = server.Serve(listener) })
		c := New(config)
		c.transport.DialContext = listener.dial
		test(t, c)
		c.Close()
		_ = server.Shutdown(context.WithoutCancel(t.Context()))
		running.Wait()
	})
}

func TestStall(t *testing.T) {
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		says string
		took time.Duration
	}{
		"no byte comes": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(image(4096))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "broke off at byte 4096 of 100000: it sent less than 4096 bytes in 1m0s", time.Minute},
		"it trickles": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(image(4096))
			for r.Context().Err() == nil {
				_ = http.NewResponseController(w).Flush()
				<-time.After(10 * time.Second)
				_, _ = w.Write(image(1))
			}
		}, "it sent less than 4096 bytes in 1m0s", time.Minute},
		"no header comes": {func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}, "can't be fetched: net/http: timeout awaiting response headers", time.Minute},
		"no head of the body comes": {func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "broke off at byte 0 of an unknown number: it sent less than 4096 bytes", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, Config{Tries: 1}, c.h, func(t *testing.T, client *Client) {
				began := time.Now()
				_, err := client.Download(t.Context(), "http://example.com/image", &memory{}, nil)
				if !fault.Is(err, fault.FetchFailed) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want %q", err, c.says)
				}
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %v, want %v", took, c.took)
				}
			})
		})
	}
}

// A slow line is no stall as long as it moves, and neither is a reader that takes its time.
func TestSlowIsNoStall(t *testing.T) {
	const parts = 20
	h := func(w http.ResponseWriter, _ *http.Request) {
		for range parts {
			<-time.After(50 * time.Second)
			_, _ = w.Write(image(stallBytes))
			_ = http.NewResponseController(w).Flush()
		}
	}
	simulate(t, Config{Tries: 1, HeaderTimeout: time.Hour}, h, func(t *testing.T, c *Client) {
		body, err := c.Open(t.Context(), "http://example.com/image", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		<-time.After(3 * time.Hour)
		if n, err := io.Copy(io.Discard, body); err != nil || n != parts*stallBytes {
			t.Errorf("got %d bytes, %v", n, err)
		}
	})
}

func TestBackoff(t *testing.T) {
	for name, c := range map[string]struct {
		retryAfter string
		waits      []time.Duration
	}{
		"doubles to 30 s":   {"", []time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 30e9, 30e9}},
		"the server's wish": {"20", []time.Duration{20e9, 20e9, 20e9, 20e9, 20e9, 30e9, 30e9}},
		"a greedy wish":     {"60000", []time.Duration{120e9, 120e9, 120e9, 120e9, 120e9, 120e9, 120e9}},
		"an odd wish":       {"-1", []time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 30e9, 30e9}},
	} {
		t.Run(name, func(t *testing.T) {
			var times []time.Time
			h := func(w http.ResponseWriter, _ *http.Request) {
				times = append(times, time.Now())
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			simulate(t, Config{Tries: 8}, h, func(t *testing.T, client *Client) {
				if _, err := client.Download(t.Context(), "http://example.com/", &memory{}, nil); !fault.Is(err, fault.FetchFailed) {
					t.Errorf("got %v", err)
				}
				if len(times) != len(c.waits)+1 {
					t.Fatalf("%d tries", len(times))
				}
				for i, want := range c.waits {
					if got := times[i+1].Sub(times[i]); got != want {
						t.Errorf("wait %d was %v, want %v", i, got, want)
					}
				}
			})
		})
	}
}

func TestCancelledWhileWaiting(t *testing.T) {
	h := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	simulate(t, Config{Backoff: time.Hour}, h, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := c.Download(ctx, "http://user:hunter2@example.com/", &memory{}, nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}
