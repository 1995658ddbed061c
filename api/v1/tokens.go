package v1

import (
	"net/http"
	"time"

	"elstore/api/access"
	"elstore/api/rest"
	"elstore/volume"
	"elstore/volume/fault"
)

// whoami is who the server takes the caller for.
type whoami struct {
	AccessControl bool           `json:"access_control"`
	Role          access.Role    `json:"role"`
	Identity      *volume.Client `json:"identity"` // null for who acts for everybody
	Name          string         `json:"name,omitempty"`
	Token         string         `json:"token_id,omitempty"`
	Paths         []string       `json:"paths,omitempty"`
	Pools         []string       `json:"pools,omitempty"`
}

func (a *API) whoami(w http.ResponseWriter, r *http.Request) error {
	c := access.CallerOf(r.Context())
	if c == nil {
		return rest.Reply(w, http.StatusOK, whoami{Role: access.Operator})
	}
	return rest.Reply(w, http.StatusOK, whoami{
		AccessControl: true, Role: c.Role, Identity: c.Who(), Name: c.Name, Token: c.Token, Paths: c.Paths, Pools: c.Pools,
	})
}

// tokenRequest is the wish for a token.
type tokenRequest struct {
	Name     string         `json:"name" required:"true"`
	Role     access.Role    `json:"role" required:"true"`
	Identity *volume.Client `json:"identity"`
	Expires  *time.Time     `json:"expires"`
	Paths    []string       `json:"paths"`
	Pools    []string       `json:"pools"`
	Rate     float64        `json:"requests_per_second"`
}

// createdToken is a token and its text, which is told this once.
type createdToken struct {
	access.Token
	Text string `json:"token"`
}

// createToken is no job and takes no Idempotency-Key, since nothing may remember its answer. A token whose answer was lost
// is seen in the list, and revoked.
func (a *API) createToken(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.Decode[tokenRequest](r)
	if err != nil {
		return err
	}
	n := access.Token{Name: req.Name, Role: req.Role, Paths: req.Paths, Pools: req.Pools, Rate: req.Rate}
	if req.Identity != nil {
		n.Identity = *req.Identity
	}
	if req.Expires != nil {
		n.Expires = req.Expires.UTC()
	}
	made, text, err := a.cfg.Tokens.Create(n)
	if err != nil {
		return err
	}
	rest.SetAbout(r.Context(), made.ID)
	w.Header().Set("Cache-Control", "no-store")
	return rest.Reply(w, http.StatusOK, createdToken{made, text})
}

func (a *API) tokens(w http.ResponseWriter, _ *http.Request) error {
	return rest.Reply(w, http.StatusOK, a.cfg.Tokens.List())
}

// revokeToken is idempotent: a token that is not there is revoked.
func (a *API) revokeToken(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if len(id) > 64 {
		return fault.Errorf(fault.BadRequest, "a token's id has 16 hexadecimal digits")
	}
	rest.SetAbout(r.Context(), id)
	if err := a.cfg.Tokens.Revoke(id); err != nil {
		return err
	}
	return rest.Reply(w, http.StatusOK, map[string]string{"id": id})
}
