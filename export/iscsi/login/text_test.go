package login

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"elstore/export/iscsi/pdu"
)

// listed is a Lister of many targets.
type listed struct{ records []TargetRecord }

func (l *listed) ListTargets(_ *Result, name pdu.Name) []TargetRecord {
	if name == "" {
		return l.records
	}
	i := slices.IndexFunc(l.records, func(r TargetRecord) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return l.records[i : i+1]
}

func targets(n int) *listed {
	l := &listed{records: []TargetRecord{{Name: targetName, Addresses: []string{"192.0.2.1:3260,1", "[2001:db8::1]:3260,1"}}}}
	for i := range n - 1 {
		l.records = append(l.records, TargetRecord{Name: pdu.Name(fmt.Sprintf("iqn.2004-10.cloud.elemento:01:%032x", i)), Addresses: []string{"192.0.2.1:3260,1"}})
	}
	return l
}

// conversation plays the peer of a Text.
type conversation struct {
	t      testing.TB
	text   *Text
	result *Result
	tag    uint32
}

func converse(t testing.TB, discovery bool, l Lister) *conversation {
	t.Helper()
	c, err := Config{Authority: newKnown(NoSecurity)}.Check()
	if err != nil {
		t.Fatal(err)
	}
	r := &Result{Peer: Peer{InitiatorName: initiatorName, Discovery: discovery}, Params: rfcParams()}
	if !discovery {
		r.Peer.TargetName = targetName
	}
	return &conversation{t: t, text: NewText(c, r, l), result: r, tag: pdu.ReservedTag}
}

func (c *conversation) say(req pdu.Text, pairs ...string) TextReply {
	var text []byte
	for _, p := range pairs {
		text = append(append(text, p...), 0)
	}
	return c.sayText(req, text)
}

func (c *conversation) sayText(req pdu.Text, text []byte) TextReply {
	c.t.Helper()
	var h pdu.BHS
	req.DataSegmentLength = len(text)
	req.Encode(&h)
	r := c.text.Step(&h, text)
	if r.Reject == 0 {
		c.tag = r.Response.TargetTransferTag
		if r.Response.InitiatorTaskTag != req.InitiatorTaskTag || r.Response.DataSegmentLength != len(r.Text) || r.Err != nil {
			c.t.Errorf("the response is %+v: %v", r.Response, r.Err)
		}
		if r.Response.Final != (c.tag == pdu.ReservedTag) || r.Response.Final && r.Response.Continue {
			c.t.Errorf("the response has F %t, C %t and the tag %#x", r.Response.Final, r.Response.Continue, c.tag)
		}
	}
	return r
}

// anew and more are the requests that begin and go on.
func anew(final bool) pdu.Text {
	return pdu.Text{Final: final, InitiatorTaskTag: 3, TargetTransferTag: pdu.ReservedTag}
}

func (c *conversation) more(final bool) pdu.Text {
	return pdu.Text{Final: final, InitiatorTaskTag: 3, TargetTransferTag: c.tag}
}

func TestSendTargets(t *testing.T) {
	own := "TargetName=" + targetName + "\x00TargetAddress=192.0.2.1:3260,1\x00TargetAddress=[2001:db8::1]:3260,1\x00"
	other := "TargetName=iqn.2004-10.cloud.elemento:01:00000000000000000000000000000000\x00TargetAddress=192.0.2.1:3260,1\x00"
	rejected := "SendTargets=Reject\x00"
	tests := []struct {
		name      string
		discovery bool
		value     string
		want      string
	}{
		{"all, in discovery", true, "All", own + other},
		{"one, in discovery", true, targetName, own},
		{"one in capitals", true, strings.ToUpper(targetName), own},
		{"one that is not there", true, "iqn.2001-04.com.example", ""},
		{"nothing, in discovery", true, "", rejected},
		{"no name", true, "disk", rejected},
		{"all in small letters", true, "all", rejected},
		{"all, in a normal session", false, "All", rejected},
		{"nothing, in a normal session", false, "", own},
		{"its own, in a normal session", false, targetName, own},
		{"another, in a normal session", false, "iqn.2004-10.cloud.elemento:01:00000000000000000000000000000000", rejected},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := converse(t, tt.discovery, targets(2))
			r := c.say(anew(true), "SendTargets="+tt.value)
			if string(r.Text) != tt.want || !r.Response.Final || r.Reject != 0 || r.Changed {
				t.Errorf("answered with %q: %+v", r.Text, r)
			}
		})
	}
}

// TestSendTargetsOfMany has more targets than fit into one response.
func TestSendTargetsOfMany(t *testing.T) {
	l := targets(3000)
	c := converse(t, true, l)
	c.result.Params.MaxRecvDataSegmentLength = 4096
	want := string(AppendTargets(nil, l.records))
	var got strings.Builder
	r := c.say(anew(true), "SendTargets=All")
	for n := 0; ; n++ {
		if r.Reject != 0 {
			t.Fatalf("response %d: %v", n, r.Err)
		}
		if len(r.Text) > 4096 {
			t.Fatalf("response %d has %d bytes", n, len(r.Text))
		}
		got.Write(r.Text)
		if r.Response.Final {
			break
		}
		if !r.Response.Continue || len(r.Text) != 4096 {
			t.Fatalf("response %d is %+v", n, r.Response)
		}
		r = c.say(c.more(true))
	}
	if got.String() != want {
		t.Errorf("%d bytes came, want %d", got.Len(), len(want))
	}
}

func TestSegmentLengthChanges(t *testing.T) {
	c := converse(t, false, targets(1))
	r := c.say(anew(true), "MaxRecvDataSegmentLength=65536")
	if !r.Changed || !r.Response.Final || len(r.Text) > 0 || c.result.Params.MaxRecvDataSegmentLength != 65536 {
		t.Errorf("answered with %+v, it is %d", r, c.result.Params.MaxRecvDataSegmentLength)
	}
	if r = c.say(anew(true), "MaxRecvDataSegmentLength=65536"); r.Changed || r.Reject != 0 {
		t.Errorf("the same again is answered with %+v", r)
	}
	// What is not finished does not count.
	if r = c.say(anew(false), "MaxRecvDataSegmentLength=512"); r.Changed || r.Response.Final || c.result.Params.MaxRecvDataSegmentLength != 65536 {
		t.Errorf("in between it is %d: %+v", c.result.Params.MaxRecvDataSegmentLength, r)
	}
	if r = c.say(anew(true), "X-a=1"); r.Changed || c.result.Params.MaxRecvDataSegmentLength != 65536 {
		t.Errorf("after it was given up it is %d", c.result.Params.MaxRecvDataSegmentLength)
	}
	c.say(anew(false), "MaxRecvDataSegmentLength=512")
	if r = c.say(c.more(true)); !r.Changed || c.result.Params.MaxRecvDataSegmentLength != 512 {
		t.Errorf("at the end it is %d", c.result.Params.MaxRecvDataSegmentLength)
	}
}

func TestOtherKeysInText(t *testing.T) {
	c := converse(t, false, targets(1))
	before := c.result.Params
	r := c.say(anew(true), "X-a=1", "InitiatorAlias=new", "MaxBurstLength=512", "HeaderDigest=CRC32C", "AuthMethod=CHAP",
		"InitiatorName="+initiatorName, "TargetAddress=192.0.2.9", "X-b=NotUnderstood", "iSCSIProtocolLevel=2")
	want := "X-a=NotUnderstood\x00MaxBurstLength=Reject\x00HeaderDigest=Reject\x00AuthMethod=Reject\x00InitiatorName=Reject\x00TargetAddress=Reject\x00iSCSIProtocolLevel=Reject\x00"
	if string(r.Text) != want || c.result.Params != before {
		t.Errorf("answered with %q", r.Text)
	}
}

func TestTextContinues(t *testing.T) {
	c := converse(t, true, targets(2))
	whole := "SendTargets=" + targetName + "\x00X-a=1\x00"
	req := anew(false)
	req.Continue = true
	r := c.sayText(req, []byte(whole[:20]))
	if r.Reject != 0 || r.Response.Final || r.Response.Continue || len(r.Text) > 0 {
		t.Fatalf("answered with %+v", r)
	}
	r = c.sayText(c.more(true), []byte(whole[20:]))
	if !r.Response.Final || !strings.HasPrefix(string(r.Text), "TargetName="+targetName) || !strings.HasSuffix(string(r.Text), "X-a=NotUnderstood\x00") {
		t.Errorf("answered with %+v %q", r.Response, r.Text)
	}
}

func TestTextsThatFail(t *testing.T) {
	long := strings.Repeat("a", 8192)
	tests := []struct {
		name string
		play func(c *conversation) TextReply
		err  error
	}{
		{"a tag out of nowhere", func(c *conversation) TextReply { c.tag = 5; return c.say(c.more(true)) }, errTextTag},
		{"another tag", func(c *conversation) TextReply {
			c.say(anew(false))
			c.tag++
			return c.say(c.more(true))
		}, errTextTag},
		{"another task tag", func(c *conversation) TextReply {
			c.say(anew(false))
			req := c.more(true)
			req.InitiatorTaskTag++
			return c.say(req)
		}, errTextTag},
		{"the tag of a negotiation that is over", func(c *conversation) TextReply {
			c.say(anew(false))
			req := c.more(true)
			c.say(req)
			return c.say(req)
		}, errTextTag},
		{"a key twice", func(c *conversation) TextReply { return c.say(anew(true), "X-a=1", "X-a=1") }, errTextTwice},
		{"a key twice in two requests", func(c *conversation) TextReply {
			c.say(anew(false), "SendTargets=All")
			return c.say(c.more(true), "SendTargets=All")
		}, errTextTwice},
		{"a length too small", func(c *conversation) TextReply { return c.say(anew(true), "MaxRecvDataSegmentLength=511") }, errTextValue},
		{"a length too large", func(c *conversation) TextReply { return c.say(anew(true), "MaxRecvDataSegmentLength=16777216") }, errTextValue},
		{"no null byte", func(c *conversation) TextReply { return c.sayText(anew(true), []byte("SendTargets=All")) }, pdu.ErrTextEnd},
		{"too many keys", func(c *conversation) TextReply { return c.say(anew(true), many(129)...) }, pdu.ErrTooManyKeys},
		{"too much text", func(c *conversation) TextReply {
			req := anew(false)
			req.Continue = true
			c.sayText(req, []byte(long))
			for range 2 {
				req = c.more(false)
				req.Continue = true
				if r := c.sayText(req, []byte(long)); r.Reject != 0 {
					return r
				}
			}
			return TextReply{}
		}, errTextLength},
		{"too many requests", func(c *conversation) TextReply {
			r := c.say(anew(false))
			for n := 0; n < 100 && r.Reject == 0; n++ {
				r = c.say(c.more(false))
			}
			return r
		}, errTextRounds},
		{"text before ours was sent", func(c *conversation) TextReply {
			c.result.Params.MaxRecvDataSegmentLength = 64
			c.say(anew(true), "SendTargets=All")
			return c.say(c.more(true), "X-a=1")
		}, errTextEarly},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := converse(t, true, targets(2))
			r := tt.play(c)
			if r.Reject != pdu.ReasonProtocolError || r.Err == nil || r.Err.Error() != tt.err.Error() {
				t.Fatalf("answered with %+v", r)
			}
			if r = c.say(anew(true), "SendTargets=All"); r.Reject != 0 {
				t.Errorf("then a new one is answered with %+v", r)
			}
		})
	}
}

// TestTextTags: a tag is never the reserved one, and the next differs.
func TestTextTags(t *testing.T) {
	c := converse(t, true, targets(1))
	c.text.tag = pdu.ReservedTag - 2
	seen := map[uint32]bool{}
	c.say(anew(false))
	for range 5 {
		if c.tag == pdu.ReservedTag || seen[c.tag] {
			t.Fatalf("the tag is %#x", c.tag)
		}
		seen[c.tag] = true
		c.say(c.more(false))
	}
}
