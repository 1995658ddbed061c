package login

import (
	"strconv"

	"elstore/export/iscsi/pdu"
)

func itoa(n int) string { return strconv.Itoa(n) }

// operational works on a request in LoginOperationalNegotiation; section 6.3.3.
func (l *Login) operational(pairs []pdu.Pair) *failure {
	p := &l.result.Params
	var answers []pdu.Pair
	for _, pair := range pairs {
		switch {
		case isSecurity(pair.Key):
			return fail(pdu.InitiatorError, "the key %s came in %v", pair.Key, l.stage)
		case isAnswer(pair.Value) && !isIdentity(pair.Key):
		case pair.Key == keyMaxRecvLength:
			n, ok := parseSegmentLength(pair.Value)
			if !ok { // a declaration has no answer; section 7.12
				return fail(pdu.InitiatorError, "%s is %q", pair.Key, pair.Value)
			}
			p.MaxRecvDataSegmentLength = n
		case isOperational(pair.Key):
			answers = append(answers, pdu.Pair{Key: pair.Key, Value: negotiate(l.config, p, l.result.Peer.Discovery, pair.Key, pair.Value)})
		default:
			l.answerOther(pair)
		}
	}
	settleBursts(p, answers)
	for _, a := range answers {
		l.say(a.Key, a.Value)
	}
	if !l.declared {
		l.declared = true
		p.TargetMaxRecvDataSegmentLength = l.config.MaxRecvDataSegmentLength
		l.say(keyMaxRecvLength, itoa(p.TargetMaxRecvDataSegmentLength))
	}
	return nil
}

// isSecurity reports whether key belongs into SecurityNegotiation.
func isSecurity(key string) bool {
	switch key {
	case keyAuthMethod, keyAlgorithm, keyIdentifier, keyChallenge, keyName, keyResponse:
		return true
	}
	return false
}
