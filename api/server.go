package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"elstore/api/rest"
)

// Limits on a connection. There is no limit on a whole request or answer: an upload may take hours, and so may the
// work behind a synchronous call. What bounds them part by part is in rest.WithEcho and pace.go.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// abortTime is how long requests that were told to end have for it.
const abortTime = time.Second

// Server serves a handler on any number of listeners until it is told to stop. Its methods may be called from
// many goroutines at once.
type Server struct {
	http     *http.Server
	stopping func()
	abort    context.CancelCauseFunc
}

// NewServer returns a server of handler, which New made. log gets what net/http has to say about connections.
func NewServer(handler http.Handler, log *slog.Logger) *Server {
	stopping := make(chan struct{})
	requests, abort := context.WithCancelCause(rest.WithStopping(context.Background(), stopping))
	return &Server{
		http: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: readHeaderTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
			BaseContext:       func(net.Listener) context.Context { return requests },
		},
		stopping: sync.OnceFunc(func() { close(stopping) }),
		abort:    abort,
	}
}

// Serve accepts connections on l until Shutdown or Close, after which it returns http.ErrServerClosed at once, or
// until l fails. It closes l.
func (s *Server) Serve(l net.Listener) error { return s.http.Serve(l) }

// Shutdown stops the server: it closes the listeners, tells answers without an end to end (see rest.Stopping), and
// waits for the others. When ctx ends before them, their contexts end with a fault of code ShuttingDown as the cause,
// and a second later their connections are closed: then, and only then, it returns an error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopping()
	err := s.http.Shutdown(ctx)
	if err == nil {
		s.abort(nil)
		return nil
	}
	s.abort(rest.ServerStopping())
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	if s.http.Shutdown(last) == nil {
		return nil
	}
	return fmt.Errorf("requests were cut off: %w", errors.Join(err, s.http.Close()))
}

// Close closes the listeners and every connection at once.
func (s *Server) Close() error {
	s.stopping()
	s.abort(rest.ServerStopping())
	return s.http.Close()
}

// Listen listens on each of addrs, which are host:port; port 0 is any free one, and the listener's Addr says
// which. An address that others than this machine can reach is refused unless open is set, because there
// anybody may do anything where nobody is asked who he is. On an error nothing is left listening.
func Listen(ctx context.Context, open bool, addrs ...string) ([]net.Listener, error) {
	var config net.ListenConfig
	var listeners []net.Listener
	for _, addr := range addrs {
		l, err := listen(ctx, &config, open, addr)
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func listen(ctx context.Context, config *net.ListenConfig, open bool, addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("the address %q is not of the form host:port, such as 127.0.0.1:7772", addr)
	}
	public := reachable(addr)
	if !open && host != "localhost" && !isLoopback(host) {
		return nil, public
	}
	l, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	// The name localhost is what the resolver says it is.
	if got, err := netip.ParseAddrPort(l.Addr().String()); !open && (err != nil || !got.Addr().Unmap().IsLoopback()) {
		_ = l.Close()
		return nil, public
	}
	return l, nil
}

// Adopt looks at listeners that somebody else made as Listen does at its own. They are left open.
func Adopt(insecure bool, listeners ...net.Listener) error {
	for _, l := range listeners {
		if at, err := netip.ParseAddrPort(l.Addr().String()); !insecure && (err != nil || !at.Addr().Unmap().IsLoopback()) {
			return reachable(l.Addr().String())
		}
	}
	return nil
}

// reachable refuses an address.
func reachable(addr string) error {
	return fmt.Errorf("the address %s can be reached from other machines, and who reaches it may do anything: "+
		"listen on a loopback address such as 127.0.0.1:7772, turn on --access-control, or say --insecure", addr)
}

// isLoopback reports whether host is a loopback address.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
