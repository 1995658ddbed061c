package login

import (
	"slices"

	"elstore/export/iscsi/pdu"
)

// checkHeader checks the request's header, and in all but the first that it goes on with the same login.
func (l *Login) checkHeader() *failure {
	r := &l.request
	switch {
	case r.VersionMin > pdu.Version:
		return fail(pdu.UnsupportedVersion, "the initiator speaks versions %#02x to %#02x, we %#02x", r.VersionMin, r.VersionMax, pdu.Version)
	case r.TotalAHSLength > 0:
		return fail(pdu.InitiatorError, "a Login Request has additional header segments")
	case r.Transit && r.Continue:
		return fail(pdu.InitiatorError, "a Login Request has T and C set")
	case r.CSG != pdu.SecurityNegotiation && r.CSG != pdu.OperationalNegotiation:
		return fail(pdu.InitiatorError, "a Login Request is in %v", r.CSG)
	case r.Transit && (r.NSG <= r.CSG || r.NSG != pdu.OperationalNegotiation && r.NSG != pdu.FullFeaturePhase):
		return fail(pdu.InitiatorError, "a Login Request asks to go from %v to %v", r.CSG, r.NSG)
	}
	if !l.begun {
		l.begun, l.first, l.stage = true, *r, r.CSG
		l.result.CmdSN = r.CmdSN
		return nil
	}
	switch f := &l.first; {
	case r.CSG != l.stage:
		return fail(pdu.InitiatorError, "a Login Request is in %v, and the login in %v", r.CSG, l.stage)
	case r.ISID != f.ISID, r.TSIH != f.TSIH, r.CID != f.CID, r.InitiatorTaskTag != f.InitiatorTaskTag:
		return fail(pdu.InitiatorError, "ISID, TSIH, CID or Initiator Task Tag changed during the login")
	case r.VersionMin != f.VersionMin, r.VersionMax != f.VersionMax:
		return fail(pdu.InitiatorError, "the versions changed during the login")
	}
	return nil
}

// isIdentity reports whether key says who the peer is: it is declared in the first request; section 6.3.1.
func isIdentity(key string) bool {
	switch key {
	case keyInitiatorName, keyInitiatorAlias, keyTargetName, keySessionType:
		return true
	}
	return false
}

// checkRepeated refuses a key that came before: section 6.3 has a target detect that and end the login. One
// repetition is passed over and left out: libiscsi, when CHAP was offered and None chosen, says once more in
// the operational stage who it is. What it says must be the same.
func (l *Login) checkRepeated(pairs []pdu.Pair) (fresh []pdu.Pair, f *failure) {
	for _, p := range pairs {
		stage, again := l.seen[p.Key]
		switch {
		case !again:
			l.seen[p.Key] = l.stage
			fresh = append(fresh, p)
		case !isIdentity(p.Key) || stage == l.stage:
			return nil, fail(pdu.InitiatorError, "the key %s came twice", p.Key)
		case !l.isSaid(p):
			return nil, fail(pdu.InitiatorError, "the key %s came again with another value", p.Key)
		}
	}
	return fresh, nil
}

// isSaid reports whether an identity key has the value that it had.
func (l *Login) isSaid(p pdu.Pair) bool {
	peer := &l.result.Peer
	switch p.Key {
	case keyInitiatorName:
		name, _ := pdu.ParseName(p.Value)
		return name == peer.InitiatorName
	case keyInitiatorAlias:
		return p.Value == peer.InitiatorAlias
	case keyTargetName:
		name, _ := pdu.ParseName(p.Value)
		return name == peer.TargetName || peer.Discovery
	case keySessionType:
		return (p.Value == sessionDiscovery) == peer.Discovery
	}
	return false
}

// The values of SessionType; section 13.21.
const (
	sessionNormal    = "Normal"
	sessionDiscovery = "Discovery"
)

// find returns the value of the pair with that key.
func find(pairs []pdu.Pair, key string) (value string, found bool) {
	i := slices.IndexFunc(pairs, func(p pdu.Pair) bool { return p.Key == key })
	if i < 0 {
		return "", false
	}
	return pairs[i].Value, true
}

// identify takes out of the first text who the peer is and where it wants to, and hears what is asked of it
// there.
func (l *Login) identify(pairs []pdu.Pair) *failure {
	peer := Peer{ISID: l.first.ISID, TSIH: l.first.TSIH, CID: l.first.CID}
	peer.InitiatorAlias, _ = find(pairs, keyInitiatorAlias)
	name, found := find(pairs, keyInitiatorName)
	if !found {
		return fail(pdu.MissingParameter, "the first request has no InitiatorName")
	}
	var err error
	if peer.InitiatorName, err = pdu.ParseName(name); err != nil {
		return fail(pdu.InitiatorError, "InitiatorName %q: %w", name, err)
	}
	switch kind, found := find(pairs, keySessionType); {
	case kind == sessionDiscovery:
		peer.Discovery = true
	case found && kind != sessionNormal:
		return fail(pdu.SessionTypeNotSupported, "SessionType is %q", kind)
	default:
		name, found := find(pairs, keyTargetName)
		if !found {
			return fail(pdu.MissingParameter, "the first request has no TargetName")
		}
		if peer.TargetName, err = pdu.ParseName(name); err != nil {
			return fail(pdu.TargetNotFound, "TargetName %q: %w", name, err)
		}
	}
	l.result.Peer = peer
	var status pdu.LoginStatus
	l.target, status = l.config.Authority.Target(peer)
	if isRedirection(status) && l.target.Address == "" {
		return fail(pdu.TargetError, "target %q has moved, and where to was not said", peer.TargetName)
	}
	if status != pdu.Success {
		return fail(status, "that is what was decided of target %q for %q", peer.TargetName, peer.InitiatorName)
	}
	if l.stage != pdu.SecurityNegotiation {
		if l.target.Security.required() {
			return fail(pdu.AuthenticationFailure, "the initiator began without SecurityNegotiation, and CHAP is required")
		}
		if f := l.authenticated(); f != nil {
			return f
		}
	}
	l.introduce()
	return nil
}

// isRedirection reports whether the response is to have a TargetAddress.
func isRedirection(s pdu.LoginStatus) bool {
	return s.Class() == pdu.TargetMovedTemporarily.Class()
}

// introduce says who we are, in the first response; section 13.9.
func (l *Login) introduce() {
	if l.result.Peer.Discovery {
		return
	}
	if l.target.Alias != "" {
		l.say(keyTargetAlias, l.target.Alias)
	}
	l.say(keyPortalGroupTag, itoa(int(l.target.PortalGroupTag)))
}

// authenticated is called when it is settled who the peer is, or that this is not asked. Only now it hears of
// sessions: whoever could name them before could find out about those of others.
func (l *Login) authenticated() *failure {
	l.auth = authDone
	switch {
	case l.first.TSIH == 0:
		return nil
	case l.config.Authority.HasSession(l.result.Peer):
		return fail(pdu.TooManyConnections, "session %d has its one connection", l.first.TSIH)
	}
	return fail(pdu.SessionDoesNotExist, "there is no session %d of this initiator", l.first.TSIH)
}
