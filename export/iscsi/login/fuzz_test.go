package login

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/export/iscsi/pdu"
)

// script makes an input of FuzzLogin: per request its flags, the length of its text in two bytes, and that.
func script(requests ...[]byte) []byte {
	return bytes.Join(requests, nil)
}

func scripted(flags byte, pairs ...string) []byte {
	var text []byte
	for _, p := range pairs {
		text = append(append(text, p...), 0)
	}
	return append([]byte{flags, byte(len(text) >> 8), byte(len(text))}, text...)
}

// FuzzLogin sends any requests. Whatever they are, nothing panics; without the secret nobody gets in where CHAP
// is required; and what gets in has parameters that the RFC allows.
func FuzzLogin(f *testing.F) {
	f.Add(script(scripted(0x87, who("HeaderDigest=CRC32C,None", "MaxBurstLength=512")...)), uint8(2))
	f.Add(script(scripted(0x81, who("AuthMethod=CHAP,None")...), scripted(0x81, "CHAP_A=5"), scripted(0x81, "CHAP_N=vm-1", "CHAP_R=0x00", "CHAP_I=1", "CHAP_C=0x00")), uint8(0))
	f.Add(script(scripted(0x40, who()[0]), scripted(0x81, who()[1:]...), scripted(0x87, "InitialR2T=No", "FirstBurstLength=4096")), uint8(1))
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		transcript, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(fromTranscript(string(transcript)), uint8(len(transcript)))
	}
	f.Fuzz(func(t *testing.T, input []byte, security uint8) {
		k := newKnown(Security(security % 4))
		c, err := Config{Authority: k, Rand: &counting{}, MaxKeys: 32, MaxRounds: 16}.Check()
		if err != nil {
			t.Fatal(err)
		}
		l := New(c)
		for rounds := 0; len(input) >= 3; rounds++ {
			n := min(int(input[1])<<8|int(input[2]), len(input)-3)
			var h pdu.BHS
			(&pdu.Login{DataSegmentLength: n, InitiatorTaskTag: 1}).Encode(&h)
			h[1] = input[0]
			r := l.Step(&h, input[3:3+n])
			input = input[3+n:]
			if r.Outcome == Admit {
				r = l.Admit(1)
			}
			checkReply(t, l, r)
			if r.Outcome == Done && k.security.required() {
				t.Fatal("somebody got in without the secret")
			}
			if r.Outcome != Continue {
				return
			}
			if rounds > 16 {
				t.Fatal("it goes on for ever")
			}
		}
	})
}

// checkReply checks what must hold of any.
func checkReply(t *testing.T, l *Login, r Reply) {
	t.Helper()
	if r.Outcome != Drop && r.Response.DataSegmentLength != len(r.Text) || len(r.Text) > 8192 {
		t.Fatalf("a response of %d bytes says %d", len(r.Text), r.Response.DataSegmentLength)
	}
	if (r.Outcome == Failed) != (r.Response.Status != pdu.Success) || (r.Err == nil) != (r.Outcome == Continue || r.Outcome == Done) {
		t.Fatalf("outcome %v has status %v and error %v", r.Outcome, r.Response.Status, r.Err)
	}
	if r.Response.Transit && r.Response.NSG <= r.Response.CSG || r.Response.Transit && r.Response.Continue {
		t.Fatalf("the response is %+v", r.Response)
	}
	if strings.Contains(string(r.Text), chapSecret) || r.Err != nil && strings.Contains(r.Err.Error(), chapSecret) {
		t.Fatal("the secret is in a response")
	}
	if r.Outcome != Done {
		return
	}
	p := l.Result().Params
	if p.FirstBurstLength > p.MaxBurstLength || p.FirstBurstLength < 512 || p.MaxBurstLength > pdu.MaxDataSegmentLength ||
		p.MaxRecvDataSegmentLength < 512 || p.MaxRecvDataSegmentLength > pdu.MaxDataSegmentLength ||
		p.MaxConnections != 1 || p.ErrorRecoveryLevel != 0 || p.MaxOutstandingR2T < 1 || !p.DataPDUInOrder || !p.DataSequenceInOrder {
		t.Fatalf("the parameters are %+v", p)
	}
}

// fromTranscript makes a script of the requests of a transcript.
func fromTranscript(transcript string) []byte {
	var requests [][]byte
	var pairs []string
	flags, taking := byte(0), false
	end := func() {
		if taking {
			requests = append(requests, scripted(flags, pairs...))
		}
		pairs, taking = nil, false
	}
	for line := range strings.Lines(transcript) {
		line = strings.TrimSuffix(line, "\n")
		if strings.ContainsAny(line[:1], "><=#") {
			end()
			if taking = line[0] == '>'; taking {
				flags = 0
				for _, c := range line[1:] {
					switch c {
					case 'T':
						flags |= 0x80
					case 'C':
						flags |= 0x40
					}
				}
				csg, nsg, _ := strings.Cut(line[strings.LastIndexByte(line, ' ')+1:], ">")
				flags |= (csg[0] & 3) << 2
				if nsg != "" {
					flags |= nsg[0] & 3
				}
			}
		} else if taking {
			pairs = append(pairs, line)
		}
	}
	end()
	return script(requests...)
}

// FuzzCHAP answers a challenge with anything: only the right secret is right, and a proof is given only then.
func FuzzCHAP(f *testing.F) {
	f.Add("5", "vm-1", "0x00", "", "")
	f.Add("8,7,6,5", "vm-1", "right", "200", "0x000102030405060708090a0b0c0d0e0f")
	f.Add("7", "vm-1", "right", "0xff", "0bAAECAwQFBgcICQoLDA0ODw==")
	f.Add("6", "", "right", "1", "")
	f.Fuzz(func(t *testing.T, offer, name, response, identifier, challenge string) {
		a, ok := chooseAlgorithm(offer, false)
		if !ok {
			return
		}
		e, err := newExchange(a, &counting{})
		if err != nil {
			t.Fatal(err)
		}
		credential := newKnown(CHAPRequired).credential
		right := a.response(e.identifier, credential.Secret, e.challenge)
		if response == "right" {
			response = "0x" + hex.EncodeToString(right)
		}
		keys := map[string]string{keyName: name, keyResponse: response}
		if identifier != "" {
			keys[keyIdentifier] = identifier
		}
		if challenge != "" {
			keys[keyChallenge] = challenge
		}
		got, err := e.parse(keys)
		if err != nil {
			return
		}
		proof, err := e.verify(got, credential, name == chapName)
		if passed := err == nil; passed != (name == chapName && bytes.Equal(got.response, right)) {
			t.Fatalf("name %q, response %q: %v", name, response, err)
		}
		if len(proof) > 0 && (err != nil || !got.mutual || len(got.challenge) < minChallenge || bytes.Equal(got.challenge, e.challenge)) {
			t.Fatalf("a proof was given: %v", proof)
		}
	})
}

// FuzzText sends any text requests: nothing panics, and only a length that the RFC allows is taken.
func FuzzText(f *testing.F) {
	f.Add(script(scripted(0x80, "SendTargets=All"), scripted(0x80)), true)
	f.Add(script(scripted(0x40, "MaxRecvDataSegmentLength=512"), scripted(0x80, "X-a=1")), false)
	f.Fuzz(func(t *testing.T, input []byte, discovery bool) {
		c := converse(t, discovery, targets(3))
		c.result.Params.MaxRecvDataSegmentLength = 512
		for len(input) >= 3 {
			n := min(int(input[1])<<8|int(input[2]), len(input)-3)
			req := pdu.Text{Final: input[0]&0x80 != 0, Continue: input[0]&0x40 != 0, InitiatorTaskTag: 1, TargetTransferTag: c.tag}
			if input[0]&1 != 0 {
				req.TargetTransferTag = pdu.ReservedTag
			}
			if req.Final && req.Continue {
				return // pdu.Rules.Check refuses it
			}
			limit := c.result.Params.MaxRecvDataSegmentLength
			r := c.sayText(req, input[3:3+n])
			input = input[3+n:]
			if len(r.Text) > limit || (r.Reject == 0) != (r.Err == nil) {
				t.Fatalf("%+v", r)
			}
			if now := c.result.Params.MaxRecvDataSegmentLength; now < 512 || now > pdu.MaxDataSegmentLength || (now != limit) != r.Changed {
				t.Fatalf("MaxRecvDataSegmentLength is %d", now)
			}
		}
	})
}
