package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"elstore/api/rest"
	"elstore/volume/fault"
)

// pipes is a listener whose connections are pipes, so that synctest can simulate time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }
func (*pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// connect returns the client's end of a new connection.
func (p *pipes) connect() net.Conn {
	here, there := net.Pipe()
	p.conns <- there
	return here
}

// grace is how long the servers of the tests let requests go on.
const grace = 15 * time.Second

// bubble runs a server of routes in a synctest bubble; stop stops it and returns what Shutdown did.
func bubble(t *testing.T, routes []rest.Route, test func(t *testing.T, p *pipes, stop func() error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		quiet := slog.New(slog.DiscardHandler)
		server := NewServer(New(Config{Log: quiet, Routes: routes}), quiet)
		listener := newPipes()
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		stopped := false
		stop := func() error {
			stopped = true
			ctx, cancel := context.WithTimeout(t.Context(), grace)
			defer cancel()
			err := server.Shutdown(ctx)
			if got := <-served; !errors.Is(got, http.ErrServerClosed) {
				t.Errorf("Serve returned %v", got)
			}
			return err
		}
		test(t, listener, stop)
		if !stopped {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Error(err)
	}
}

func status(t *testing.T, conn net.Conn) int {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pipes, _ func() error) {
		conn := p.connect()
		defer conn.Close()
		began := time.Now()
		send(t, conn, "GET / HTTP/1.1\r\n")
		done := make(chan struct{})
		var trickle sync.WaitGroup
		trickle.Go(func() {
			for {
				select {
				case <-time.After(time.Second):
					_, _ = io.WriteString(conn, "X-A: b\r\n")
				case <-done:
					return
				}
			}
		})
		_, err := io.Copy(io.Discard, conn)
		if took := time.Since(began); took != readHeaderTimeout {
			t.Errorf("cut off after %v, %v", took, err)
		}
		_ = conn.Close()
		close(done)
		trickle.Wait()
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *pipes, _ func() error) {
		conn := p.connect()
		defer conn.Close()
		send(t, conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if got := status(t, conn); got != 200 {
			t.Errorf("got %d", got)
		}
		began := time.Now()
		_, _ = io.Copy(io.Discard, conn)
		if took := time.Since(began); took != idleTimeout {
			t.Errorf("closed after %v", took)
		}
	})
}

// A client that doesn't take its answer is given up on, and one that takes it slowly is not.
func TestSlowReaders(t *testing.T) {
	body := bytes.Repeat([]byte("x"), 5*piece)
	for name, source := range map[string]func(w io.Writer) error{
		"written": func(w io.Writer) error { _, err := w.Write(body); return err },
		"copied":  func(w io.Writer) error { _, err := io.Copy(w, bytes.NewReader(body)); return err },
	} {
		for _, slow := range []bool{true, false} {
			t.Run(name+map[bool]string{true: ", slowly read", false: ", not read"}[slow], func(t *testing.T) {
				var failed error
				var took time.Duration
				route := rest.Route{Methods: []string{"GET"}, Path: "/data", Handler: func(w http.ResponseWriter, _ *http.Request) error {
					began := time.Now()
					failed = source(w)
					took = time.Since(began)
					return failed
				}}
				bubble(t, []rest.Route{route}, func(t *testing.T, p *pipes, stop func() error) {
					conn := p.connect()
					send(t, conn, "GET /api/v1.0/data HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
					if slow {
						buffer := make([]byte, piece)
						for {
							<-time.After(25 * time.Second)
							if _, err := io.ReadFull(conn, buffer); err != nil {
								break
							}
						}
						_ = conn.Close()
						_ = stop()
						if failed != nil || took < 2*writeTimeout {
							t.Errorf("got %v after %v", failed, took)
						}
						return
					}
					<-time.After(2 * writeTimeout)
					_ = conn.Close()
					_ = stop()
					if !errors.Is(failed, os.ErrDeadlineExceeded) || took != writeTimeout {
						t.Errorf("got %v after %v", failed, took)
					}
				})
			})
		}
	}
}

// The deadline of one answer must not hit the next request of the connection.
func TestLongWorkOnAUsedConnection(t *testing.T) {
	route := rest.Route{Methods: []string{"POST"}, Path: "/work", Handler: func(w http.ResponseWriter, r *http.Request) error {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return err
		}
		select {
		case <-time.After(3 * time.Hour):
		case <-r.Context().Done():
			t.Error("the request ended while it was worked on")
		}
		return rest.Reply(w, 200, "done")
	}}
	bubble(t, []rest.Route{route}, func(t *testing.T, p *pipes, _ func() error) {
		conn := p.connect()
		defer conn.Close()
		for range 2 {
			send(t, conn, "POST /api/v1.0/work HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
			line := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
			if _, err := io.ReadFull(conn, line); err != nil {
				t.Fatal(err)
			}
			send(t, conn, "{}")
			if got := status(t, conn); got != 200 {
				t.Errorf("got %d", got)
			}
			<-time.After(idleTimeout - time.Second)
		}
	})
}

func TestStopWaitsForRequests(t *testing.T) {
	route := rest.Route{Methods: []string{"POST"}, Path: "/work", Handler: func(w http.ResponseWriter, r *http.Request) error {
		select {
		case <-time.After(10 * time.Second):
		case <-r.Context().Done():
			t.Error("the request was ended within the grace")
		}
		return rest.Reply(w, 200, "done")
	}}
	bubble(t, []rest.Route{route}, func(t *testing.T, p *pipes, stop func() error) {
		conn := p.connect()
		defer conn.Close()
		send(t, conn, "POST /api/v1.0/work HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
		synctest.Wait()
		var client sync.WaitGroup
		client.Go(func() {
			if got := status(t, conn); got != 200 {
				t.Errorf("got %d", got)
			}
		})
		if err := stop(); err != nil {
			t.Error(err)
		}
		client.Wait()
	})
}

func TestStopEndsStreamsAtOnce(t *testing.T) {
	route := rest.Route{Methods: []string{"GET"}, Path: "/events", Handler: func(w http.ResponseWriter, r *http.Request) error {
		_ = http.NewResponseController(w).Flush()
		<-rest.Stopping(r.Context())
		return nil
	}}
	bubble(t, []rest.Route{route}, func(t *testing.T, p *pipes, stop func() error) {
		conn := p.connect()
		defer conn.Close()
		send(t, conn, "GET /api/v1.0/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
		var client sync.WaitGroup
		client.Go(func() {
			if got := status(t, conn); got != 200 {
				t.Errorf("got %d", got)
			}
		})
		synctest.Wait()
		began := time.Now()
		if err := stop(); err != nil || time.Since(began) > time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		client.Wait()
	})
}

func TestStopEndsWhatOutlastsTheGrace(t *testing.T) {
	for name, listens := range map[string]bool{"it listens": true, "it doesn't": false} {
		t.Run(name, func(t *testing.T) {
			var cause error
			route := rest.Route{Methods: []string{"POST"}, Path: "/work", Handler: func(_ http.ResponseWriter, r *http.Request) error {
				<-r.Context().Done()
				cause = context.Cause(r.Context())
				if !listens {
					<-time.After(time.Hour)
				}
				return cause
			}}
			bubble(t, []rest.Route{route}, func(t *testing.T, p *pipes, stop func() error) {
				conn := p.connect()
				defer conn.Close()
				send(t, conn, "POST /api/v1.0/work HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
				synctest.Wait()
				want := 503
				if !listens {
					want = 0
				}
				var client sync.WaitGroup
				client.Go(func() {
					resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err == nil && resp.StatusCode != want || err != nil && listens {
						t.Errorf("got %v, %v", resp, err)
					}
				})
				began := time.Now()
				err := stop()
				took := time.Since(began)
				client.Wait()
				<-time.After(time.Hour)
				if (err == nil) != listens || took < grace || took > grace+2*time.Second || !fault.Is(cause, fault.ShuttingDown) {
					t.Errorf("got %v after %v, the request ended by %v", err, took, cause)
				}
			})
		})
	}
}

func TestCloseEndsEverythingAtOnce(t *testing.T) {
	var cause error
	route := rest.Route{Methods: []string{"POST"}, Path: "/work", Handler: func(_ http.ResponseWriter, r *http.Request) error {
		<-r.Context().Done()
		cause = context.Cause(r.Context())
		return cause
	}}
	synctest.Test(t, func(t *testing.T) {
		quiet := slog.New(slog.DiscardHandler)
		server := NewServer(New(Config{Log: quiet, Routes: []rest.Route{route}}), quiet)
		listener := newPipes()
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		conn := listener.connect()
		send(t, conn, "POST /api/v1.0/work HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
		synctest.Wait()
		began := time.Now()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Error(err)
		}
		if got := <-served; !errors.Is(got, http.ErrServerClosed) || time.Since(began) != 0 {
			t.Errorf("got %v after %v", got, time.Since(began))
		}
		synctest.Wait()
		if !fault.Is(cause, fault.ShuttingDown) {
			t.Errorf("the request ended by %v", cause)
		}
		if err := server.Serve(newPipes()); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("served again: %v", err)
		}
	})
}

func TestListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		insecure bool
		addrs    []string
		says     string
	}{
		"any port":             {false, []string{"127.0.0.1:0"}, ""},
		"two":                  {false, []string{"127.0.0.1:0", "127.0.0.2:0"}, ""},
		"name":                 {false, []string{"localhost:0"}, ""},
		"wildcard, insecure":   {true, []string{"0.0.0.0:0"}, ""},
		"all, insecure":        {true, []string{":0"}, ""},
		"wildcard":             {false, []string{"0.0.0.0:0"}, "the address 0.0.0.0:0 can be reached from other machines"},
		"wildcard 6":           {false, []string{"[::]:0"}, "--insecure"},
		"all":                  {false, []string{":0"}, "--insecure"},
		"public":               {false, []string{"192.0.2.1:0"}, "--insecure"},
		"private":              {false, []string{"10.0.0.1:0"}, "--insecure"},
		"another name":         {false, []string{"example.com:0"}, "--insecure"},
		"good and bad":         {false, []string{"127.0.0.1:0", "0.0.0.0:0"}, "--insecure"},
		"no port":              {false, []string{"127.0.0.1"}, "not of the form host:port"},
		"bad port":             {false, []string{"127.0.0.1:x"}, "listen on 127.0.0.1:x"},
		"taken":                {false, []string{taken.Addr().String()}, "address already in use"},
		"not ours, insecure":   {true, []string{"192.0.2.1:0"}, "cannot assign requested address"},
		"one of two, insecure": {true, []string{"127.0.0.1:0", "192.0.2.1:0"}, "cannot assign requested address"},
	} {
		t.Run(name, func(t *testing.T) {
			listeners, err := Listen(t.Context(), c.insecure, c.addrs...)
			for _, l := range listeners {
				defer l.Close()
				if l.Addr().(*net.TCPAddr).Port == 0 {
					t.Errorf("listens on %v", l.Addr())
				}
			}
			if c.says == "" {
				if err != nil || len(listeners) != len(c.addrs) {
					t.Errorf("got %d listeners, %v", len(listeners), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || listeners != nil {
				t.Errorf("got %v, %v, want %q", listeners, err, c.says)
			}
		})
	}
}

// The whole of it over TCP: a file goes out in ranges, whole and unchanged.
func TestServeOverTCP(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	data := bytes.Repeat([]byte("0123456789abcdef"), (3*piece+16)/16)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	route := rest.Route{Methods: []string{"GET"}, Path: "/data", Handler: func(w http.ResponseWriter, r *http.Request) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, f)
		return nil
	}}
	listeners, err := Listen(t.Context(), false, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	server := NewServer(New(Config{Log: quiet, Routes: []rest.Route{route}}), quiet)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listeners[0]) }()
	transport := &http.Transport{}
	for name, c := range map[string]struct {
		header string
		want   []byte
		status int
	}{
		"whole": {"", data, 200}, "range": {"bytes=5-2097151", data[5:2097152], 206},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listeners[0].Addr().String()+"/api/v1.0/data", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Range", c.header)
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || !bytes.Equal(got, c.want) {
			t.Errorf("%s: got %d, %d bytes, %v", name, resp.StatusCode, len(got), err)
		}
	}
	transport.CloseIdleConnections()
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
