package login

import (
	"strconv"

	"elstore/export/iscsi/pdu"
)

// The keys that need more than a table; section 13.
const (
	keyInitiatorName  = "InitiatorName"
	keyInitiatorAlias = "InitiatorAlias"
	keyTargetName     = "TargetName"
	keyTargetAlias    = "TargetAlias"
	keyTargetAddress  = "TargetAddress"
	keyPortalGroupTag = "TargetPortalGroupTag"
	keySessionType    = "SessionType"
	keySendTargets    = "SendTargets"
	keyHeaderDigest   = "HeaderDigest"
	keyDataDigest     = "DataDigest"
	keyMaxRecvLength  = "MaxRecvDataSegmentLength"
	keyFirstBurst     = "FirstBurstLength"
	keyTaskReporting  = "TaskReporting"

	digestCRC32C  = "CRC32C"
	digestNone    = "None"
	reportRFC3720 = "RFC3720"
)

// number is a key whose result is the lesser or the greater of both sides' numbers.
type number struct {
	low, high  int // what may be offered
	greater    bool
	normalOnly bool // irrelevant where SessionType is Discovery
	ours       func(*Config) int
	field      func(*Params) *int
}

// numbers are those keys. DefaultTime2Wait and DefaultTime2Retain are 0 by us: at ErrorRecoveryLevel 0 nothing
// is kept for a connection that comes back, and the sooner it does the better.
var numbers = map[string]number{
	"MaxConnections":     {1, 65535, false, true, is(1), func(p *Params) *int { return &p.MaxConnections }},
	"MaxBurstLength":     {minSegment, pdu.MaxDataSegmentLength, false, true, func(c *Config) int { return c.MaxBurstLength }, func(p *Params) *int { return &p.MaxBurstLength }},
	keyFirstBurst:        {minSegment, pdu.MaxDataSegmentLength, false, true, func(c *Config) int { return c.FirstBurstLength }, func(p *Params) *int { return &p.FirstBurstLength }},
	"DefaultTime2Wait":   {0, 3600, true, false, is(0), func(p *Params) *int { return &p.DefaultTime2Wait }},
	"DefaultTime2Retain": {0, 3600, false, false, is(0), func(p *Params) *int { return &p.DefaultTime2Retain }},
	"MaxOutstandingR2T":  {1, 65535, false, true, func(c *Config) int { return c.MaxOutstandingR2T }, func(p *Params) *int { return &p.MaxOutstandingR2T }},
	"ErrorRecoveryLevel": {0, 2, false, false, is(0), func(p *Params) *int { return &p.ErrorRecoveryLevel }},
	"iSCSIProtocolLevel": {0, 31, false, true, func(c *Config) int { return c.ProtocolLevel }, func(p *Params) *int { return &p.ProtocolLevel }},
}

func is(n int) func(*Config) int { return func(*Config) int { return n } }

// boolean is a key whose result is both sides' values, joined by OR or AND.
type boolean struct {
	or    bool
	ours  func(*Config) bool
	field func(*Params) *bool
}

// booleans are those keys, all of them irrelevant where SessionType is Discovery.
var booleans = map[string]boolean{
	"InitialR2T":          {true, func(c *Config) bool { return c.InitialR2T }, func(p *Params) *bool { return &p.InitialR2T }},
	"ImmediateData":       {false, yes, func(p *Params) *bool { return &p.ImmediateData }},
	"DataPDUInOrder":      {true, yes, func(p *Params) *bool { return &p.DataPDUInOrder }},
	"DataSequenceInOrder": {true, yes, func(p *Params) *bool { return &p.DataSequenceInOrder }},
}

func yes(*Config) bool { return true }

// obsolete are the marker keys of RFC 3720: section 13.25 has the answers, and that NotUnderstood is none.
var obsolete = map[string]string{
	"IFMarker": "No", "OFMarker": "No", "IFMarkInt": pdu.Rejected, "OFMarkInt": pdu.Rejected,
}

// isOperational reports whether key belongs into LoginOperationalNegotiation.
func isOperational(key string) bool {
	switch key {
	case keyHeaderDigest, keyDataDigest, keyMaxRecvLength, keyTaskReporting:
		return true
	}
	_, isNumber := numbers[key]
	_, isBoolean := booleans[key]
	_, isObsolete := obsolete[key]
	return isNumber || isBoolean || isObsolete
}

// negotiate applies an operational key that the initiator offered to p, and returns the answer: the result, or
// Reject where the value is not one that the key can have, or Irrelevant. What was there stays then; section
// 6.2.2. It is not for MaxRecvDataSegmentLength.
func negotiate(c *Config, p *Params, discovery bool, key, value string) (answer string) {
	if n, found := numbers[key]; found {
		if n.normalOnly && discovery {
			return pdu.Irrelevant
		}
		theirs, ok := pdu.ParseNumber(value)
		if !ok || theirs < uint64(n.low) || theirs > uint64(n.high) {
			return pdu.Rejected
		}
		result := min(int(theirs), n.ours(c))
		if n.greater {
			result = max(int(theirs), n.ours(c))
		}
		*n.field(p) = result
		return strconv.Itoa(result)
	}
	if b, found := booleans[key]; found {
		theirs, ok := pdu.ParseBool(value)
		switch {
		case discovery:
			return pdu.Irrelevant
		case !ok:
			return pdu.Rejected
		}
		result := theirs && b.ours(c)
		if b.or {
			result = theirs || b.ours(c)
		}
		*b.field(p) = result
		return pdu.FormatBool(result)
	}
	switch key {
	case keyHeaderDigest:
		return chooseDigest(c, &p.HeaderDigest, value)
	case keyDataDigest:
		return chooseDigest(c, &p.DataDigest, value)
	case keyTaskReporting:
		if discovery {
			return pdu.Irrelevant
		}
		if chosen, ok := pdu.Choose(value, reportRFC3720); ok {
			return chosen
		}
		return pdu.Rejected
	}
	return obsolete[key]
}

func chooseDigest(c *Config, field *bool, value string) (answer string) {
	supported := []string{digestCRC32C, digestNone}
	if c.NoDigests {
		supported = supported[1:]
	}
	chosen, ok := pdu.Choose(value, supported...)
	if !ok {
		return pdu.Rejected
	}
	*field = chosen == digestCRC32C
	return chosen
}

// settleBursts lowers FirstBurstLength to MaxBurstLength (section 13.14), also in the answers, as both may have
// come in any order.
func settleBursts(p *Params, answers []pdu.Pair) {
	if p.FirstBurstLength <= p.MaxBurstLength {
		return
	}
	p.FirstBurstLength = p.MaxBurstLength
	for i := range answers {
		if answers[i].Key == keyFirstBurst && answers[i].Value != pdu.Rejected {
			answers[i].Value = strconv.Itoa(p.FirstBurstLength)
		}
	}
}

// parseSegmentLength reads a MaxRecvDataSegmentLength that the initiator declares.
func parseSegmentLength(value string) (n int, ok bool) {
	theirs, ok := pdu.ParseNumber(value)
	return int(theirs), ok && theirs >= minSegment && theirs <= pdu.MaxDataSegmentLength
}
