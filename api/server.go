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

// DefaultGrace is how long requests may go on when the server stops.
const DefaultGrace = 15 * time.Second

// Server serves a handler on listeners until it is told to stop.
type Server struct {
	Handler http.Handler  // from New
	Log     *slog.Logger  // gets what net/http has to say; nil is slog.Default()
	Grace   time.Duration // how long requests may go on after the stop; 0 is DefaultGrace
}

// Serve accepts on every listener until ctx ends or a listener fails, and closes them. Then rest.Stopping tells
// answers without an end to end, and the other requests have the grace to finish; after it their contexts end with
// a fault of code ShuttingDown as the cause, and a second later their connections. Serve returns when all of that
// is over: nil after ctx's end, else the listener's error. It may be called once.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	log := s.Log
	if log == nil {
		log = slog.Default()
	}
	stopping := make(chan struct{})
	requests, abort := context.WithCancelCause(rest.WithStopping(context.WithoutCancel(ctx), stopping))
	defer abort(nil)
	server := &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	failed := make(chan error, len(listeners))
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve on %v: %w", l.Addr(), err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	close(stopping)
	s.stop(context.WithoutCancel(ctx), server, abort)
	serving.Wait()
	return err
}

// stop ends what is running, gently first.
func (s *Server) stop(ctx context.Context, server *http.Server, abort context.CancelCauseFunc) {
	grace := s.Grace
	if grace == 0 {
		grace = DefaultGrace
	}
	gentle, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if server.Shutdown(gentle) == nil {
		return
	}
	abort(rest.ServerStopping())
	last, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if server.Shutdown(last) != nil {
		_ = server.Close()
	}
}

// Listen listens on each of addrs, which are host:port; port 0 is any free one, and the listener's Addr says
// which. An address that others than this machine can reach is refused unless insecure is set, because there
// anybody may do anything. On an error nothing is left listening.
func Listen(ctx context.Context, insecure bool, addrs ...string) ([]net.Listener, error) {
	var config net.ListenConfig
	var listeners []net.Listener
	for _, addr := range addrs {
		l, err := listen(ctx, &config, insecure, addr)
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

func listen(ctx context.Context, config *net.ListenConfig, insecure bool, addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("the address %q is not of the form host:port, such as 127.0.0.1:7772", addr)
	}
	public := fmt.Errorf("the address %s can be reached from other machines, and who reaches it may do anything: "+
		"listen on a loopback address such as 127.0.0.1:7772, or say --insecure", addr)
	if !insecure && host != "localhost" && !isLoopback(host) {
		return nil, public
	}
	l, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	// The name localhost is what the resolver says it is.
	if got, err := netip.ParseAddrPort(l.Addr().String()); !insecure && (err != nil || !got.Addr().Unmap().IsLoopback()) {
		_ = l.Close()
		return nil, public
	}
	return l, nil
}

// isLoopback reports whether host is a loopback address.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
