package pdu

import "fmt"

// LoginStatus is a Login Response's Status-Class in the upper byte and Status-Detail in the lower one; section
// 11.13.5. After any but Success and the two redirections the connection is closed, after those too.
type LoginStatus uint16

// The statuses.
const (
	Success                 LoginStatus = 0x0000
	TargetMovedTemporarily  LoginStatus = 0x0101 // the response has a TargetAddress
	TargetMovedPermanently  LoginStatus = 0x0102 // the response has a TargetAddress
	InitiatorError          LoginStatus = 0x0200 // a miscellaneous one
	AuthenticationFailure   LoginStatus = 0x0201
	AuthorizationFailure    LoginStatus = 0x0202 // who the initiator is was proved, and it may not
	TargetNotFound          LoginStatus = 0x0203
	TargetRemoved           LoginStatus = 0x0204 // and no forwarding address is known
	UnsupportedVersion      LoginStatus = 0x0205
	TooManyConnections      LoginStatus = 0x0206 // on this session
	MissingParameter        LoginStatus = 0x0207 // InitiatorName or TargetName, for example
	CannotIncludeInSession  LoginStatus = 0x0208
	SessionTypeNotSupported LoginStatus = 0x0209
	SessionDoesNotExist     LoginStatus = 0x020a
	InvalidDuringLogin      LoginStatus = 0x020b
	TargetError             LoginStatus = 0x0300
	ServiceUnavailable      LoginStatus = 0x0301
	OutOfResources          LoginStatus = 0x0302
)

// Class is the Status-Class: 0 success, 1 redirection, 2 the initiator's error, 3 the target's.
func (s LoginStatus) Class() int { return int(s >> 8) }

// String is the status in the RFC's words.
func (s LoginStatus) String() string {
	switch s {
	case Success:
		return "success"
	case TargetMovedTemporarily:
		return "target moved temporarily"
	case TargetMovedPermanently:
		return "target moved permanently"
	case InitiatorError:
		return "initiator error"
	case AuthenticationFailure:
		return "authentication failure"
	case AuthorizationFailure:
		return "authorization failure"
	case TargetNotFound:
		return "target not found"
	case TargetRemoved:
		return "target removed"
	case UnsupportedVersion:
		return "unsupported version"
	case TooManyConnections:
		return "too many connections"
	case MissingParameter:
		return "missing parameter"
	case CannotIncludeInSession:
		return "can't include in session"
	case SessionTypeNotSupported:
		return "session type not supported"
	case SessionDoesNotExist:
		return "session does not exist"
	case InvalidDuringLogin:
		return "invalid during login"
	case TargetError:
		return "target error"
	case ServiceUnavailable:
		return "service unavailable"
	case OutOfResources:
		return "out of resources"
	}
	return fmt.Sprintf("login status %#04x", uint16(s))
}
