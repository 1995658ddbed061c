package volume

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"

	"elstore/volume/fault"
)

// uid is a 128-bit identifier, written as 32 lower-case hexadecimal digits.
type uid [16]byte

// ID names a volume.
type ID struct{ uid }

// Client names a user or machine: the creatorID and client_uid of the API.
type Client struct{ uid }

// NewID returns a random id, as unique as a UUID of version 4.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id.uid[:]) // never fails: crypto/rand ends the program instead
	return id
}

// IDFrom makes an id of the first 16 bytes of sum, a digest that names what the volume is made for.
func IDFrom(sum [32]byte) ID { return ID{uid(sum[:16])} }

// ParseID reads a volume's id: 32 hexadecimal digits of either case, or a UUID with its four dashes.
func ParseID(s string) (ID, error) {
	var id ID
	err := id.UnmarshalText([]byte(s))
	return id, err
}

// ParseClient reads a client's id, written like a volume's.
func ParseClient(s string) (Client, error) {
	var c Client
	err := c.UnmarshalText([]byte(s))
	return c, err
}

// String returns the compact form: 32 lower-case hexadecimal digits.
func (u uid) String() string { return hex.EncodeToString(u[:]) }

// IsZero reports whether the id was never set.
func (u uid) IsZero() bool { return u == uid{} }

// MarshalText writes the compact form.
func (u uid) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, u[:]), nil }

// AppendText appends the compact form.
func (u uid) AppendText(b []byte) ([]byte, error) { return hex.AppendEncode(b, u[:]), nil }

// Allowed says in an error message what an id looks like.
func (u uid) Allowed() string { return "32 hexadecimal digits" }

// UnmarshalText reads the compact form or a dashed UUID, of either case.
func (u *uid) UnmarshalText(text []byte) error {
	digits := text
	if len(text) == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-' {
		digits = bytes.Join([][]byte{text[:8], text[9:13], text[14:18], text[19:23], text[24:]}, nil)
	}
	var parsed uid
	if len(digits) != 2*len(parsed) {
		return fault.Errorf(fault.BadRequest, "an id is %s, not %d characters", u.Allowed(), len(text))
	}
	if _, err := hex.Decode(parsed[:], digits); err != nil {
		return fault.Errorf(fault.BadRequest, "an id is %s", u.Allowed())
	}
	*u = parsed
	return nil
}

// Less orders volumes, as lists and paging have them.
func (id ID) Less(other ID) bool { return bytes.Compare(id.uid[:], other.uid[:]) < 0 }
