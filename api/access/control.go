package access

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// Verifier knows tokens of another authority.
type Verifier interface {
	// Verify returns who comes with token. An error is Unauthorized where the token is at fault.
	Verify(ctx context.Context, token string) (*Caller, error)
}

// Control finds out who asks. Its methods may be called at the same time.
type Control struct {
	tokens   *Tokens
	other    Verifier
	failures *failures
	check    func(chains [][]*x509.Certificate) error
}

// NewControl returns a Control that knows tokens and, where other is not nil, its too.
func NewControl(tokens *Tokens, other Verifier) *Control {
	return &Control{tokens: tokens, other: other, failures: newFailures(), check: func([][]*x509.Certificate) error { return nil }}
}

// WithCheck makes c ask, with every request, whether the client certificate of its connection, which was verified when that
// began, is good still. It is called before c is used.
func (c *Control) WithCheck(check func(chains [][]*x509.Certificate) error) *Control {
	c.check = check
	return c
}

// Caller returns who sent r: by its Authorization header, else by the client certificate of its connection, else
// Anonymous. Credentials that are no good are Unauthorized, also where a certificate would be good. RateLimited,
// with the time to wait (see rest.RetryAfter), is who sends wrong ones again and again, or more requests than
// its token may.
//
// Wrong secrets count against the token's id at that address, so that they delay nobody else there; what names no
// token of ours counts against the address, and delays only more of its kind.
func (c *Control) Caller(r *http.Request) (*Caller, error) {
	credential, err := ParseAuthorization(r.Header["Authorization"])
	remote := remoteKey(r.RemoteAddr)
	switch {
	case err != nil:
		return nil, c.failed(remote, err)
	case credential == "":
		return c.ofConnection(r)
	}
	id, s, ours := parseToken(credential)
	if ours && c.tokens.has(id) {
		return c.ofToken(remote+" "+id, id, s)
	}
	if !ours && c.other != nil && strings.Count(credential, ".") == 2 { // a JWS in its compact form
		caller, err := c.other.Verify(r.Context(), credential)
		if fault.Is(err, fault.Unauthorized) {
			err = c.failed(remote, err)
		}
		return caller, err
	}
	if ours {
		_, err = c.tokens.check(id, s)
	} else {
		err = fault.Errorf(fault.Unauthorized, "what the Authorization header has is no token of this server; it may have been cut off")
	}
	return nil, c.failed(remote, err)
}

func (c *Control) ofToken(key, id string, s secret) (*Caller, error) {
	if wait := c.failures.blocked(key); wait > 0 {
		return nil, tooManyFailures(wait)
	}
	e, err := c.tokens.check(id, s)
	if err != nil {
		c.failures.failed(key)
		return nil, err
	}
	if wait := e.budget.take(); wait > 0 {
		return nil, later(wait, fmt.Sprintf("this token may send %v requests a second", e.Rate))
	}
	return c.tokens.caller(e), nil
}

// failed notes a failure and returns its error, or for one of many that there were too many.
func (c *Control) failed(key string, err error) error {
	if wait := c.failures.blocked(key); wait > 0 {
		return tooManyFailures(wait)
	}
	c.failures.failed(key)
	return err
}

// waitError is how long to wait; rest.Error asks it.
type waitError time.Duration

func (w waitError) Error() string             { return "wait " + time.Duration(w).String() }
func (w waitError) RetryAfter() time.Duration { return time.Duration(w) }

func later(wait time.Duration, why string) error {
	return &fault.Error{Code: fault.RateLimited, Msg: why + "; try again later", Err: waitError(wait)}
}

func tooManyFailures(wait time.Duration) error {
	return later(wait, "wrong credentials came too often from there")
}

// ouPrefix begins an organizational unit that gives the bearer of a certificate another role than user.
const ouPrefix = "elstore-"

// ofConnection is the bearer of the connection's client certificate.
func (c *Control) ofConnection(r *http.Request) (*Caller, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return &Caller{Role: Anonymous}, nil
	}
	chains := r.TLS.VerifiedChains
	if err := c.check(chains); err != nil {
		return nil, err
	}
	caller, err := ofCertificate(chains[0][0], time.Now())
	if err != nil {
		return nil, err
	}
	caller.revoked = func() bool { return c.check(chains) != nil }
	return caller, nil
}

// ofCertificate reads who bears a certificate that was verified when the connection began: the common name is a user's
// identity, and an organizational unit such as elstore-operator gives another role.
func ofCertificate(cert *x509.Certificate, now time.Time) (*Caller, error) {
	if now.After(cert.NotAfter) { // since: connections last
		return nil, fault.Errorf(fault.Unauthorized, "the client certificate has expired, at %s", cert.NotAfter.UTC().Format(time.RFC3339))
	}
	c := &Caller{Role: User, Name: cert.Subject.String(), Until: cert.NotAfter}
	given := false
	for _, unit := range cert.Subject.OrganizationalUnit {
		word, ok := strings.CutPrefix(unit, ouPrefix)
		if !ok {
			continue
		}
		role, err := ParseRole(word)
		if err != nil || given {
			return nil, fault.Errorf(fault.Unauthorized, "the client certificate's units give no one role; allowed is one of %sreader, %[1]suser, %[1]sorchestrator, %[1]soperator", ouPrefix)
		}
		c.Role, given = role, true
	}
	if c.Role > User {
		return c, nil
	}
	id, err := volume.ParseClient(cert.Subject.CommonName)
	if err != nil {
		return nil, fault.Errorf(fault.Unauthorized, "the client certificate's common name is no identity, which has 32 hexadecimal digits")
	}
	c.Identity = id
	return c, nil
}
