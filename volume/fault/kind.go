package fault

// Kind sorts errors by what the caller can do about them. Every Kind has one HTTP status, given by rest.Status.
type Kind uint8

// The kinds, in the order of their HTTP statuses.
const (
	Internal        Kind = iota // our own failure, or one that nobody classified
	Invalid                     // the request is malformed or asks for what can't be
	Unauthenticated             // no or bad credentials
	Forbidden                   // the caller may not do this
	NotFound                    // no such volume, job, pool, version or path
	Method                      // the path is there and the method is not
	Conflict                    // something is in the way: locked, exported, wrong state
	Precondition                // a condition that the caller named is not met
	TooLarge                    // the body is over its limit
	BadRange                    // the byte range is not satisfiable
	TooMany                     // the caller asks too often or holds too much
	Unavailable                 // the pool, device or cluster is not there now
	NoSpace                     // no pool has room, or a pool's limit is hit
)

// String returns the kind's name in lower case.
func (k Kind) String() string {
	switch k {
	case Internal:
		return "internal"
	case Invalid:
		return "invalid"
	case Unauthenticated:
		return "unauthenticated"
	case Forbidden:
		return "forbidden"
	case NotFound:
		return "not found"
	case Method:
		return "method not allowed"
	case Conflict:
		return "conflict"
	case Precondition:
		return "precondition failed"
	case TooLarge:
		return "too large"
	case BadRange:
		return "bad range"
	case TooMany:
		return "too many"
	case Unavailable:
		return "unavailable"
	case NoSpace:
		return "no space"
	}
	return "unknown"
}
