package login

import "elstore/export/iscsi/pdu"

// auth is how far authentication has come.
type auth uint8

const (
	authUndecided  auth = iota // no AuthMethod was offered
	authProposed               // the initiator offered none, and we CHAP; section 6.3.2
	authChosen                 // CHAP it is, CHAP_A is due
	authChallenged             // CHAP_N and CHAP_R are due
	authDone
)

// security works on a request in SecurityNegotiation. Keys of the other stage are rejected there: chapter 12
// says that they must not be used.
func (l *Login) security(pairs []pdu.Pair) *failure {
	chap := map[string]string{}
	for _, p := range pairs {
		switch p.Key {
		case keyAuthMethod:
			if f := l.chooseMethod(p.Value); f != nil {
				return f
			}
		case keyAlgorithm, keyIdentifier, keyChallenge, keyName, keyResponse:
			chap[p.Key] = p.Value
		default:
			l.answerOther(p)
		}
	}
	_, offered := find(pairs, keyAuthMethod)
	if !offered && len(chap) == 0 {
		return l.withoutMethod()
	}
	return l.chap(chap, offered)
}

// chooseMethod answers an offer of AuthMethod, or takes the answer to ours.
func (l *Login) chooseMethod(offer string) *failure {
	if l.auth != authUndecided && l.auth != authProposed {
		return fail(pdu.InitiatorError, "AuthMethod came when it was settled")
	}
	method, ok := pdu.Choose(offer, l.target.Security.methods()...)
	if !ok {
		return fail(pdu.AuthenticationFailure, "of AuthMethod %q none is right: %v", offer, l.target.Security.methods())
	}
	if l.auth == authUndecided {
		l.say(keyAuthMethod, method)
	}
	if method == methodCHAP {
		l.auth = authChosen
		return nil
	}
	return l.authenticated()
}

// withoutMethod is for a request without any key of authentication.
func (l *Login) withoutMethod() *failure {
	switch l.auth {
	case authUndecided:
		if l.target.Security.required() {
			l.say(keyAuthMethod, methodCHAP)
			l.auth = authProposed
		} else if l.request.Transit { // and so it stays with None, the default
			return l.authenticated()
		}
	case authDone:
	default:
		return fail(pdu.AuthenticationFailure, "the initiator did not go on with AuthMethod and CHAP")
	}
	return nil
}

// chap takes the step of CHAP that is due. offered says that AuthMethod came in the same request: CHAP_A may
// come with it, or with the next.
func (l *Login) chap(keys map[string]string, offered bool) *failure {
	if len(keys) == 0 {
		return nil
	}
	switch l.auth {
	case authChosen:
		return l.challenge(keys)
	case authChallenged:
		return l.verify(keys)
	case authUndecided, authProposed, authDone:
	}
	if offered {
		return fail(pdu.AuthenticationFailure, "CHAP began, and AuthMethod None was chosen")
	}
	return fail(pdu.AuthenticationFailure, "CHAP keys came out of turn")
}

// challenge answers CHAP_A.
func (l *Login) challenge(keys map[string]string) *failure {
	offer, found := keys[keyAlgorithm]
	if !found || len(keys) > 1 {
		return fail(pdu.AuthenticationFailure, "CHAP is to begin with CHAP_A alone")
	}
	a, ok := chooseAlgorithm(offer, l.config.NoMD5)
	if !ok {
		return fail(pdu.AuthenticationFailure, "of CHAP_A %q none is known or allowed", offer)
	}
	var err error
	if l.exchange, err = newExchange(a, l.config.Rand); err != nil {
		return fail(pdu.TargetError, "no challenge can be made: %w", err)
	}
	for _, p := range l.exchange.ask() {
		l.say(p.Key, p.Value)
	}
	l.auth = authChallenged
	return nil
}

// verify takes the answer to the challenge.
func (l *Login) verify(keys map[string]string) *failure {
	a, err := l.exchange.parse(keys)
	if err != nil {
		return &failure{pdu.AuthenticationFailure, err}
	}
	credential, known := l.config.Authority.Credential(l.result.Peer, a.name)
	proof, err := l.exchange.verify(a, credential, known)
	if err != nil {
		return fail(pdu.AuthenticationFailure, "CHAP name %q: %w", a.name, err)
	}
	l.result.Attachment, l.result.CHAPName = credential.Attachment, a.name
	if f := l.authenticated(); f != nil {
		return f
	}
	for _, p := range proof {
		l.say(p.Key, p.Value)
	}
	return nil
}

// answerOther answers a key that the stage does not work on.
func (l *Login) answerOther(p pdu.Pair) {
	switch {
	case isIdentity(p.Key), isAnswer(p.Value):
	case isOperational(p.Key):
		delete(l.seen, p.Key) // in its own stage it is not there for the second time
		l.say(p.Key, pdu.Rejected)
	case p.Key == keySendTargets, isTargets(p.Key):
		l.say(p.Key, pdu.Rejected)
	default:
		l.say(p.Key, pdu.NotUnderstood)
	}
}

// isAnswer reports whether a value can only be an answer: to answer it again would never end.
func isAnswer(value string) bool {
	return value == pdu.Rejected || value == pdu.Irrelevant || value == pdu.NotUnderstood
}

// isTargets reports whether only targets declare the key.
func isTargets(key string) bool {
	return key == keyTargetAlias || key == keyTargetAddress || key == keyPortalGroupTag
}
