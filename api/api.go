package api

import (
	"io"
	"log/slog"
	"net/http"

	"github.com/gorilla/mux"

	"elstore/api/access"
	"elstore/api/audit"
	"elstore/api/rest"
)

// Config says what is served.
type Config struct {
	// Routes are served below /api/v1.0 and, all the same, /api/v1, with and without a slash at the end.
	Routes []rest.Route

	// Top are served at their own paths, without a version: /healthz and the like.
	Top []rest.Route

	// Observers are told of every request, each within the one before it.
	Observers []rest.Observer

	// Mount adds routes of other APIs, at paths of their own, matched on the path as it was sent. They have
	// precedence over nothing: Routes come first. nil adds none.
	Mount func(*mux.Router)

	// Log gets a line per request and per panic; nil is slog.Default().
	Log *slog.Logger

	// AllowedHosts are the host names, besides loopback ones, that a request over loopback may bear, without
	// ports: those of a reverse proxy on this machine.
	AllowedHosts []string

	// Access finds out who asks, and policy.go says what who may do; nil asks nobody, and everybody may do everything.
	Access *access.Control

	// Audit is told who changed what, and who was refused; nil is nobody.
	Audit *audit.Log
}

// New returns the handler of everything. It panics if config's routes contradict each other.
func New(config Config) http.Handler {
	log := config.Log
	if log == nil {
		log = slog.Default()
	}
	h := recovered(log, guarded(config.AllowedHosts, authenticated(config.Access, newRouter(config))))
	return paced(rest.WithEcho(identified(observed(config.Observers, logged(log, audited(log, config.Audit, hardened(h)))))))
}

// ping answers GET /, by which clients see that this is the server they look for.
func ping(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := io.WriteString(w, "Elemento storage server (elstore), API at "+served+"\n")
	return err
}
