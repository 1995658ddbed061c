package access

import (
	"strings"

	"elstore/volume/fault"
)

// maxCredential is the longest credential that is looked at, in bytes. Tokens of other authorities bear claims and
// are longer than ours.
const maxCredential = 8 << 10

// ParseAuthorization reads the values of a request's Authorization headers (RFC 9110 section 11.6.2): none is "",
// and one is `Bearer <token>` (RFC 6750 section 2.1), the scheme in any case, or the token alone, as older clients
// send it. Anything else, two headers too, is Unauthorized. The error never repeats what was sent.
func ParseAuthorization(values []string) (credential string, err error) {
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", fault.Errorf(fault.Unauthorized, "the request has %d Authorization headers; one is allowed", len(values))
	case len(values[0]) > maxCredential:
		return "", fault.Errorf(fault.Unauthorized, "the Authorization header has %d bytes; at most %d are allowed", len(values[0]), maxCredential)
	}
	credential = strings.Trim(values[0], " \t")
	if scheme, rest, ok := strings.Cut(credential, " "); ok {
		if !strings.EqualFold(scheme, "Bearer") {
			return "", malformed()
		}
		credential = strings.TrimLeft(rest, " ")
	}
	if credential == "" || strings.EqualFold(credential, "Bearer") {
		return "", malformed()
	}
	for i := range len(credential) {
		if !tokenByte(credential[i]) {
			return "", malformed()
		}
	}
	return credential, nil
}

// tokenByte reports whether c may stand in a token68 (RFC 9110 section 11.2).
func tokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("-._~+/=", c) >= 0
}

func malformed() error {
	return fault.Errorf(fault.Unauthorized, "the Authorization header is not understood; allowed is Bearer and one token, or the token alone")
}
