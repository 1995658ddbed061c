package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"elstore/volume/fault"
)

const (
	// fetchInterval passes at least between two times that the authority is asked.
	fetchInterval = 30 * time.Second

	// keysLife is after how long keys are fetched anew though all are known: one may have been withdrawn.
	keysLife = time.Hour

	fetchTimeout = 10 * time.Second
	maxDocument  = 1 << 20
	minRSABits   = 2048
)

// keys are the authority's public keys, as they were last fetched.
type keys struct {
	issuer string
	http   *http.Client
	log    *slog.Logger

	turn  sync.Mutex // of the one who fetches, over what follows
	tried time.Time  // when the authority was last asked
	err   error      // of that time

	mu      sync.Mutex // over what follows, for moments; taken after turn
	set     jose.JSONWebKeySet
	fetched time.Time // when set was
}

func newKeys(cfg Config) *keys {
	k := &keys{issuer: cfg.Issuer, http: cfg.HTTP, log: cfg.Log}
	if k.http == nil {
		k.http = &http.Client{Timeout: fetchTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
	}
	return k
}

// find returns the keys that could have signed a token that names the key id: those of that id, or all for "". Only who
// needs keys that are not there waits for them.
func (k *keys) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	found, old := k.known(id)
	switch {
	case len(found) > 0 && !old:
		return found, nil
	case len(found) > 0:
		if !k.turn.TryLock() {
			return found, nil
		}
	default:
		k.turn.Lock()
	}
	defer k.turn.Unlock()
	if again, old := k.known(id); len(again) > 0 && !old { // another fetched them
		return again, nil
	}
	if now := time.Now(); k.tried.IsZero() || now.Sub(k.tried) >= fetchInterval {
		k.tried = now
		// Others wait for it too, so the one who hangs up doesn't end it.
		var set jose.JSONWebKeySet
		if set, k.err = k.fetch(context.WithoutCancel(ctx)); k.err == nil {
			k.mu.Lock()
			k.set, k.fetched = set, now
			k.mu.Unlock()
		} else {
			k.log.Warn("the keys of the authority can't be fetched", slog.String("issuer", k.issuer), slog.Any("error", k.err))
		}
	}
	found, _ = k.known(id)
	if len(found) == 0 && k.err != nil {
		return nil, &fault.Error{Code: fault.StateUnavailable, Msg: "the authority that signs access tokens doesn't tell its keys now; try again", Err: k.err}
	}
	return found, nil
}

// known returns the keys that are there, and whether it is time to ask for new ones.
func (k *keys) known(id string) (found []jose.JSONWebKey, old bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old = time.Since(k.fetched) >= keysLife
	if id == "" {
		return k.set.Keys, old
	}
	return k.set.Key(id), old
}

// fetch asks the authority where its keys are (OpenID Connect Discovery 1.0 section 4), and for them (RFC 7517).
func (k *keys) fetch(ctx context.Context) (set jose.JSONWebKeySet, err error) {
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := k.get(ctx, strings.TrimSuffix(k.issuer, "/")+"/.well-known/openid-configuration", &about); err != nil {
		return set, err
	}
	if about.Issuer != k.issuer {
		return set, fmt.Errorf("the authority says that it is %.200q", about.Issuer)
	}
	if !strings.HasPrefix(about.Keys, "https://") && strings.HasPrefix(k.issuer, "https://") {
		return set, fmt.Errorf("the authority's keys are at %.200q, which is not https", about.Keys)
	}
	// One key that is not understood must not take the others with it.
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.get(ctx, about.Keys, &raw); err != nil {
		return set, err
	}
	for _, text := range raw.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(text, &key) == nil && key.Valid() && key.IsPublic() && (key.Use == "" || key.Use == "sig") {
			set.Keys = append(set.Keys, key)
		}
	}
	if len(set.Keys) == 0 {
		return set, fmt.Errorf("there is no key for signatures at %s", about.Keys)
	}
	return set, nil
}

func (k *keys) get(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := k.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}

// fits reports whether a key may verify a signature of an algorithm: by its kind, its size and, where it says so, by its
// own word.
func fits(key jose.JSONWebKey, alg jose.SignatureAlgorithm) bool {
	if key.Algorithm != "" && key.Algorithm != string(alg) {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return (strings.HasPrefix(string(alg), "RS") || strings.HasPrefix(string(alg), "PS")) && public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		curve := map[jose.SignatureAlgorithm]int{jose.ES256: 256, jose.ES384: 384, jose.ES512: 521}
		return curve[alg] == public.Curve.Params().BitSize
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	}
	return false
}
