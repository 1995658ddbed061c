package login

import (
	"errors"
	"fmt"

	"elstore/export/iscsi/pdu"
)

// Outcome is what to do next.
type Outcome uint8

// The outcomes.
const (
	Continue Outcome = iota // send the response, and Step with the next request
	Admit                   // send nothing; decide, and call Login.Admit or Login.Refuse
	Done                    // send the response; the full feature phase begins after it
	Failed                  // send the response, and close the connection
	Drop                    // send nothing, and close the connection
)

// Reply is what a Login says to a request.
type Reply struct {
	Outcome  Outcome
	Response pdu.LoginResponse // but for Admit and Drop; its DataSegmentLength is that of Text
	Text     []byte            // of the response; valid until the next call
	Err      error             // why the login failed: for the log, nothing of it is in the response
}

// Result is what a login came to.
type Result struct {
	Peer       Peer
	Attachment any    // the Credential's; nil where AuthMethod is None
	CHAPName   string // that the initiator proved to be; "" where AuthMethod is None
	Params     Params
	CmdSN      pdu.SN // the first of the session's commands
	StatSN     pdu.SN // of the next response
	MaxCmdSN   pdu.SN // as the last response of the login had it
}

// Login is the login phase of one connection. It is for one goroutine at a time.
type Login struct {
	config *Config

	first   pdu.Login // the first request: what must not change is as it was there
	begun   bool
	stage   pdu.Stage
	request pdu.Login // the one in work
	rounds  int
	ended   bool
	waiting bool // for Admit or Refuse

	in   []byte               // the text so far, of a request that C goes on with
	out  []byte               // of the response, and what did not fit into the last one
	keys int                  // how many pairs came
	seen map[string]pdu.Stage // in which stage a key came

	target   Target
	auth     auth
	exchange *exchange
	declared bool // our MaxRecvDataSegmentLength was sent

	result Result
}

// New returns the state of a connection that was just accepted. The Config is one that Check returned.
func New(c *Config) *Login {
	return &Login{config: c, seen: map[string]pdu.Stage{}, result: Result{Params: rfcParams(), StatSN: 1}}
}

// Result is what the login has come to. It is final when Step returned Admit, but for StatSN and MaxCmdSN,
// which are final at Done. After Failed it has neither Attachment nor CHAPName.
func (l *Login) Result() Result { return l.result }

// failure ends a login with a status.
type failure struct {
	status pdu.LoginStatus
	err    error
}

var errNotWaiting = errors.New("there is no login to be admitted or refused")

// fail makes a failure with a sentence about it.
func fail(status pdu.LoginStatus, format string, args ...any) *failure {
	return &failure{status, fmt.Errorf(format, args...)}
}

// Step takes a PDU, its header and its data segment, and says what to do. After Done, Failed and Drop every
// further one is dropped.
func (l *Login) Step(h *pdu.BHS, text []byte) Reply {
	if l.ended || l.waiting {
		return Reply{Outcome: Drop, Err: fmt.Errorf("a %v came when the login had ended", h.Opcode())}
	}
	if h.Opcode() != pdu.OpLogin {
		if !l.begun { // section 6.3.1: no answer
			l.ended = true
			return Reply{Outcome: Drop, Err: fmt.Errorf("a %v came before any Login Request", h.Opcode())}
		}
		l.request.InitiatorTaskTag = h.InitiatorTaskTag()
		return l.failed(fail(pdu.InvalidDuringLogin, "a %v came during the login phase", h.Opcode()))
	}
	l.request.Decode(h)
	reply, f := l.take(text)
	if f != nil {
		return l.failed(f)
	}
	return reply
}

// take is Step for a Login Request that was decoded.
func (l *Login) take(text []byte) (Reply, *failure) {
	if f := l.checkHeader(); f != nil {
		return Reply{}, f
	}
	if l.rounds++; l.rounds > l.config.MaxRounds {
		return Reply{}, fail(pdu.InitiatorError, "the login took more than %d requests", l.config.MaxRounds)
	}
	if len(l.out) > 0 { // section 6.2: the requests are empty until all was sent
		if len(text) > 0 || l.request.Continue {
			return Reply{}, fail(pdu.InitiatorError, "text came before the response was sent to its end")
		}
		return l.proceed(l.ready()), nil
	}
	if len(l.in)+len(text) > l.config.MaxText {
		return Reply{}, fail(pdu.InitiatorError, "the text of a request is over %d bytes", l.config.MaxText)
	}
	l.in = append(l.in, text...)
	if l.request.Continue {
		return l.respond(Continue, nil), nil // section 11.12.2: without data
	}
	pairs, err := pdu.ParseText(l.in, l.config.MaxKeys-l.keys)
	l.in = l.in[:0]
	if err != nil {
		return Reply{}, &failure{pdu.InitiatorError, err}
	}
	if f := l.process(pairs); f != nil {
		return Reply{}, f
	}
	return l.proceed(l.ready()), nil
}

// process works on the pairs of a whole text.
func (l *Login) process(pairs []pdu.Pair) *failure {
	l.keys += len(pairs)
	pairs, f := l.checkRepeated(pairs)
	if f == nil && l.result.Peer.InitiatorName == "" {
		f = l.identify(pairs)
	}
	switch {
	case f != nil:
		return f
	case l.stage == pdu.SecurityNegotiation:
		return l.security(pairs)
	}
	return l.operational(pairs)
}

// ready reports whether the stage has come to its end for us.
func (l *Login) ready() bool {
	return l.stage != pdu.SecurityNegotiation || l.auth == authDone
}

// proceed answers a request: with as much text as fits, and on to the next stage if both sides are ready.
func (l *Login) proceed(ready bool) Reply {
	if len(l.out) > rfcMaxRecvDataSegmentLength {
		rest := l.out[rfcMaxRecvDataSegmentLength:]
		reply := l.respond(Continue, l.out[:rfcMaxRecvDataSegmentLength:rfcMaxRecvDataSegmentLength])
		reply.Response.Continue = true
		l.out = append([]byte(nil), rest...)
		return reply
	}
	if !ready || !l.request.Transit {
		return l.flush(Continue)
	}
	if l.request.NSG == pdu.FullFeaturePhase {
		l.waiting = true
		return Reply{Outcome: Admit}
	}
	reply := l.flush(Continue)
	reply.Response.Transit, reply.Response.NSG = true, l.request.NSG
	l.stage = l.request.NSG
	return reply
}

// Admit ends a login that Step left to be decided: the session is tsih, which is not 0, and the full feature
// phase begins after the response.
func (l *Login) Admit(tsih uint16) Reply {
	if !l.waiting {
		return Reply{Outcome: Drop, Err: errNotWaiting}
	}
	l.waiting, l.ended = false, true
	reply := l.flush(Done)
	reply.Response.Transit, reply.Response.NSG = true, pdu.FullFeaturePhase
	reply.Response.TSIH = tsih
	l.result.MaxCmdSN = reply.Response.MaxCmdSN
	return reply
}

// Refuse ends a login that Step left to be decided, with a status that is not Success, and why for the log.
func (l *Login) Refuse(status pdu.LoginStatus, why error) Reply {
	if !l.waiting {
		return Reply{Outcome: Drop, Err: errNotWaiting}
	}
	l.waiting = false
	return l.failed(&failure{status, why})
}

// flush responds with all the text that there is.
func (l *Login) flush(o Outcome) Reply {
	reply := l.respond(o, l.out)
	l.out = l.out[:0]
	return reply
}

// respond makes the response to the request in work.
func (l *Login) respond(o Outcome, text []byte) Reply {
	r := pdu.LoginResponse{
		CSG:               l.request.CSG,
		VersionMax:        pdu.Version,
		VersionActive:     pdu.Version,
		DataSegmentLength: len(text),
		ISID:              l.request.ISID,
		TSIH:              l.request.TSIH,
		InitiatorTaskTag:  l.request.InitiatorTaskTag,
	}
	r.StatSN, r.ExpCmdSN = l.result.StatSN, l.result.CmdSN
	r.MaxCmdSN = r.ExpCmdSN + pdu.SN(l.config.CommandWindow) - 1
	l.result.StatSN++
	return Reply{Outcome: o, Response: r, Text: text}
}

// failed ends the login. Whoever it was has nothing of it.
func (l *Login) failed(f *failure) Reply {
	l.ended = true
	l.result.Attachment, l.result.CHAPName = nil, ""
	var text []byte
	if isRedirection(f.status) {
		text = pdu.AppendPair(nil, keyTargetAddress, l.target.Address)
	}
	reply := l.respond(Failed, text)
	reply.Response.Status = f.status
	reply.Err = fmt.Errorf("%v: %w", f.status, f.err)
	return reply
}

// say adds a pair to the response.
func (l *Login) say(key, value string) { l.out = pdu.AppendPair(l.out, key, value) }
