package oidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"elstore/api/access"
	"elstore/volume"
	"elstore/volume/fault"
)

// algorithms are those whose signatures count (RFC 7518 section 3.1, RFC 8037): none of them has a shared secret.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// The claims of ours that an authority may put into a token.
const (
	roleClaim     = "elstore_role"     // a role; user where there is none
	identityClaim = "elstore_identity" // who a reader or user is; made of issuer and subject where there is none
)

// Config says whose tokens are taken.
type Config struct {
	Issuer   string       // URL of the authority, as the claim "iss" has it: https, or http on this machine
	Audience string       // what the claim "aud" must have
	HTTP     *http.Client // fetches the keys; nil is one of our own
	Log      *slog.Logger // nil is slog.Default()
}

// Verifier checks tokens. Its methods may be called at the same time.
type Verifier struct {
	cfg  Config
	keys *keys
}

var _ access.Verifier = (*Verifier)(nil)

// New checks cfg. It fetches nothing yet.
func New(cfg Config) (*Verifier, error) {
	u, err := url.Parse(cfg.Issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the issuer %q is not a URL such as https://login.example.com", cfg.Issuer)
	case u.Scheme != "https" && (u.Scheme != "http" || !onThisMachine(u.Hostname())):
		return nil, fmt.Errorf("the issuer %s must be https: its keys decide who comes in", cfg.Issuer)
	case cfg.Audience == "":
		return nil, errors.New("an audience is needed: without one the tokens for every other service would be taken here")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Verifier{cfg: cfg, keys: newKeys(cfg)}, nil
}

func onThisMachine(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// claims are what is read of a token.
type claims struct {
	jwt.Claims
	Role     string `json:"elstore_role"`
	Identity string `json:"elstore_identity"`
}

// Verify returns who comes with token. The error is Unauthorized where the token is at fault, and StateUnavailable where
// the authority's keys can't be had.
func (v *Verifier) Verify(ctx context.Context, token string) (*access.Caller, error) {
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return nil, refuse("it is no JSON Web Token with an algorithm that is allowed", err)
	}
	if len(parsed.Headers) != 1 {
		return nil, refuse("it has more than one signature", nil)
	}
	header := parsed.Headers[0]
	candidates, err := v.keys.find(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	var c claims
	verified := false
	for _, key := range candidates {
		if fits(key, jose.SignatureAlgorithm(header.Algorithm)) && parsed.Claims(key, &c) == nil {
			verified = true
			break
		}
	}
	if !verified {
		return nil, refuse("no key of the authority signed it", nil)
	}
	return v.caller(&c)
}

// caller is who a token whose signature is good is for.
func (v *Verifier) caller(c *claims) (*access.Caller, error) {
	if c.Expiry == nil {
		return nil, refuse("it never expires", nil)
	}
	if c.Subject == "" {
		return nil, refuse("it has no subject", nil)
	}
	if err := c.Validate(jwt.Expected{Issuer: v.cfg.Issuer, AnyAudience: jwt.Audience{v.cfg.Audience}, Time: time.Now()}); err != nil {
		return nil, refuse(strings.TrimPrefix(err.Error(), "go-jose/go-jose/jwt: "), err)
	}
	caller := &access.Caller{Role: access.User, Name: c.Subject, Until: c.Expiry.Time().Add(jwt.DefaultLeeway)}
	if c.Role != "" {
		var err error
		if caller.Role, err = access.ParseRole(c.Role); err != nil {
			return nil, refuse("its claim "+roleClaim+" is no role", err)
		}
	}
	if caller.Role > access.User {
		return caller, nil
	}
	if c.Identity != "" {
		id, err := volume.ParseClient(c.Identity)
		if err != nil || id.IsZero() {
			return nil, refuse("its claim "+identityClaim+" is not 32 hexadecimal digits", err)
		}
		caller.Identity = id
		return caller, nil
	}
	sum := sha256.Sum256([]byte(c.Issuer + "\x00" + c.Subject))
	id, err := volume.ParseClient(volume.IDFrom(sum).String())
	caller.Identity = id
	return caller, err
}

func refuse(why string, cause error) error {
	return &fault.Error{Code: fault.Unauthorized, Msg: "the access token is refused: " + why, Err: cause}
}
