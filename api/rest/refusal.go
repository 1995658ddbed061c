package rest

import (
	"fmt"
	"strings"

	"elstore/volume/fault"
)

// The refusals that have nothing to do with what a call means: they are made before a handler is found.

// methodError is the error of a path that answers other methods.
type methodError struct{ allowed []string }

func (e *methodError) Error() string { return "allowed is " + strings.Join(e.allowed, ", ") }

// MethodNotAllowed returns the error for a method that the path does not answer; allowed are those it does.
func MethodNotAllowed(method string, allowed ...string) error {
	return &fault.Error{
		Code: fault.MethodNotAllowed,
		Msg:  fmt.Sprintf("%s is not allowed here; allowed is %s", shorten(method), strings.Join(allowed, ", ")),
		Err:  &methodError{allowed},
	}
}

// NoSuchVersion returns the error for an API version that is not served; served names those that are.
func NoSuchVersion(version, served string) error {
	return fault.Errorf(fault.NoSuchVersion, "the API version %s is not served; served are %s", shorten(quote(version)), served)
}

// NoSuchPath returns the error for a path that nothing is at; served says where the API is.
func NoSuchPath(path, served string) error {
	return fault.Errorf(fault.NoSuchPath, "nothing is at the path %s; the API is at %s", shorten(path), served)
}

// ForeignHost returns the error for a request over loopback that names a host from elsewhere.
func ForeignHost(host string) error {
	return fault.Errorf(fault.CrossSite,
		"the Host %s is foreign here; allowed is localhost, a loopback address or a host that the configuration allows", shorten(quote(host)))
}

// ForeignSite returns the error for a request that a page of another site made a browser send.
func ForeignSite() error {
	return fault.Errorf(fault.CrossSite, "a page of another site sent this; only the same origin and programs are answered")
}

// ServerStopping returns the error with which requests end that outlast the server's stop.
func ServerStopping() error {
	return fault.Errorf(fault.ShuttingDown, "the server is stopping")
}
