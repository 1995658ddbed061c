package rest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"elstore/volume/fault"
)

// onePipe is a listener with one connection.
type onePipe struct{ conns chan net.Conn }

func (p *onePipe) Accept() (net.Conn, error) {
	conn, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p *onePipe) Close() error { return nil }
func (*onePipe) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// overPipe serves one connection with h and runs client at its other end, where time is simulated.
func overPipe(t *testing.T, h Handler, client func(t *testing.T, conn net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		listener := &onePipe{make(chan net.Conn, 1)}
		listener.conns <- there
		server := &http.Server{Handler: WithEcho(h)}
		var running sync.WaitGroup
		running.Go(func() { _ = server.Serve(listener) })
		client(t, here)
		_ = here.Close()
		close(listener.conns)
		_ = server.Shutdown(context.WithoutCancel(t.Context()))
		running.Wait()
	})
}

func send(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Error(err)
	}
}

const head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"

func TestDecodeBoundsTheBodysTime(t *testing.T) {
	for name, gap := range map[string]time.Duration{"nothing comes": time.Hour, "it trickles": time.Second} {
		t.Run(name, func(t *testing.T) {
			h := func(_ http.ResponseWriter, r *http.Request) error {
				_, err := Decode[struct{}](r)
				return err
			}
			overPipe(t, h, func(t *testing.T, conn net.Conn) {
				began := time.Now()
				send(t, conn, head)
				done := make(chan struct{})
				var writing sync.WaitGroup
				writing.Go(func() {
					for {
						select {
						case <-time.After(gap):
							_, _ = io.WriteString(conn, " ")
						case <-done:
							return
						}
					}
				})
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				close(done)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				if resp.StatusCode != 400 || !strings.Contains(string(body), "the request's body did not arrive within 30s") {
					t.Errorf("got %d %s", resp.StatusCode, body)
				}
				if took := time.Since(began); took != bodyTimeout {
					t.Errorf("it took %v", took)
				}
				_ = conn.Close()
				writing.Wait()
			})
		})
	}
}

// An upload may take long as long as it moves.
func TestUploadMayBeSlow(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) error {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != 100 {
			t.Errorf("got %d bytes, %v", n, err)
		}
		select {
		case <-time.After(24 * time.Hour): // no deadline is left to end the work
		case <-r.Context().Done():
			t.Error("the wait for the answer was taken for a hang-up")
		}
		return Reply(w, 200, "done")
	}
	overPipe(t, h, func(t *testing.T, conn net.Conn) {
		send(t, conn, head)
		for range 100 {
			<-time.After(59 * time.Second)
			send(t, conn, "x")
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("got %v, %v", resp, err)
		}
	})
}

// What a handler doesn't read can't hold up its answer for long.
func TestUnreadBodyMayNotStall(t *testing.T) {
	h := func(http.ResponseWriter, *http.Request) error { return fault.Errorf(fault.NotAllowed, "not you") }
	overPipe(t, h, func(t *testing.T, conn net.Conn) {
		began := time.Now()
		send(t, conn, head)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 403 || time.Since(began) != restTimeout {
			t.Errorf("got %v, %v after %v", resp, err, time.Since(began))
		}
	})
}

func TestUploadMayNotStall(t *testing.T) {
	h := func(_ http.ResponseWriter, r *http.Request) error {
		began := time.Now()
		n, err := io.Copy(io.Discard, r.Body)
		if n != 1 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != stallTimeout {
			t.Errorf("got %d bytes, %v after %v", n, err, time.Since(began))
		}
		return fault.New(fault.BadRequest, "upload", err)
	}
	overPipe(t, h, func(t *testing.T, conn net.Conn) {
		send(t, conn, head+"x")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 400 {
			t.Errorf("got %v, %v", resp, err)
		}
	})
}

func TestStopping(t *testing.T) {
	select {
	case <-Stopping(t.Context()):
		t.Error("stops outside of a server")
	default:
	}
	stopping := make(chan struct{})
	ctx := WithStopping(t.Context(), stopping)
	close(stopping)
	<-Stopping(ctx)
}
