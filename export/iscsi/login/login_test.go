package login

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"elstore/export/iscsi/pdu"
)

// request is one of a series: its flags, and its pairs or its text as it is.
type request struct {
	flags string
	pairs []string
	text  string // where pairs is nil
}

func ask(flags string, pairs ...string) request {
	if pairs == nil {
		pairs = []string{}
	}
	return request{flags: flags, pairs: pairs}
}

func raw(flags, text string) request { return request{flags: flags, text: text} }

// upTo are the requests of a login with CHAP up to where its answer is due.
func upTo(more ...request) []request {
	return append([]request{ask("T 0>1", who("AuthMethod=CHAP")...), ask("0", "CHAP_A=5")}, more...)
}

// open are those that come to the operational stage without CHAP.
func open(more ...request) []request {
	return append([]request{ask("T 0>1", who("AuthMethod=None")...)}, more...)
}

const (
	rightAnswer = "CHAP_R=@chap(" + chapSecret + ")"
	wrongAnswer = "CHAP_R=@chap(incorrect horse battery)"
	goodProof   = "CHAP_C=0x5f1e9a0b37c2d8e4f6a1b2c3d4e5f607"
)

// TestLoginsThatFail has what a login is refused for. All but the last request go well.
func TestLoginsThatFail(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := []struct {
		name     string
		security Security
		requests []request
		want     pdu.LoginStatus
		err      string // a part of the sentence for the log
	}{
		{"no InitiatorName", NoSecurity, []request{ask("T 1>3", "TargetName="+targetName)}, pdu.MissingParameter, "InitiatorName"},
		{"no text at all", NoSecurity, []request{ask("T 1>3")}, pdu.MissingParameter, "InitiatorName"},
		{"no TargetName", NoSecurity, []request{ask("T 1>3", "InitiatorName="+initiatorName)}, pdu.MissingParameter, "TargetName"},
		{"TargetName in the second request", NoSecurity, []request{ask("0", "InitiatorName="+initiatorName)}, pdu.MissingParameter, "TargetName"},
		{"an InitiatorName that is none", NoSecurity, []request{ask("T 1>3", "InitiatorName=node1", "TargetName="+targetName)}, pdu.InitiatorError, "InitiatorName"},
		{"a TargetName that is none", NoSecurity, []request{ask("T 1>3", "InitiatorName="+initiatorName, "TargetName=../../etc")}, pdu.TargetNotFound, "TargetName"},
		{"a TargetName that nobody bears", NoSecurity, []request{ask("T 1>3", "InitiatorName="+initiatorName, "TargetName=iqn.2001-04.com.example")}, pdu.TargetNotFound, "iqn.2001-04.com.example"},
		{"a SessionType that is none", NoSecurity, []request{ask("T 1>3", "InitiatorName="+initiatorName, "SessionType=Fast")}, pdu.SessionTypeNotSupported, "Fast"},

		{"no null byte", NoSecurity, []request{raw("T 1>3", "InitiatorName="+initiatorName)}, pdu.InitiatorError, "null byte"},
		{"no equals sign", NoSecurity, []request{ask("T 1>3", append(who(), "MaxBurstLength")...)}, pdu.InitiatorError, "no value"},
		{"a key's name that is none", NoSecurity, []request{ask("T 1>3", append(who(), "Max Burst=1")...)}, pdu.InitiatorError, "name"},
		{"a long key", NoSecurity, []request{ask("T 1>3", append(who(), "X-"+long+"=1")...)}, pdu.InitiatorError, "name"},
		{"a huge value", NoSecurity, []request{ask("T 1>3", append(who(), "X-a="+long)...)}, pdu.InitiatorError, "255"},
		{"a huge encoded value", NoSecurity, []request{ask("T 1>3", append(who(), "X-a=0x"+strings.Repeat("0", 8200))...)}, pdu.InitiatorError, "8192"},
		{"too many keys", NoSecurity, []request{ask("T 1>3", append(who(), many(126)...)...)}, pdu.InitiatorError, "too many"},
		{"too many keys in several requests", NoSecurity, open(ask("1", many(60)...), ask("1", many(130)[60:]...)), pdu.InitiatorError, "too many"},
		{"binary rubbish", NoSecurity, []request{raw("T 1>3", "\xff\xfe\x00\x01=\x00")}, pdu.InitiatorError, ""},

		{"a key twice in one request", NoSecurity, []request{ask("T 1>3", append(who(), "MaxBurstLength=512", "MaxBurstLength=512")...)}, pdu.InitiatorError, "twice"},
		{"a key twice in two requests", NoSecurity, open(ask("1", "HeaderDigest=None"), ask("T 1>3", "HeaderDigest=None")), pdu.InitiatorError, "twice"},
		{"a declaration twice", NoSecurity, open(ask("1", "MaxRecvDataSegmentLength=8192"), ask("T 1>3", "MaxRecvDataSegmentLength=8192")), pdu.InitiatorError, "twice"},
		{"an unknown key twice", NoSecurity, open(ask("1", "X-a=1"), ask("T 1>3", "X-a=1")), pdu.InitiatorError, "twice"},
		{"InitiatorName twice", NoSecurity, []request{ask("T 1>3", append(who(), "InitiatorName="+initiatorName)...)}, pdu.InitiatorError, "twice"},
		{"another InitiatorName", NoSecurity, open(ask("T 1>3", "InitiatorName="+initiatorName+"0")), pdu.InitiatorError, "another value"},
		{"another InitiatorAlias", NoSecurity, []request{ask("T 0>1", who("AuthMethod=None", "InitiatorAlias=a")...), ask("T 1>3", "InitiatorAlias=b")}, pdu.InitiatorError, "another value"},
		{"another TargetName", NoSecurity, open(ask("T 1>3", "TargetName="+targetName+"0")), pdu.InitiatorError, "another value"},
		{"another SessionType", NoSecurity, open(ask("T 1>3", "SessionType=Discovery")), pdu.InitiatorError, "another value"},
		{"AuthMethod twice", CHAPRequired, []request{ask("0", who("AuthMethod=CHAP")...), ask("0", "AuthMethod=CHAP")}, pdu.InitiatorError, "twice"},
		{"CHAP_A twice", CHAPRequired, upTo(ask("0", "CHAP_A=5")), pdu.InitiatorError, "twice"},

		{"T and C", NoSecurity, []request{ask("T C 1>3", who()...)}, pdu.InitiatorError, "T and C"},
		{"CSG 2", NoSecurity, []request{ask("2", who()...)}, pdu.InitiatorError, "stage 2"},
		{"CSG 3", NoSecurity, []request{ask("3", who()...)}, pdu.InitiatorError, "FullFeaturePhase"},
		{"NSG 2", NoSecurity, []request{ask("T 1>2", who()...)}, pdu.InitiatorError, "stage 2"},
		{"backwards", NoSecurity, open(ask("T 1>0")), pdu.InitiatorError, "SecurityNegotiation"},
		{"nowhere", NoSecurity, []request{ask("T 0>0", who()...)}, pdu.InitiatorError, "SecurityNegotiation"},
		{"back to a stage that is over", NoSecurity, open(ask("0")), pdu.InitiatorError, "is in SecurityNegotiation"},
		{"on to a stage that was not agreed", CHAPRequired, []request{ask("T 0>1", who("AuthMethod=CHAP")...), ask("T 1>3")}, pdu.InitiatorError, "is in LoginOperationalNegotiation"},
		{"AuthMethod in the operational stage", CHAPOptional, []request{ask("1", who("AuthMethod=CHAP")...)}, pdu.InitiatorError, "AuthMethod"},
		{"CHAP in the operational stage", NoSecurity, open(ask("1", "CHAP_A=5")), pdu.InitiatorError, "CHAP_A"},
		{"MaxRecvDataSegmentLength too small", NoSecurity, open(ask("1", "MaxRecvDataSegmentLength=511")), pdu.InitiatorError, "511"},
		{"MaxRecvDataSegmentLength too large", NoSecurity, open(ask("1", "MaxRecvDataSegmentLength=16777216")), pdu.InitiatorError, "16777216"},
		{"MaxRecvDataSegmentLength that is no number", NoSecurity, open(ask("1", "MaxRecvDataSegmentLength=64k")), pdu.InitiatorError, "64k"},

		{"no security where CHAP is required", CHAPRequired, []request{ask("T 1>3", who()...)}, pdu.AuthenticationFailure, "CHAP is required"},
		{"AuthMethod None where CHAP is required", CHAPRequired, []request{ask("T 0>1", who("AuthMethod=None")...)}, pdu.AuthenticationFailure, "None"},
		{"CHAP alone where there is none", NoSecurity, []request{ask("T 0>1", who("AuthMethod=CHAP")...)}, pdu.AuthenticationFailure, "CHAP"},
		{"other methods", CHAPOptional, []request{ask("T 0>1", who("AuthMethod=KRB5,SRP")...)}, pdu.AuthenticationFailure, "KRB5"},
		{"AuthMethod of nothing", CHAPOptional, []request{ask("T 0>1", who("AuthMethod=")...)}, pdu.AuthenticationFailure, "AuthMethod"},
		{"our CHAP is answered with None", CHAPRequired, []request{ask("T 0>1", who()...), ask("T 0>1", "AuthMethod=None")}, pdu.AuthenticationFailure, "None"},
		{"our CHAP is answered with Reject", CHAPRequired, []request{ask("T 0>1", who()...), ask("T 0>1", "AuthMethod=Reject")}, pdu.AuthenticationFailure, "Reject"},
		{"our CHAP is not answered", CHAPRequired, []request{ask("T 0>1", who()...), ask("T 0>1")}, pdu.AuthenticationFailure, "did not go on"},
		{"AuthMethod when it is settled", CHAPOptional, []request{ask("0", who("AuthMethod=None")...), ask("0", "AuthMethod=CHAP")}, pdu.InitiatorError, "twice"},

		{"CHAP without AuthMethod", CHAPRequired, []request{ask("0", who("CHAP_A=5")...)}, pdu.AuthenticationFailure, "out of turn"},
		{"CHAP with None", CHAPOptional, []request{ask("0", who("AuthMethod=None", "CHAP_A=5")...)}, pdu.AuthenticationFailure, "None was chosen"},
		{"CHAP after None", CHAPOptional, []request{ask("0", who("AuthMethod=None")...), ask("0", "CHAP_A=5")}, pdu.AuthenticationFailure, "out of turn"},
		{"CHAP_A does not come", CHAPRequired, []request{ask("0", who("AuthMethod=CHAP")...), ask("T 0>1")}, pdu.AuthenticationFailure, "did not go on"},
		{"an answer before the challenge", CHAPRequired, []request{ask("0", who("AuthMethod=CHAP")...), ask("0", "CHAP_N="+chapName, "CHAP_R=0x00")}, pdu.AuthenticationFailure, "CHAP_A alone"},
		{"an answer with CHAP_A", CHAPRequired, []request{ask("0", who("AuthMethod=CHAP")...), ask("0", "CHAP_A=5", "CHAP_N="+chapName, "CHAP_R=0x00")}, pdu.AuthenticationFailure, "CHAP_A alone"},
		{"no algorithm that is known", CHAPRequired, []request{ask("0", who("AuthMethod=CHAP")...), ask("0", "CHAP_A=4,9,x")}, pdu.AuthenticationFailure, "4,9,x"},
		{"no algorithm", CHAPRequired, []request{ask("0", who("AuthMethod=CHAP")...), ask("0", "CHAP_A=")}, pdu.AuthenticationFailure, "CHAP_A"},
		{"the answer does not come", CHAPRequired, upTo(ask("T 0>1")), pdu.AuthenticationFailure, "did not go on"},
		{"no CHAP_N", CHAPRequired, upTo(ask("T 0>1", rightAnswer)), pdu.AuthenticationFailure, "come together"},
		{"no CHAP_R", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName)), pdu.AuthenticationFailure, "come together"},
		{"an empty CHAP_N", CHAPRequired, upTo(ask("T 0>1", "CHAP_N=", rightAnswer)), pdu.AuthenticationFailure, "empty"},
		{"a wrong secret", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, wrongAnswer)), pdu.AuthenticationFailure, "not the one"},
		{"no secret", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, "CHAP_R=@chap()")), pdu.AuthenticationFailure, "not the one"},
		{"a wrong name", CHAPRequired, upTo(ask("T 0>1", "CHAP_N=vm-2", rightAnswer)), pdu.AuthenticationFailure, "not the one"},
		{"a wrong name and the decoy's secret", CHAPRequired, upTo(ask("T 0>1", "CHAP_N=vm-2", "CHAP_R=@chap("+decoy.Reveal()+")")), pdu.AuthenticationFailure, "not the one"},
		{"a short answer", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, "CHAP_R=0x00")), pdu.AuthenticationFailure, "length"},
		{"a long answer", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, "CHAP_R=0x"+strings.Repeat("00", 17))), pdu.AuthenticationFailure, "length"},
		{"an answer that is no number", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, "CHAP_R=secret")), pdu.AuthenticationFailure, "length"},
		{"CHAP_I without CHAP_C", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, rightAnswer, "CHAP_I=1")), pdu.AuthenticationFailure, "come together"},
		{"CHAP_C without CHAP_I", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, rightAnswer, goodProof)), pdu.AuthenticationFailure, "come together"},
		{"CHAP_I of two bytes", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, rightAnswer, "CHAP_I=256", goodProof)), pdu.AuthenticationFailure, "one byte"},
		{"CHAP_I that is no number", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, rightAnswer, "CHAP_I=", goodProof)), pdu.AuthenticationFailure, "one byte"},
		{"a short CHAP_C", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, rightAnswer, "CHAP_I=1", "CHAP_C=0x"+strings.Repeat("ab", 15))), pdu.AuthenticationFailure, "16 to 1024"},
		{"a long CHAP_C", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, rightAnswer, "CHAP_I=1", "CHAP_C=0x"+strings.Repeat("ab", 1025))), pdu.AuthenticationFailure, "16 to 1024"},
		{"our own CHAP_C", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, rightAnswer, "CHAP_I=9", "CHAP_C=0x02030405060708090a0b0c0d0e0f1011")), pdu.AuthenticationFailure, "target's own"},
		{"our own CHAP_C, in base64", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, rightAnswer, "CHAP_I=9", "CHAP_C=0bAgMEBQYHCAkKCwwNDg8QEQ==")), pdu.AuthenticationFailure, "target's own"},
		{"a proof for a wrong secret", CHAPRequired, upTo(ask("T 0>1", "CHAP_N="+chapName, wrongAnswer, "CHAP_I=1", goodProof)), pdu.AuthenticationFailure, "not the one"},
		{"CHAP once more", CHAPRequired, upTo(ask("0", "CHAP_N="+chapName, rightAnswer), ask("0", "CHAP_I=1", goodProof)), pdu.AuthenticationFailure, "out of turn"},

		{"text that never ends", NoSecurity, []request{raw("C 1", strings.Repeat("a", 8192)), raw("C 1", strings.Repeat("a", 8192)), raw("C 1", "a")}, pdu.InitiatorError, "16384"},
		{"a login that never ends", NoSecurity, slices.Concat(open(), slices.Repeat([]request{ask("1")}, 64)), pdu.InitiatorError, "64 requests"},
		{"continuation that never ends", NoSecurity, slices.Repeat([]request{ask("C 1")}, 65), pdu.InitiatorError, "64 requests"},
		{"text before ours was sent", NoSecurity, []request{ask("T 1>3", append(who(), many(120)...)...), ask("T 1>3", "MaxBurstLength=512")}, pdu.InitiatorError, "to its end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKnown(tt.security)
			i := newInitiator(t, Config{Authority: k})
			var reply Reply
			for n, r := range tt.requests {
				if n > 0 && reply.Outcome != Continue {
					t.Fatalf("request %d is answered with %s: %v", n-1, describe(reply), reply.Err)
				}
				if r.pairs == nil {
					reply, _ = i.sendText(r.flags, []byte(r.text))
				} else {
					reply, _ = i.send(r.flags, r.pairs...)
				}
			}
			if reply.Outcome != Failed || reply.Response.Status != tt.want || len(reply.Text) > 0 {
				t.Fatalf("answered with %s, %v: %v", describe(reply), reply.Outcome, reply.Err)
			}
			if !strings.Contains(reply.Err.Error(), tt.err) || strings.Contains(reply.Err.Error(), chapSecret) {
				t.Errorf("the log says %q, want %q in it", reply.Err, tt.err)
			}
			if reply.Response.Transit || reply.Response.TSIH != 0 || reply.Response.InitiatorTaskTag != 7 {
				t.Errorf("the response is %+v", reply.Response)
			}
			if r := i.login.Result(); r.Attachment != nil || r.CHAPName != "" {
				t.Errorf("who failed has the attachment %v", r.Attachment)
			}
			if again, _ := i.send("T 1>3", who()...); again.Outcome != Drop {
				t.Errorf("after it a request is answered with %s", describe(again))
			}
		})
	}
}

// many are n keys that nobody knows.
func many(n int) (pairs []string) {
	for i := range n {
		pairs = append(pairs, fmt.Sprintf("X-%s%03d=1", strings.Repeat("k", 57), i))
	}
	return pairs
}

// TestHeadersThatFail changes one field of a header in the first or the second request.
func TestHeadersThatFail(t *testing.T) {
	tests := []struct {
		name   string
		second bool
		change func(*pdu.Login)
		want   pdu.LoginStatus
	}{
		{"a version that is yet to come", false, func(l *pdu.Login) { l.VersionMin, l.VersionMax = 1, 2 }, pdu.UnsupportedVersion},
		{"additional headers", false, func(l *pdu.Login) { l.TotalAHSLength = 4 }, pdu.InitiatorError},
		{"another ISID", true, func(l *pdu.Login) { l.ISID[5] = 1 }, pdu.InitiatorError},
		{"another TSIH", true, func(l *pdu.Login) { l.TSIH = 1 }, pdu.InitiatorError},
		{"another CID", true, func(l *pdu.Login) { l.CID++ }, pdu.InitiatorError},
		{"another tag", true, func(l *pdu.Login) { l.InitiatorTaskTag++ }, pdu.InitiatorError},
		{"another VersionMax", true, func(l *pdu.Login) { l.VersionMax = 1 }, pdu.InitiatorError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := newInitiator(t, Config{Authority: newKnown(NoSecurity)})
			if tt.second {
				if r, _ := i.send("T 0>1", who()...); r.Outcome != Continue {
					t.Fatal(r.Err)
				}
			}
			tt.change(&i.header)
			flags := "T 0>1"
			if tt.second {
				flags = "T 1>3"
			}
			r, _ := i.send(flags, who()...)
			if r.Outcome != Failed || r.Response.Status != tt.want {
				t.Errorf("answered with %s: %v", describe(r), r.Err)
			}
			if r.Response.VersionActive != pdu.Version || r.Response.VersionMax != pdu.Version {
				t.Errorf("it says the versions are %d and %d", r.Response.VersionActive, r.Response.VersionMax)
			}
		})
	}
}

// TestVersionRange: whoever speaks later versions too speaks ours.
func TestVersionRange(t *testing.T) {
	i := newInitiator(t, Config{Authority: newKnown(NoSecurity)})
	i.header.VersionMax = 7
	if r, _ := i.send("T 1>3", who()...); r.Outcome != Done {
		t.Errorf("answered with %s: %v", describe(r), r.Err)
	}
}

func TestOtherPDUs(t *testing.T) {
	var h pdu.BHS
	(&pdu.NOPOut{Immediate: true, InitiatorTaskTag: 99}).Encode(&h)
	t.Run("before the login", func(t *testing.T) {
		i := newInitiator(t, Config{Authority: newKnown(NoSecurity)})
		if r := i.login.Step(&h, nil); r.Outcome != Drop || r.Err == nil {
			t.Errorf("answered with %s: %v", describe(r), r.Err)
		}
		if r, _ := i.send("T 1>3", who()...); r.Outcome != Drop {
			t.Errorf("then a login is answered with %s", describe(r))
		}
	})
	t.Run("during it", func(t *testing.T) {
		i := newInitiator(t, Config{Authority: newKnown(NoSecurity)})
		if r, _ := i.send("T 0>1", who()...); r.Outcome != Continue {
			t.Fatal(r.Err)
		}
		if r := i.login.Step(&h, nil); r.Outcome != Failed || r.Response.Status != pdu.InvalidDuringLogin || r.Response.InitiatorTaskTag != 99 {
			t.Errorf("answered with %s: %v", describe(r), r.Err)
		}
	})
}

// TestSessions: a session has one connection, and others are not told which sessions there are.
func TestSessions(t *testing.T) {
	tests := []struct {
		name     string
		security Security
		tsih     uint16
		requests []request
		want     pdu.LoginStatus
		asked    []string
	}{
		{"a session that is there", NoSecurity, 5, []request{ask("T 1>3", who()...)}, pdu.TooManyConnections, []string{"target", "session"}},
		{"a session that is not there", NoSecurity, 6, []request{ask("T 1>3", who()...)}, pdu.SessionDoesNotExist, []string{"target", "session"}},
		{"after AuthMethod None", CHAPOptional, 5, []request{ask("0", who("AuthMethod=None")...)}, pdu.TooManyConnections, []string{"target", "session"}},
		{"before CHAP", CHAPRequired, 5, []request{ask("0", who("AuthMethod=CHAP")...)}, pdu.Success, []string{"target"}},
		{"after CHAP", CHAPRequired, 6, upTo(ask("T 0>1", "CHAP_N="+chapName, rightAnswer)), pdu.SessionDoesNotExist, []string{"target", "credential", "session"}},
		{"after CHAP that failed", CHAPRequired, 5, upTo(ask("T 0>1", "CHAP_N="+chapName, wrongAnswer)), pdu.AuthenticationFailure, []string{"target", "credential"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKnown(tt.security)
			k.sessions = map[uint16]bool{5: true}
			i := newInitiator(t, Config{Authority: k})
			i.header.TSIH = tt.tsih
			var r Reply
			for _, request := range tt.requests {
				r, _ = i.send(request.flags, request.pairs...)
			}
			if r.Response.Status != tt.want {
				t.Errorf("answered with %s: %v", describe(r), r.Err)
			}
			if !slices.Equal(k.asked, tt.asked) {
				t.Errorf("it asked for %v, want %v", k.asked, tt.asked)
			}
		})
	}
}

// TestNumbers checks what the headers count: StatSN up by one in each response, the window at CmdSN.
func TestNumbers(t *testing.T) {
	i := newInitiator(t, Config{Authority: newKnown(CHAPOptional), CommandWindow: 32})
	i.header.CmdSN = 0xfffffff0
	for n, flags := range []string{"C 0", "T 0>1", "1", "T 1>3"} {
		pairs := [][]string{nil, who("AuthMethod=None"), nil, nil}[n]
		r, _ := i.send(flags, pairs...)
		want := pdu.TargetSN{StatSN: pdu.SN(n + 1), ExpCmdSN: 0xfffffff0, MaxCmdSN: 0x0f}
		if r.Response.TargetSN != want {
			t.Errorf("response %d has %+v, want %+v", n, r.Response.TargetSN, want)
		}
		if r.Response.ISID != i.header.ISID || r.Response.InitiatorTaskTag != 7 || r.Response.DataSegmentLength != len(r.Text) {
			t.Errorf("response %d is %+v", n, r.Response)
		}
		if tsih := map[bool]uint16{true: 0x0101}[n == 3]; r.Response.TSIH != tsih {
			t.Errorf("response %d has TSIH %#04x, want %#04x", n, r.Response.TSIH, tsih)
		}
	}
	if r := i.login.Result(); r.StatSN != 5 || r.CmdSN != 0xfffffff0 || r.MaxCmdSN != 0x0f {
		t.Errorf("the result is %+v", r)
	}
}

func TestResult(t *testing.T) {
	k := newKnown(CHAPRequired)
	i := newInitiator(t, Config{Authority: k})
	i.send("T 0>1", "InitiatorName=IQN.1993-08.org.Debian:01:ABC", "InitiatorAlias=node 1", "TargetName="+strings.ToUpper(targetName), "AuthMethod=CHAP")
	i.send("0", "CHAP_A=7")
	r, _ := i.send("T 0>3", "CHAP_N="+chapName, rightAnswer)
	if r.Outcome != Done {
		t.Fatal(r.Err)
	}
	want := Result{
		Peer: Peer{
			InitiatorName: "iqn.1993-08.org.debian:01:abc", InitiatorAlias: "node 1", TargetName: targetName,
			ISID: i.header.ISID, CID: 1,
		},
		Attachment: "attachment 1", CHAPName: chapName, Params: rfcParams(), CmdSN: 0x100, StatSN: 4, MaxCmdSN: 0x100 + 127,
	}
	if got := i.login.Result(); got != want {
		t.Errorf("the result is\n%+v, want\n%+v", got, want)
	}
}

func TestAdmission(t *testing.T) {
	busy := errors.New("the volume has its session")
	begin := func(t *testing.T) (*initiator, *pdu.BHS) {
		i := newInitiator(t, Config{Authority: newKnown(NoSecurity)})
		req := i.header
		req.Transit, req.CSG, req.NSG = true, pdu.OperationalNegotiation, pdu.FullFeaturePhase
		var h pdu.BHS
		req.Encode(&h)
		var text []byte
		for _, p := range who() {
			text = append(append(text, p...), 0)
		}
		if r := i.login.Step(&h, text); r.Outcome != Admit || r.Text != nil {
			t.Fatalf("answered with %v: %v", r.Outcome, r.Err)
		}
		if peer := i.login.Result().Peer; peer.InitiatorName != initiatorName || peer.TargetName != targetName {
			t.Errorf("the peer is %+v", peer)
		}
		return i, &h
	}
	t.Run("refused", func(t *testing.T) {
		i, _ := begin(t)
		r := i.login.Refuse(pdu.AuthorizationFailure, busy)
		if r.Outcome != Failed || r.Response.Status != pdu.AuthorizationFailure || !errors.Is(r.Err, busy) || r.Text != nil {
			t.Errorf("refused with %s: %v", describe(r), r.Err)
		}
		if r := i.login.Admit(1); r.Outcome != Drop {
			t.Errorf("then admitted with %s", describe(r))
		}
	})
	t.Run("a request while it waits", func(t *testing.T) {
		i, h := begin(t)
		if r := i.login.Step(h, nil); r.Outcome != Drop {
			t.Errorf("answered with %s", describe(r))
		}
	})
	t.Run("admitted twice", func(t *testing.T) {
		i, _ := begin(t)
		if r := i.login.Admit(9); r.Outcome != Done || r.Response.TSIH != 9 || len(r.Text) == 0 {
			t.Errorf("admitted with %s", describe(r))
		}
		if r := i.login.Admit(9); r.Outcome != Drop {
			t.Errorf("then admitted with %s", describe(r))
		}
		if r := i.login.Refuse(pdu.TargetError, busy); r.Outcome != Drop {
			t.Errorf("then refused with %s", describe(r))
		}
	})
	t.Run("too early", func(t *testing.T) {
		i := newInitiator(t, Config{Authority: newKnown(NoSecurity)})
		if r := i.login.Admit(1); r.Outcome != Drop {
			t.Errorf("admitted with %s", describe(r))
		}
		if r := i.login.Refuse(pdu.TargetError, busy); r.Outcome != Drop {
			t.Errorf("refused with %s", describe(r))
		}
	})
}

func TestTargetStatus(t *testing.T) {
	for _, tt := range []struct {
		name, address string
		status, want  pdu.LoginStatus
	}{
		{"removed", "", pdu.TargetRemoved, pdu.TargetRemoved},
		{"not available", "", pdu.ServiceUnavailable, pdu.ServiceUnavailable},
		{"forbidden", "", pdu.AuthorizationFailure, pdu.AuthorizationFailure},
		{"moved, and nobody knows where", "", pdu.TargetMovedTemporarily, pdu.TargetError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKnown(CHAPRequired)
			k.status = tt.status
			i := newInitiator(t, Config{Authority: k})
			if r, _ := i.send("T 0>1", who("AuthMethod=CHAP")...); r.Response.Status != tt.want || r.Text != nil {
				t.Errorf("answered with %s, %q", describe(r), r.Text)
			}
		})
	}
}

// TestContinuedText has a text come in pieces of any size; section 11.12.2.
func TestContinuedText(t *testing.T) {
	var whole []byte
	for _, p := range who("MaxBurstLength=512", "X-long=0x"+strings.Repeat("ab", 500)) {
		whole = append(append(whole, p...), 0)
	}
	for _, size := range []int{20, 100, len(whole)/2 + 1, len(whole)} {
		i := newInitiator(t, Config{Authority: newKnown(NoSecurity), MaxRounds: 100})
		rest := whole
		for ; len(rest) > size; rest = rest[size:] {
			r, pairs := i.sendText("C 1>3", rest[:size])
			if r.Outcome != Continue || pairs != nil || r.Response.Continue || r.Response.Transit || r.Response.CSG != 1 {
				t.Fatalf("answered with %s and %q: %v", describe(r), pairs, r.Err)
			}
		}
		r, pairs := i.sendText("T 1>3", rest)
		if r.Outcome != Done || !slices.Contains(pairs, "MaxBurstLength=512") || !slices.Contains(pairs, "X-long=NotUnderstood") {
			t.Errorf("in pieces of %d answered with %s and %q: %v", size, describe(r), pairs, r.Err)
		}
	}
}

// TestContinuedResponse has so much to answer that it does not fit into one response.
func TestContinuedResponse(t *testing.T) {
	for name, tt := range map[string]struct {
		security    Security
		first, then string
		method      string
	}{
		"operational": {NoSecurity, "T 1>3", "T 1>3", ""},
		"security":    {CHAPOptional, "T 0>1", "T 0>1", "AuthMethod=None"},
		"CHAP":        {CHAPRequired, "0", "0", "AuthMethod=CHAP"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newInitiator(t, Config{Authority: newKnown(tt.security)})
			keys := append(who(), many(120)...)
			if tt.method != "" {
				keys = append(keys, tt.method)
			}
			r, _ := i.send(tt.first, keys...)
			if r.Outcome != Continue || !r.Response.Continue || r.Response.Transit || len(r.Text) != 8192 {
				t.Fatalf("answered with %s and %d bytes: %v", describe(r), len(r.Text), r.Err)
			}
			text := string(r.Text)
			if r, _ = i.send(tt.then); r.Err != nil || r.Response.Continue || r.Response.Transit != strings.HasPrefix(tt.then, "T") {
				t.Fatalf("then answered with %s: %v", describe(r), r.Err)
			}
			pairs := strings.Split(text+string(r.Text), "\x00")
			answers := map[string]bool{}
			for _, p := range pairs {
				answers[p] = true
			}
			for _, key := range many(120) {
				if !answers[strings.Replace(key, "=1", "=NotUnderstood", 1)] {
					t.Fatalf("%s is not answered", key)
				}
			}
			if tt.method != "" && !answers[tt.method] {
				t.Errorf("%s is not answered", tt.method)
			}
			if tt.security == CHAPRequired { // and it goes on as if nothing had been
				if r, _ = i.send("0", "CHAP_A=5"); r.Outcome != Continue || i.got["CHAP_C"] == "" {
					t.Errorf("CHAP_A is answered with %s: %v", describe(r), r.Err)
				}
			}
		})
	}
}

// TestEveryOperationalKey has each answered with a value, in a normal session and in discovery.
func TestEveryOperationalKey(t *testing.T) {
	good := map[string]string{
		"HeaderDigest": "None", "DataDigest": "None", "TaskReporting": "RFC3720", "InitialR2T": "Yes", "ImmediateData": "No",
		"DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes", "IFMarker": "No", "OFMarker": "No", "IFMarkInt": "1~2", "OFMarkInt": "1",
	}
	keys := slices.Concat(slices.Collect(maps.Keys(numbers)), slices.Collect(maps.Keys(booleans)), slices.Collect(maps.Keys(obsolete)), []string{"HeaderDigest", "DataDigest", "TaskReporting"})
	c, err := Config{Authority: newKnown(NoSecurity)}.Check()
	if err != nil {
		t.Fatal(err)
	}
	irrelevant := 0
	for _, key := range keys {
		if !isOperational(key) || isSecurity(key) || isIdentity(key) || isTargets(key) {
			t.Errorf("%s is in more than one stage", key)
		}
		value := good[key]
		if n, ok := numbers[key]; ok {
			value = itoa(n.high)
			for _, bad := range []string{itoa(n.high + 1), itoa(n.low - 1), "", "x"} {
				p := rfcParams()
				if got := negotiate(c, &p, false, key, bad); got != pdu.Rejected || p != rfcParams() {
					t.Errorf("%s=%s is answered with %s and changes %+v", key, bad, got, p)
				}
			}
		}
		p := rfcParams()
		if got := negotiate(c, &p, false, key, value); got == "" || got == pdu.Irrelevant || got == pdu.NotUnderstood {
			t.Errorf("%s=%s is answered with %q", key, value, got)
		}
		p = rfcParams()
		if negotiate(c, &p, true, key, value) == pdu.Irrelevant {
			irrelevant++
			if p != rfcParams() {
				t.Errorf("%s is irrelevant and changes %+v", key, p)
			}
		}
	}
	if irrelevant != 10 {
		t.Errorf("%d keys are irrelevant in discovery, want 10", irrelevant)
	}
}

// TestResultFunctions has both sides' values and what comes of them; section 13.
func TestResultFunctions(t *testing.T) {
	c, err := Config{Authority: newKnown(NoSecurity), MaxBurstLength: 1 << 19, FirstBurstLength: 1 << 17, MaxOutstandingR2T: 4, InitialR2T: true}.Check()
	if err != nil {
		t.Fatal(err)
	}
	loose, err := Config{Authority: newKnown(NoSecurity), ProtocolLevel: 2}.Check()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		config           *Config
		key, value, want string
	}{
		{c, "MaxConnections", "8", "1"},
		{c, "MaxBurstLength", "262144", "262144"},
		{c, "MaxBurstLength", "0xffffff", "524288"},
		{c, "FirstBurstLength", "512", "512"},
		{c, "FirstBurstLength", "16777215", "131072"},
		{c, "DefaultTime2Wait", "0", "0"},
		{c, "DefaultTime2Wait", "3600", "3600"},
		{c, "DefaultTime2Retain", "3600", "0"},
		{c, "MaxOutstandingR2T", "1", "1"},
		{c, "MaxOutstandingR2T", "65535", "4"},
		{c, "ErrorRecoveryLevel", "2", "0"},
		{c, "iSCSIProtocolLevel", "2", "1"},
		{loose, "iSCSIProtocolLevel", "2", "2"},
		{loose, "iSCSIProtocolLevel", "31", "2"},
		{loose, "iSCSIProtocolLevel", "0", "0"},
		{c, "InitialR2T", "No", "Yes"},
		{loose, "InitialR2T", "No", "No"},
		{loose, "InitialR2T", "Yes", "Yes"},
		{c, "ImmediateData", "Yes", "Yes"},
		{c, "ImmediateData", "No", "No"},
		{c, "DataPDUInOrder", "No", "Yes"},
		{c, "DataSequenceInOrder", "No", "Yes"},
		{c, "HeaderDigest", "CRC32C,None", "CRC32C"},
		{c, "HeaderDigest", "None,CRC32C", "None"},
		{c, "DataDigest", "X-other,CRC32C", "CRC32C"},
		{c, "TaskReporting", "FastAbort,ResponseFence,RFC3720", "RFC3720"},
	}
	for _, tt := range tests {
		p := rfcParams()
		if got := negotiate(tt.config, &p, false, tt.key, tt.value); got != tt.want {
			t.Errorf("%s=%s is answered with %s, want %s", tt.key, tt.value, got, tt.want)
		}
	}
}
