package login

import (
	"crypto/subtle"
	"fmt"
	"io"
)

const redacted = "[redacted]"

// Secret is a CHAP secret. However it is printed, logged or encoded, it is "[redacted]", or an address where a
// private field of something else holds it. The zero value is no secret, and proves nothing. Compare with Equal.
type Secret struct{ p *string }

// NewSecret makes a secret of the bytes that both sides hold; of "", none.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{&s}
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.p == nil }

// Equal reports whether both are the same, in a time that tells nothing but their lengths.
func (s Secret) Equal(t Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

// Reveal returns the bytes, for whoever has to keep them.
func (s Secret) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// String is "[redacted]".
func (Secret) String() string { return redacted }

// Format writes "[redacted]", whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText is "[redacted]", in JSON and logs too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
