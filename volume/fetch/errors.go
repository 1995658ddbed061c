package fetch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"elstore/volume/fault"
)

// broken is a failure of the line, or of a server for now: worth another try.
type broken struct {
	err   error
	dial  bool          // no connection was made at all
	after time.Duration // how long the server asks to be left alone; 0 where it doesn't say
}

func (b *broken) Error() string { return b.err.Error() }

// Unwrap returns the failure.
func (b *broken) Unwrap() error { return b.err }

// resumeError is the error of a server that doesn't go on where it was asked to.
type resumeError struct{ err error }

func (e *resumeError) Error() string { return e.err.Error() }

// Unwrap returns the failure.
func (e *resumeError) Unwrap() error { return e.err }

// stalled is the cause that cancels a request whose body brings nothing.
type stalled struct{ after time.Duration }

func (s *stalled) Error() string {
	return fmt.Sprintf("it sent less than %d bytes in %v", stallBytes, s.after)
}

// lineError classifies err, with which a request for shown failed. cause is why its context ended, nil if it
// didn't; what is said of shown.
func lineError(cause, err error, shown, what string) error {
	if s, ok := errors.AsType[*stalled](cause); ok {
		return &broken{err: fault.Errorf(fault.FetchFailed, "%s %s: %w", shown, what, s)}
	}
	if cause != nil {
		return fmt.Errorf("fetch %s: %w", shown, cause)
	}
	if known, ok := errors.AsType[*fault.Error](err); ok {
		return known
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		// The error's own text names the resolver, which is nobody's business.
		e := fault.Errorf(fault.FetchFailed, "%s %s: the host %s has no address", shown, what, shorten(dns.Name))
		if dns.IsNotFound {
			return e
		}
		return &broken{err: e, dial: true}
	}
	failed := fault.Errorf(fault.FetchFailed, "%s %s: %w", shown, what, short{err})
	if untrusted(err) {
		return failed
	}
	op, ok := errors.AsType[*net.OpError](err)
	return &broken{err: failed, dial: ok && op.Op == "dial"}
}

// short is err with a text that fits into a message.
type short struct{ err error }

func (s short) Error() string { return shorten(s.err.Error()) }

func (s short) Unwrap() error { return s.err }

// untrusted reports whether err says that the peer is not who it should be, or speaks no TLS.
func untrusted(err error) bool {
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	return verify || unknown || host || record || alert || errors.Is(err, http.ErrSchemeMismatch)
}

func tooLarge(shown string, most int64) error {
	return fault.Errorf(fault.FetchFailed, "%s is larger than %d bytes, which is the most that is fetched", shown, most)
}

// statusError is the error of an answer that is neither content nor a redirect.
func statusError(resp *http.Response, shown string) error {
	says := "refused"
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		says = "is not for everybody: the server asks for credentials or forbids it"
	case http.StatusNotFound, http.StatusGone:
		says = "is not there"
	case http.StatusTooManyRequests:
		says = "was asked for too often"
	default:
		if resp.StatusCode >= http.StatusInternalServerError {
			says = "has a server in trouble"
		}
	}
	err := fault.Errorf(fault.FetchFailed, "%s %s (status %d)", shown, says, resp.StatusCode)
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		b := &broken{err: err}
		if seconds, parseErr := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); parseErr == nil {
			b.after = time.Duration(seconds) * time.Second
		}
		return b
	}
	return err
}

func bytesOf(size int64) string {
	if size < 0 {
		return "an unknown number"
	}
	return strconv.FormatInt(size, 10)
}
