package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"

	"elstore/api"
	"elstore/api/rest"
)

// listenDebug listens for whoever looks into the process, on loopback only: profiles tell what is in memory.
func listenDebug(ctx context.Context, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil //nolint:nilnil // it was not asked for
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--debug-listen: %w", err)
	}
	at, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil || !at.Addr().Unmap().IsLoopback() {
		return nil, errors.Join(fmt.Errorf("--debug-listen is %s; only a loopback address such as 127.0.0.1:6060 is allowed, since profiles tell what is in memory", address), l.Close())
	}
	return l, nil
}

// newDebugServer serves the profiles of this process below /debug/pprof/.
func newDebugServer(log *slog.Logger) *api.Server {
	as := func(h http.HandlerFunc) rest.Handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			h(w, r)
			return nil
		}
	}
	get := []string{http.MethodGet}
	return api.NewServer(api.New(api.Config{Log: log, Top: []rest.Route{
		{Methods: get, Path: "/debug/pprof/", Handler: as(pprof.Index)},
		{Methods: get, Path: "/debug/pprof/cmdline", Handler: as(pprof.Cmdline)},
		{Methods: get, Path: "/debug/pprof/profile", Handler: as(pprof.Profile)},
		{Methods: []string{http.MethodGet, http.MethodPost}, Path: "/debug/pprof/symbol", Handler: as(pprof.Symbol)},
		{Methods: get, Path: "/debug/pprof/trace", Handler: as(pprof.Trace)},
		{Methods: get, Path: "/debug/pprof/{profile}", Handler: as(pprof.Index)},
	}}), log)
}
