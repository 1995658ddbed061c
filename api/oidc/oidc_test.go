package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"elstore/api/access"
	"elstore/volume/fault"
)

// issuer is an authority on this machine.
type issuer struct {
	t       testing.TB
	url     string
	keys    atomic.Pointer[[]any]
	about   map[string]any
	fetches atomic.Int32
	down    atomic.Bool
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	is := &issuer{t: t}
	web := httptest.NewServer(is)
	t.Cleanup(web.Close)
	is.url = web.URL
	is.about = map[string]any{"issuer": web.URL, "jwks_uri": web.URL + "/keys"}
	return is
}

func (is *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var answer any
	switch {
	case is.down.Load():
		w.WriteHeader(http.StatusBadGateway)
		return
	case r.URL.Path == "/.well-known/openid-configuration":
		answer = is.about
	case r.URL.Path == "/keys":
		is.fetches.Add(1)
		answer = map[string]any{"keys": *is.keys.Load()}
	default:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		is.t.Error(err)
	}
}

// publish makes these the authority's keys.
func (is *issuer) publish(keys ...any) { is.keys.Store(&keys) }

func (is *issuer) verifier() *Verifier {
	is.t.Helper()
	v, err := New(Config{Issuer: is.url, Audience: "elstore", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		is.t.Fatal(err)
	}
	return v
}

// claimsNow are those of a good token.
func (is *issuer) claimsNow(more map[string]any) map[string]any {
	c := map[string]any{"iss": is.url, "aud": "elstore", "sub": "jo", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
	maps.Copy(c, more)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, id string, claims map[string]any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("at+jwt")
	if id != "" {
		options.WithHeader("kid", id)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func public(key any, id string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key, KeyID: id, Use: "sig"}
}

func TestGoodTokens(t *testing.T) {
	is := newIssuer(t)
	r := rsaKey(t)
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	is.publish(public(&r.PublicKey, "r"), public(&e.PublicKey, "e"), public(edPublic, "d"), map[string]any{"kty": "unheard-of"})
	v := is.verifier()
	const me = "ffffffffffffffffffffffffffffffff"
	tests := map[string]struct {
		token    string
		role     access.Role
		identity string
	}{
		"RSA":                  {sign(t, jose.RS256, r, "r", is.claimsNow(nil)), access.User, ""},
		"PSS":                  {sign(t, jose.PS512, r, "r", is.claimsNow(nil)), access.User, ""},
		"ECDSA":                {sign(t, jose.ES256, e, "e", is.claimsNow(nil)), access.User, ""},
		"Ed25519":              {sign(t, jose.EdDSA, ed, "d", is.claimsNow(nil)), access.User, ""},
		"without a key's name": {sign(t, jose.ES256, e, "", is.claimsNow(nil)), access.User, ""},
		"several audiences":    {sign(t, jose.ES256, e, "e", is.claimsNow(map[string]any{"aud": []string{"other", "elstore"}})), access.User, ""},
		"an operator":          {sign(t, jose.ES256, e, "e", is.claimsNow(map[string]any{"elstore_role": "operator"})), access.Operator, strings.Repeat("0", 32)},
		"with an identity":     {sign(t, jose.ES256, e, "e", is.claimsNow(map[string]any{"elstore_identity": me, "elstore_role": "reader"})), access.Reader, me},
	}
	identities := map[string]bool{}
	for name, tt := range tests {
		got, err := v.Verify(t.Context(), tt.token)
		if err != nil || got.Role != tt.role || got.Name != "jo" || tt.identity != "" && got.Identity.String() != tt.identity {
			t.Errorf("%s: %+v, %v", name, got, err)
			continue
		}
		if tt.identity == "" {
			identities[got.Identity.String()] = true
		}
	}
	if len(identities) != 1 || identities[strings.Repeat("0", 32)] {
		t.Errorf("one subject has the identities %v", identities)
	}
	other, err := v.Verify(t.Context(), sign(t, jose.ES256, e, "e", is.claimsNow(map[string]any{"sub": "al"})))
	if err == nil && (other.Gone() || other.Until.IsZero()) {
		t.Errorf("it is good until %v", other.Until)
	}
	if err != nil || identities[other.Identity.String()] {
		t.Errorf("another subject: %+v, %v", other, err)
	}
	if n := is.fetches.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// part is a piece of a token by hand.
func part(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func TestBadTokens(t *testing.T) {
	is := newIssuer(t)
	r, stranger := rsaKey(t), rsaKey(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte(strings.Repeat("s", 32))
	forPS := public(&r.PublicKey, "ps")
	forPS.Algorithm = "PS256"
	encryption := jose.JSONWebKey{Key: &stranger.PublicKey, KeyID: "enc", Use: "enc"}
	is.publish(public(&r.PublicKey, "r"), public(&e.PublicKey, "e"), public(&weak.PublicKey, "weak"), forPS, encryption,
		map[string]any{"kty": "oct", "kid": "oct", "k": base64.RawURLEncoding.EncodeToString(secret)})
	v := is.verifier()
	good := sign(t, jose.RS256, r, "r", is.claimsNow(nil))
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&r.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	pieces := strings.Split(good, ".")
	with := func(claims map[string]any) string { return sign(t, jose.RS256, r, "r", is.claimsNow(claims)) }
	hour := func(n int) int64 { return time.Now().Add(time.Duration(n) * time.Hour).Unix() }
	tests := map[string]string{
		"no signature, alg none":          part(t, map[string]any{"alg": "none", "kid": "r"}) + "." + pieces[1] + ".",
		"alg None":                        part(t, map[string]any{"alg": "None", "kid": "r"}) + "." + pieces[1] + ".",
		"no alg":                          part(t, map[string]any{"kid": "r"}) + "." + pieces[1] + "." + pieces[2],
		"a MAC with the public key":       sign(t, jose.HS256, publicPEM, "r", is.claimsNow(map[string]any{"elstore_role": "operator"})),
		"a MAC with the key's bytes":      sign(t, jose.HS256, der, "r", is.claimsNow(nil)),
		"a MAC with a published secret":   sign(t, jose.HS256, secret, "oct", is.claimsNow(nil)),
		"another kind's algorithm":        part(t, map[string]any{"alg": "ES256", "kid": "r"}) + "." + pieces[1] + "." + pieces[2],
		"an algorithm the key is not for": sign(t, jose.RS256, r, "ps", is.claimsNow(nil)),
		"a key that is not for signing":   sign(t, jose.RS256, stranger, "enc", is.claimsNow(nil)),
		"a weak key":                      sign(t, jose.RS256, weak, "weak", is.claimsNow(nil)),
		"a stranger's key":                sign(t, jose.RS256, stranger, "r", is.claimsNow(nil)),
		"a key of nobody":                 sign(t, jose.RS256, stranger, "nobody", is.claimsNow(nil)),
		"another payload":                 pieces[0] + "." + part(t, is.claimsNow(map[string]any{"elstore_role": "operator"})) + "." + pieces[2],
		"cut off":                         good[:len(good)-10],
		"doubled":                         good + good,
		"the signature of another":        pieces[0] + "." + pieces[1] + "." + strings.Split(with(map[string]any{"sub": "al"}), ".")[2],
		"nothing but dots":                "..",
		"a critical header of nobody's":   part(t, map[string]any{"alg": "RS256", "kid": "r", "crit": []string{"x"}, "x": 1}) + "." + pieces[1] + "." + pieces[2],
		"expired":                         with(map[string]any{"exp": hour(-1)}),
		"without an end":                  with(map[string]any{"exp": nil}),
		"not yet":                         with(map[string]any{"nbf": hour(1)}),
		"made later":                      with(map[string]any{"iat": hour(1)}),
		"of another issuer":               with(map[string]any{"iss": "https://evil.example"}),
		"of no issuer":                    with(map[string]any{"iss": nil}),
		"for another audience":            with(map[string]any{"aud": "elsewhere"}),
		"for nobody":                      with(map[string]any{"aud": nil}),
		"of nobody":                       with(map[string]any{"sub": nil}),
		"with a role that is none":        with(map[string]any{"elstore_role": "root"}),
		"with nobody's role":              with(map[string]any{"elstore_role": "anonymous"}),
		"with roles":                      with(map[string]any{"elstore_role": []string{"operator"}}),
		"with an identity that is none":   with(map[string]any{"elstore_identity": "jo"}),
		"with no identity at all":         with(map[string]any{"elstore_identity": strings.Repeat("0", 32)}),
		"with a date that is none":        with(map[string]any{"exp": "tomorrow"}),
	}
	for name, token := range tests {
		if got, err := v.Verify(t.Context(), token); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if n := is.fetches.Load(); n != 1 {
		t.Errorf("bad tokens made us fetch the keys %d times", n)
	}
}

// TestKeysChange: a new key is fetched when a token names it, and not again for a while; old keys go within the hour; an
// authority that is down leaves the known keys good.
func TestKeysChange(t *testing.T) {
	is := newIssuer(t)
	first, second := rsaKey(t), rsaKey(t)
	is.publish(public(&first.PublicKey, "1"))
	// The authority is asked through a transport that needs no network, so that time can be simulated.
	synctest.Test(t, func(t *testing.T) {
		v, err := New(Config{Issuer: is.url, Audience: "elstore", Log: slog.New(slog.DiscardHandler), HTTP: &http.Client{Transport: direct{is}}})
		if err != nil {
			t.Fatal(err)
		}
		check := func(key *rsa.PrivateKey, id, when string, want fault.Code, fetches int32) {
			t.Helper()
			_, err := v.Verify(t.Context(), sign(t, jose.RS256, key, id, is.claimsNow(nil)))
			if want == "" && err != nil || want != "" && !fault.Is(err, want) || is.fetches.Load() != fetches {
				t.Fatalf("%s: %v after %d fetches, want %q after %d", when, err, is.fetches.Load(), want, fetches)
			}
		}
		is.down.Store(true)
		check(first, "1", "before the authority is there", fault.StateUnavailable, 0)
		is.down.Store(false)
		check(first, "1", "at once again", fault.StateUnavailable, 0)
		<-time.After(fetchInterval)
		check(first, "1", "later", "", 1)
		is.publish(public(&first.PublicKey, "1"), public(&second.PublicKey, "2"))
		check(second, "2", "a new key, too soon", fault.Unauthorized, 1)
		<-time.After(fetchInterval)
		check(second, "2", "a new key", "", 2)
		for range 5 {
			check(second, "3", "a key of nobody", fault.Unauthorized, 2)
		}
		is.publish(public(&second.PublicKey, "2"))
		check(first, "1", "a key that was withdrawn, for a while", "", 2)
		is.down.Store(true)
		<-time.After(keysLife)
		check(first, "1", "and while the authority is down", "", 2)
		is.down.Store(false)
		<-time.After(fetchInterval)
		check(first, "1", "then not", fault.Unauthorized, 3)
		check(second, "2", "the other", "", 3)
	})
}

// direct hands requests to a handler.
type direct struct{ to http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.to.ServeHTTP(w, r)
	return w.Result(), nil
}

func TestAuthoritiesThatCantBeTrusted(t *testing.T) {
	key := rsaKey(t)
	for name, change := range map[string]func(*issuer){
		"another name":  func(is *issuer) { is.about["issuer"] = "https://evil.example" },
		"no keys":       func(is *issuer) { is.publish() },
		"no address":    func(is *issuer) { delete(is.about, "jwks_uri") },
		"keys nowhere":  func(is *issuer) { is.about["jwks_uri"] = is.url + "/nowhere" },
		"a private key": func(is *issuer) { is.publish(jose.JSONWebKey{Key: key, KeyID: "1"}) },
	} {
		is := newIssuer(t)
		is.publish(public(&key.PublicKey, "1"))
		change(is)
		if _, err := is.verifier().Verify(t.Context(), sign(t, jose.RS256, key, "1", is.claimsNow(nil))); !fault.Is(err, fault.StateUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, url := range []string{"", "login.example.com", "http://login.example.com", "ftp://login.example.com", "https://a:b@login.example.com", "https://login.example.com?x=y"} {
		if _, err := New(Config{Issuer: url, Audience: "elstore"}); err == nil {
			t.Errorf("the issuer %q is taken", url)
		}
	}
	if _, err := New(Config{Issuer: "https://login.example.com"}); err == nil {
		t.Error("no audience is taken for all")
	}
	if _, err := New(Config{Issuer: "https://login.example.com", Audience: "elstore"}); err != nil {
		t.Error(err)
	}
}

// FuzzVerify: no text that the authority didn't sign is anybody.
func FuzzVerify(f *testing.F) {
	is := newIssuer(f)
	key := rsaKey(f)
	is.publish(public(&key.PublicKey, "1"))
	v := is.verifier()
	good := sign(f, jose.RS256, key, "1", is.claimsNow(map[string]any{"exp": time.Now().Add(24 * time.Hour).Unix()}))
	who, err := v.Verify(f.Context(), good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("eyJhbGciOiJIUzI1NiIsImtpZCI6IjEifQ.e30.AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		// The same signature has several spellings in base64.
		if got, err := v.Verify(t.Context(), token); !fault.Is(err, fault.Unauthorized) && (err != nil || !reflect.DeepEqual(got, who)) {
			t.Errorf("%q: %+v, %v", token, got, err)
		}
	})
}
