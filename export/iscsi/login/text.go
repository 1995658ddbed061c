package login

import (
	"errors"

	"elstore/export/iscsi/pdu"
)

// Text is the text negotiation of a session in the full feature phase; section 6.4. It is for one goroutine at
// a time.
type Text struct {
	config *Config
	result *Result
	lister Lister

	active bool   // a request is to come that bears tag
	itt    uint32 // of the negotiation
	tag    uint32 // the Target Transfer Tag of the last response
	rounds int
	in     []byte // the text so far, of a request that C goes on with
	out    []byte // what did not fit into the last response
	keys   int
	seen   map[string]bool
	length int // the MaxRecvDataSegmentLength that counts once the negotiation is over; 0 for no change
}

// TextReply is what Text says to a request.
type TextReply struct {
	// Reject is not 0 where the request is to be rejected, and nothing that was negotiated with it counts;
	// section 7.12. Err says why then, for the log.
	Reject pdu.Reason
	Err    error

	Response pdu.TextResponse // without its TargetSN
	Text     []byte           // of the response; valid until the next call

	// Changed says that Result.Params.MaxRecvDataSegmentLength has changed; it counts for what follows the response.
	Changed bool
}

// NewText returns the state of a session that has r, which Step changes as it is negotiated.
func NewText(c *Config, r *Result, l Lister) *Text {
	return &Text{config: c, result: r, lister: l}
}

// What is wrong with a Text Request.
var (
	errTextTag    = errors.New("the tags of a Text Request are not those of the negotiation")
	errTextRounds = errors.New("a text negotiation takes too many requests")
	errTextLength = errors.New("the text of a request is too long")
	errTextEarly  = errors.New("text came before the response was sent to its end")
	errTextTwice  = errors.New("a key came twice in one negotiation")
	errTextValue  = errors.New("MaxRecvDataSegmentLength is not 512 to 16777215")
)

// Step takes a Text Request, which pdu.Rules.Check has passed, and its data segment.
func (t *Text) Step(h *pdu.BHS, text []byte) TextReply {
	var req pdu.Text
	req.Decode(h)
	reply, err := t.take(&req, text)
	if err != nil {
		t.reset()
		return TextReply{Reject: pdu.ReasonProtocolError, Err: err}
	}
	return reply
}

func (t *Text) take(req *pdu.Text, text []byte) (TextReply, error) {
	switch {
	case req.TargetTransferTag == pdu.ReservedTag: // it begins anew; section 11.10.4
		t.reset()
		t.itt, t.seen = req.InitiatorTaskTag, map[string]bool{}
	case !t.active || req.TargetTransferTag != t.tag || req.InitiatorTaskTag != t.itt:
		return TextReply{}, errTextTag
	}
	t.active = true
	if t.rounds++; t.rounds > t.config.MaxRounds && len(t.out) == 0 {
		return TextReply{}, errTextRounds
	}
	if len(t.in)+len(text) > t.config.MaxText {
		return TextReply{}, errTextLength
	}
	if len(t.out) > 0 && (len(text) > 0 || req.Continue) {
		return TextReply{}, errTextEarly
	}
	t.in = append(t.in, text...)
	if req.Continue {
		return t.respond(req, nil, false), nil
	}
	pairs, err := pdu.ParseText(t.in, t.config.MaxKeys-t.keys)
	t.in = t.in[:0]
	if err != nil {
		return TextReply{}, err
	}
	t.keys += len(pairs)
	for _, p := range pairs {
		if err := t.key(p); err != nil {
			return TextReply{}, err
		}
	}
	return t.proceed(req), nil
}

// key answers one key.
func (t *Text) key(p pdu.Pair) error {
	if t.seen[p.Key] {
		return errTextTwice
	}
	t.seen[p.Key] = true
	switch {
	case p.Key == keySendTargets:
		t.out = sendTargets(t.out, t.lister, t.result, p.Value)
	case p.Key == keyMaxRecvLength:
		n, ok := parseSegmentLength(p.Value)
		if !ok {
			return errTextValue
		}
		t.length = n
	case p.Key == keyInitiatorAlias, isAnswer(p.Value):
	case isOperational(p.Key), isSecurity(p.Key), isIdentity(p.Key), isTargets(p.Key): // of the login phase alone
		t.out = pdu.AppendPair(t.out, p.Key, pdu.Rejected)
	default:
		t.out = pdu.AppendPair(t.out, p.Key, pdu.NotUnderstood)
	}
	return nil
}

// proceed answers a whole request, with as much as the initiator takes at once.
func (t *Text) proceed(req *pdu.Text) TextReply {
	if limit := t.result.Params.MaxRecvDataSegmentLength; len(t.out) > limit {
		text := t.out[:limit:limit]
		t.out = t.out[limit:]
		reply := t.respond(req, text, false)
		reply.Response.Continue = true
		return reply
	}
	text := t.out
	t.out = nil
	reply := t.respond(req, text, req.Final)
	if req.Final {
		if t.length > 0 {
			reply.Changed = t.length != t.result.Params.MaxRecvDataSegmentLength
			t.result.Params.MaxRecvDataSegmentLength = t.length
		}
		t.reset()
	}
	return reply
}

func (t *Text) respond(req *pdu.Text, text []byte, final bool) TextReply {
	r := pdu.TextResponse{
		Final:             final,
		DataSegmentLength: len(text),
		LUN:               req.LUN,
		InitiatorTaskTag:  req.InitiatorTaskTag,
		TargetTransferTag: pdu.ReservedTag,
	}
	if !final {
		if t.tag++; t.tag == pdu.ReservedTag {
			t.tag = 0
		}
		r.TargetTransferTag = t.tag
	}
	return TextReply{Response: r, Text: text}
}

// reset forgets the negotiation.
func (t *Text) reset() {
	t.active, t.rounds, t.keys, t.length = false, 0, 0, 0
	t.in, t.out, t.seen = nil, nil, nil
}
