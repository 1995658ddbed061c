package access

import (
	"slices"

	"elstore/volume/fault"
)

// Role is what sort of caller somebody is. Each may do all that those before it may.
type Role int

// The roles.
const (
	Anonymous    Role = iota // nobody: no credentials at all
	Reader                   // sees lists and records, no content and no secrets, and changes nothing
	User                     // does everything with what is its own
	Orchestrator             // acts for every user, by naming it
	Operator                 // all that, and runs the server: tokens, the audit log, what needs a person's decision
)

var roles = []string{"anonymous", "reader", "user", "orchestrator", "operator"}

// String returns the role's word.
func (r Role) String() string {
	if r < 0 || int(r) >= len(roles) {
		return "unknown"
	}
	return roles[r]
}

// Allowed says in an error message what roles a token can have.
func (Role) Allowed() string { return "reader, user, orchestrator or operator" }

// ParseRole reads the word of a role that a caller can be given.
func ParseRole(text string) (Role, error) {
	at := slices.Index(roles, text)
	if at <= int(Anonymous) {
		return Anonymous, fault.Errorf(fault.BadRequest, "role %.64q is not allowed: use %s", text, Role(0).Allowed())
	}
	return Role(at), nil
}

// MarshalText writes the role's word.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRole.
func (r *Role) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRole(string(text))
	return err
}
