package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Caller is whom the server takes the client for.
type Caller struct {
	AccessControl bool     `json:"access_control"` // the server asks who somebody is
	Role          string   `json:"role"`           // reader, user, orchestrator or operator
	Identity      string   `json:"identity"`       // the only id that it may name as itself; "" where it may name any
	Name          string   `json:"name"`
	TokenID       string   `json:"token_id"`
	Paths         []string `json:"paths"` // the only calls it may make; none is all
	Pools         []string `json:"pools"` // the only pools it sees; none is all
}

// WhoAmI asks the server whom it takes this client for.
func (c *Client) WhoAmI(ctx context.Context) (Caller, error) {
	return fetch[Caller](ctx, c, get("/whoami"))
}

// NewToken is the wish for a token. Zero values are the server's defaults.
type NewToken struct {
	Name     string     `json:"name"`
	Role     string     `json:"role"`               // reader, user, orchestrator or operator
	Identity string     `json:"identity,omitempty"` // of a reader or user; "" is a new one
	Expires  *time.Time `json:"expires,omitempty"`  // nil is never
	Paths    []string   `json:"paths,omitempty"`
	Pools    []string   `json:"pools,omitempty"`
	Rate     float64    `json:"requests_per_second,omitempty"` // 0 is no limit
}

// Token is a token as it is listed, and where it was just made its text.
type Token struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Role     string     `json:"role"`
	Identity string     `json:"identity,omitempty"`
	Created  time.Time  `json:"created"`
	Expires  *time.Time `json:"expires,omitempty"`
	Paths    []string   `json:"paths,omitempty"`
	Pools    []string   `json:"pools,omitempty"`
	Rate     float64    `json:"requests_per_second,omitempty"`
	Text     string     `json:"token,omitempty"` // what is sent; in the answer of CreateToken alone
}

// CreateToken makes a token, for operators. It is not sent again where the line breaks: a token whose answer was lost stands
// in Tokens, and can be revoked.
func (c *Client) CreateToken(ctx context.Context, n NewToken) (Token, error) {
	once := *c
	once.cfg.Retries = -1
	return fetch[Token](ctx, &once, post("/tokens", n))
}

// Tokens lists the tokens, the oldest first, for operators.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	return fetch[[]Token](ctx, c, get("/tokens"))
}

// RevokeToken makes a token void, by its id. One that is not there is void already.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := c.roundTrip(ctx, call{method: http.MethodDelete, path: "/tokens/" + url.PathEscape(id)})
	return err
}

// AuditFilter selects from the audit log. Zero values select all.
type AuditFilter struct {
	Who     string // a name, an identity or the id of a token
	About   string // the id of a volume, job, migration or token
	Since   time.Time
	Refused bool // only what was refused or failed
	Limit   int  // at most so many, the newest; 0 is the server's 100
}

// AuditEntry is one thing that somebody did, or tried to.
type AuditEntry struct {
	Time      time.Time `json:"at"`
	RequestID string    `json:"request_id"`
	Who       string    `json:"who"`
	Role      string    `json:"role"`
	Identity  string    `json:"identity,omitempty"`
	TokenID   string    `json:"token_id,omitempty"`
	Remote    string    `json:"remote"`
	Method    string    `json:"method"`
	Route     string    `json:"route"`
	About     []string  `json:"about,omitempty"`
	Status    int       `json:"status"`
	Code      string    `json:"code,omitempty"`
}

// Audit lists what the audit log has, the newest first, for operators.
func (c *Client) Audit(ctx context.Context, f AuditFilter) ([]AuditEntry, error) {
	q := url.Values{}
	for key, value := range map[string]string{"who": f.Who, "about": f.About} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if f.Refused {
		q.Set("refused", "true")
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return fetch[[]AuditEntry](ctx, c, get("/audit?"+q.Encode()))
}
