package api

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"elstore/api/rest"
)

// guarded keeps web pages out: a page that a browser on this network shows could otherwise talk to a server that
// asks nobody who he is. What another site sends is told by Sec-Fetch-Site or Origin, also where it only
// reads; a site whose name was pointed at a loopback address (DNS rebinding) is told by the Host it names.
func guarded(allowedHosts []string, next http.Handler) http.Handler {
	allowed := make(map[string]bool, len(allowedHosts))
	for _, h := range allowedHosts {
		allowed[plainHost(h)] = true
	}
	protection := http.NewCrossOriginProtection()
	return rest.Handler(func(w http.ResponseWriter, r *http.Request) error {
		if host := plainHost(r.Host); !isLoopbackHost(host) && !allowed[host] && cameOverLoopback(r) {
			return rest.ForeignHost(host)
		}
		asking := *r
		asking.Method = http.MethodPost // the protection lets reading pass; here reading works on the machine too
		if protection.Check(&asking) != nil {
			return rest.ForeignSite()
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

// cameOverLoopback reports whether the connection's own address is loopback. Without a connection, in tests, it
// did not.
func cameOverLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	addr, err := netip.ParseAddrPort(local.String())
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

// isLoopbackHost reports whether host, from plainHost, is this machine by any resolver. No Host at all is what
// HTTP/1.0 programs send, and no browser does.
func isLoopbackHost(host string) bool {
	if host == "localhost" || host == "" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// plainHost takes port, brackets and the root's dot off a Host and makes it lower-case.
func plainHost(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
