package login

import "elstore/export/iscsi/pdu"

// Peer is who logs in, and to what, as it says itself: nothing of this is proved.
type Peer struct {
	InitiatorName  pdu.Name
	InitiatorAlias string   // at most 255 bytes, any; "" if there is none
	Discovery      bool     // SessionType is Discovery; section 13.21
	TargetName     pdu.Name // "" where Discovery
	ISID           pdu.ISID
	TSIH           uint16 // 0 asks for a new session
	CID            uint16
}

// Security says what a target asks of who logs in.
type Security uint8

// What is asked. The zero value is the strictest.
const (
	CHAPRequired Security = iota
	CHAPOptional          // the first of the initiator's AuthMethods decides
	NoSecurity            // CHAP is not offered
)

// required reports whether nobody gets in without CHAP: with a value that is none of the above, too.
func (s Security) required() bool { return s != CHAPOptional && s != NoSecurity }

// methods are the AuthMethods that may be chosen.
func (s Security) methods() []string {
	switch s {
	case CHAPOptional:
		return []string{methodCHAP, methodNone}
	case NoSecurity:
		return []string{methodNone}
	case CHAPRequired:
	}
	return []string{methodCHAP}
}

// Target is how a target, or discovery, meets a peer.
type Target struct {
	Security       Security
	Alias          string // TargetAlias, at most 255 bytes; "" sends none; section 13.6
	PortalGroupTag uint16 // of the portal that the connection came to; section 13.9
	Address        string // TargetAddress of a redirection: host:port, with or without ,tag; section 13.8
}

// Credential is what proves that a peer is who its CHAP name says, and the target what it is.
type Credential struct {
	Attachment any    // of the Authority's own, for Result
	Secret     Secret // the initiator's
	// MutualName and MutualSecret are the target's own, for initiators that want a proof. No secret: they are
	// refused. One equal to Secret: they are refused too, for such a proof could be had from the initiator.
	MutualName   string // at most 255 bytes
	MutualSecret Secret
}

// Authority knows targets, secrets and sessions. Its methods are called from Login.Step, at most once per
// login each.
type Authority interface {
	// Target says how the target that p names, or discovery, meets p. A status other than Success ends the login
	// with it; a redirection needs Target.Address.
	Target(p Peer) (Target, pdu.LoginStatus)

	// Credential finds what bears the CHAP name at p's target, or at discovery. That there is none is not told to
	// the peer in any other way than a wrong secret, but for the time that Credential itself takes.
	Credential(p Peer, name string) (c Credential, ok bool)

	// HasSession reports whether p.TSIH, not 0, is a session of p's InitiatorName and ISID with p's target.
	HasSession(p Peer) bool
}
