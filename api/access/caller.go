package access

import (
	"context"
	"slices"
	"strings"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// Caller is who asks. A nil Caller is one that nobody asked who it is, because access control is off: it may do
// everything.
type Caller struct {
	Role     Role
	Identity volume.Client // of a reader or user: the only one that it may name
	Name     string        // for people: the token's name, the certificate's subject
	Token    string        // the id of the token of ours; "" where it came with something else
	Paths    []string      // below the API's base, such as /info: the only ones it may call, with what is below them; nil is all
	Pools    []string      // the only ones that it sees and uses; nil is all
	Until    time.Time     // when what it came with expires; zero is never

	revoked func() bool // nil where that can't be known
}

type callerKey struct{}

// WithCaller makes CallerOf return c for ctx and what comes of it, limits it to c's pools, and vouches for c's identity.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	if c.Who() != nil {
		ctx = volume.Proven(ctx)
	}
	if c.Limited() {
		ctx = volume.Within(ctx, c.Pools)
	}
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns who asks, nil where nobody was asked.
func CallerOf(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}

// Gone reports whether what the caller came with is no good any more: it expired or was revoked since. An answer without an end
// ends then.
func (c *Caller) Gone() bool {
	return c != nil && (!c.Until.IsZero() && !time.Now().Before(c.Until) || c.revoked != nil && c.revoked())
}

// Who returns the one client that the caller can be, or nil where it may act for everybody.
func (c *Caller) Who() volume.Who {
	if c == nil || c.Role >= Orchestrator {
		return nil
	}
	return &c.Identity
}

// Is reports whether the caller may do what the owner, a client, may. A nil owner is nobody in particular.
func (c *Caller) Is(owner volume.Who) bool {
	who := c.Who()
	return who == nil || owner != nil && *who == *owner
}

// May refuses a call of the route at path, below the API's base, that asks for at least a role: with Unauthorized
// where somebody has to say who he is first, else with NotAllowed.
func (c *Caller) May(least Role, path string) error {
	switch {
	case c == nil:
		return nil
	case c.Role == Anonymous && least > Anonymous:
		return fault.Errorf(fault.Unauthorized, "this server asks who you are: send a token, as Authorization: Bearer <token>")
	case c.Role < least:
		return fault.Errorf(fault.NotAllowed, "the role %s may not do this; allowed is %s", c.Role, atLeast(least))
	case least > Anonymous && c.Paths != nil && !slices.ContainsFunc(c.Paths, func(p string) bool { return below(path, p) }):
		return fault.Errorf(fault.NotAllowed, "this token is for %s alone", strings.Join(c.Paths, ", "))
	}
	return nil
}

// Uses reports whether the caller may use a pool and see what is in it.
func (c *Caller) Uses(pool string) bool {
	return c == nil || c.Pools == nil || slices.Contains(c.Pools, pool)
}

// OnlyPools returns the pools that the caller is limited to, nil for all.
func (c *Caller) OnlyPools() []string {
	if c == nil {
		return nil
	}
	return c.Pools
}

// Limited reports whether the caller uses some pools only.
func (c *Caller) Limited() bool { return c.OnlyPools() != nil }

// below reports whether path is top or a path below it.
func below(path, top string) bool {
	rest, ok := strings.CutPrefix(path, top)
	return ok && (rest == "" || rest[0] == '/')
}

func atLeast(least Role) string {
	words := roles[least:]
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
