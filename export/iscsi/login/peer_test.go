package login

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"elstore/export/iscsi/pdu"
)

// The cast of the tests.
const (
	targetName    = "iqn.2004-10.cloud.elemento:01:0123456789abcdef0123456789abcdef"
	initiatorName = "iqn.1993-08.org.debian:01:a3f2b5e5c7d"
	chapName      = "vm-1"
	chapSecret    = "correct horse battery"
	mutualName    = "elstore"
	mutualSecret  = "staple in both ways"
)

// known is an Authority of one target and one attachment.
type known struct {
	security   Security
	status     pdu.LoginStatus
	address    string
	alias      string
	credential Credential
	sessions   map[uint16]bool

	asked []string // what was asked, in order
}

func newKnown(s Security) *known {
	return &known{security: s, credential: Credential{
		Attachment: "attachment 1", Secret: NewSecret(chapSecret), MutualName: mutualName, MutualSecret: NewSecret(mutualSecret),
	}}
}

func (k *known) Target(p Peer) (Target, pdu.LoginStatus) {
	k.asked = append(k.asked, "target")
	status := k.status
	if !p.Discovery && p.TargetName != targetName {
		status = pdu.TargetNotFound
	}
	return Target{Security: k.security, Alias: k.alias, PortalGroupTag: 1, Address: k.address}, status
}

func (k *known) Credential(_ Peer, name string) (Credential, bool) {
	k.asked = append(k.asked, "credential")
	return k.credential, name == chapName
}

func (k *known) HasSession(p Peer) bool {
	k.asked = append(k.asked, "session")
	return k.sessions[p.TSIH]
}

// counting is chance that is none: bytes that count up.
type counting struct{ n byte }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		c.n++
		p[i] = c.n
	}
	return len(p), nil
}

// initiator plays the peer of a Login.
type initiator struct {
	t      testing.TB
	login  *Login
	header pdu.Login // of the next request, but for flags, stages and lengths
	tsih   uint16    // to admit with
	got    map[string]string
	sent   map[string]string
}

func newInitiator(t testing.TB, c Config) *initiator {
	t.Helper()
	if c.Rand == nil {
		c.Rand = &counting{}
	}
	checked, err := c.Check()
	if err != nil {
		t.Fatal(err)
	}
	return &initiator{
		t: t, login: New(checked), tsih: 0x0101, got: map[string]string{}, sent: map[string]string{},
		header: pdu.Login{ISID: pdu.ISID{0x00, 0x02, 0x3d, 0x01}, InitiatorTaskTag: 7, CID: 1, CmdSN: 0x100, ExpStatSN: 0},
	}
}

// send sends a request: flags and stages as "T C 0>1", then pairs. Admission is always given.
func (i *initiator) send(flags string, pairs ...string) (Reply, []string) {
	i.t.Helper()
	var text []byte
	for _, p := range pairs {
		key, value, found := strings.Cut(p, "=")
		if found {
			value = i.fill(value)
			i.sent[key] = value
			p = key + "=" + value
		}
		text = append(append(text, p...), 0)
	}
	return i.sendText(flags, text)
}

func (i *initiator) sendText(flags string, text []byte) (Reply, []string) {
	i.t.Helper()
	req := i.header
	for flag := range strings.FieldsSeq(flags) {
		switch flag {
		case "T":
			req.Transit = true
		case "C":
			req.Continue = true
		default:
			csg, nsg, _ := strings.Cut(flag, ">")
			req.CSG = stage(i.t, csg)
			if nsg != "" {
				req.NSG = stage(i.t, nsg)
			}
		}
	}
	var h pdu.BHS
	req.DataSegmentLength = len(text)
	req.Encode(&h)
	reply := i.login.Step(&h, text)
	if reply.Outcome == Admit {
		reply = i.login.Admit(i.tsih)
	}
	return reply, i.receive(reply)
}

func stage(t testing.TB, s string) pdu.Stage {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return pdu.Stage(n)
}

// receive takes the pairs of a response apart by hand.
func (i *initiator) receive(r Reply) []string {
	i.t.Helper()
	if len(r.Text) == 0 {
		return nil
	}
	pairs := strings.Split(string(r.Text), "\x00")
	if !r.Response.Continue {
		if last := len(pairs) - 1; pairs[last] != "" {
			i.t.Fatalf("the response %q has no null byte at its end", r.Text)
		}
		pairs = pairs[:len(pairs)-1]
	}
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		i.got[key] = value
	}
	return pairs
}

// fill puts CHAP's answers where a transcript has @chap(secret).
func (i *initiator) fill(value string) string {
	secret, found := strings.CutPrefix(value, "@chap(")
	if !found {
		return value
	}
	return "0x" + hex.EncodeToString(chapResponse(i.t, i.got["CHAP_A"], i.got["CHAP_I"], strings.TrimSuffix(secret, ")"), i.got["CHAP_C"]))
}

// chapResponse is RFC 1994 once more, written for the tests.
func chapResponse(t testing.TB, algorithm, identifier, secret, challenge string) []byte {
	t.Helper()
	id, err := strconv.ParseUint(identifier, 0, 8)
	if err != nil {
		t.Fatalf("CHAP_I %q: %v", identifier, err)
	}
	c, err := hex.DecodeString(strings.TrimPrefix(challenge, "0x"))
	if err != nil {
		t.Fatalf("CHAP_C %q: %v", challenge, err)
	}
	message := bytes.Join([][]byte{{byte(id)}, []byte(secret), c}, nil)
	switch algorithm {
	case "5":
		sum := md5.Sum(message)
		return sum[:]
	case "6":
		sum := sha1.Sum(message)
		return sum[:]
	case "7":
		sum := sha256.Sum256(message)
		return sum[:]
	case "8":
		sum := sha3.Sum256(message)
		return sum[:]
	}
	t.Fatalf("CHAP_A is %q", algorithm)
	return nil
}

// checkProof checks what proves the target to the initiator.
func (i *initiator) checkProof() {
	i.t.Helper()
	want := "0x" + hex.EncodeToString(chapResponse(i.t, i.got["CHAP_A"], i.sent["CHAP_I"], mutualSecret, i.sent["CHAP_C"]))
	if i.got["CHAP_N"] != mutualName || i.got["CHAP_R"] != want {
		i.t.Errorf("the target proves %q by %q, want %q", i.got["CHAP_N"], i.got["CHAP_R"], want)
	}
}

// describe is a response in the words of a transcript.
func describe(r Reply) string {
	if r.Outcome == Drop {
		return "dropped"
	}
	var b strings.Builder
	if r.Response.Transit {
		fmt.Fprintf(&b, "T %d>%d", r.Response.CSG, r.Response.NSG)
	} else {
		fmt.Fprintf(&b, "%d", r.Response.CSG)
	}
	if r.Response.Continue {
		b.WriteString(" C")
	}
	if r.Response.TSIH != 0 {
		fmt.Fprintf(&b, " tsih %#04x", r.Response.TSIH)
	}
	if r.Response.Status != pdu.Success {
		fmt.Fprintf(&b, " status %#04x %v", uint16(r.Response.Status), r.Response.Status)
	}
	return b.String()
}

// who are the keys that every first request has.
func who(more ...string) []string {
	return append([]string{"InitiatorName=" + initiatorName, "SessionType=Normal", "TargetName=" + targetName}, more...)
}
