package login

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"elstore/export/iscsi/pdu"
)

// TestKnownAnswers has responses that another implementation computed: identifier 201, challenge 10 to 2f.
func TestKnownAnswers(t *testing.T) {
	challenge := make([]byte, 32)
	for i := range challenge {
		challenge[i] = byte(16 + i)
	}
	want := map[uint64]string{
		5: "95f272b81ee59bc8c41ea3a7c79e56ca",
		6: "908da298916e8f88ab432a2b83b59fc58abbed2f",
		7: "20b95442ed71e831f4ef8abbcb05706df9fafa9002ba7c54e596cfe76d741d73",
		8: "a2d7e996393e0a3f75118abdc254b27fc1b96fe333c23cf8325511638d3d5500",
	}
	for _, a := range algorithms {
		if got := hex.EncodeToString(a.response(201, NewSecret(chapSecret), challenge)); got != want[a.number] {
			t.Errorf("algorithm %d answers %s, want %s", a.number, got, want[a.number])
		}
	}
}

func TestChooseAlgorithm(t *testing.T) {
	tests := []struct {
		offer string
		noMD5 bool
		want  uint64 // 0 for none
	}{
		{"5", false, 5},
		{"5,6", false, 6},
		{"6,5", false, 6},
		{"5,7,6", false, 7},
		{"5,6,7,8", false, 8},
		{"8", false, 8},
		{"0x8", false, 8},
		{"99,5", false, 5},
		{"5", true, 0},
		{"5,6", true, 6},
		{"", false, 0},
		{"4", false, 0},
		{"MD5", false, 0},
		{"5;6", false, 0},
		{"261", false, 0},
	}
	for _, tt := range tests {
		a, ok := chooseAlgorithm(tt.offer, tt.noMD5)
		if a.number != tt.want || ok != (tt.want != 0) {
			t.Errorf("of %q, MD5 off %t, %d was chosen, want %d", tt.offer, tt.noMD5, a.number, tt.want)
		}
	}
}

// authenticate runs CHAP with an algorithm and further keys in the answer.
func authenticate(t *testing.T, k *known, algorithm string, keys ...string) (*initiator, Reply) {
	t.Helper()
	i := newInitiator(t, Config{Authority: k})
	i.send("0", who("AuthMethod=CHAP")...)
	if r, _ := i.send("0", "CHAP_A="+algorithm); r.Outcome != Continue {
		t.Fatal(r.Err)
	}
	r, _ := i.send("T 0>1", append([]string{"CHAP_N=" + chapName}, keys...)...)
	return i, r
}

func TestEveryAlgorithm(t *testing.T) {
	for _, algorithm := range []string{"5", "6", "7", "8"} {
		i, r := authenticate(t, newKnown(CHAPRequired), algorithm, rightAnswer, "CHAP_I=255", goodProof)
		if !r.Response.Transit {
			t.Fatalf("algorithm %s: %v", algorithm, r.Err)
		}
		i.checkProof()
		if i, r = authenticate(t, newKnown(CHAPRequired), algorithm, wrongAnswer); r.Response.Status != pdu.AuthenticationFailure {
			t.Errorf("algorithm %s: a wrong answer is answered with %s", algorithm, describe(r))
		}
		size := map[string]int{"5": 16, "6": 20, "7": 32, "8": 32}[algorithm]
		if got := (len(i.got["CHAP_C"]) - 2) / 2; got != size {
			t.Errorf("algorithm %s has a challenge of %d bytes, want %d", algorithm, got, size)
		}
	}
}

// TestEncodings: answers and challenges come in every form that the RFC has.
func TestEncodings(t *testing.T) {
	forms := map[string]func([]byte) string{
		"hexadecimal":           func(b []byte) string { return "0x" + hex.EncodeToString(b) },
		"capitals":              func(b []byte) string { return "0X" + strings.ToUpper(hex.EncodeToString(b)) },
		"base64":                func(b []byte) string { return "0b" + base64.StdEncoding.EncodeToString(b) },
		"base64, not padded":    func(b []byte) string { return "0B" + base64.RawStdEncoding.EncodeToString(b) },
		"an odd digit in front": func(b []byte) string { return "0x" + strings.TrimPrefix(hex.EncodeToString(b), "0") },
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			i := newInitiator(t, Config{Authority: newKnown(CHAPRequired)})
			i.send("0", who("AuthMethod=CHAP")...)
			i.send("0", "CHAP_A=5")
			response := chapResponse(t, "5", i.got["CHAP_I"], chapSecret, i.got["CHAP_C"])
			challenge := append([]byte{0x0a}, response...)
			r, _ := i.send("T 0>1", "CHAP_N="+chapName, "CHAP_R="+form(response), "CHAP_I=0xC8", "CHAP_C="+form(challenge))
			if r.Outcome != Continue || !r.Response.Transit {
				t.Fatalf("answered with %s: %v", describe(r), r.Err)
			}
			i.sent["CHAP_C"] = "0x" + hex.EncodeToString(challenge)
			i.checkProof()
		})
	}
}

func TestMutual(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Credential)
		err    error
	}{
		{"no secret of ours", func(c *Credential) { c.MutualSecret = Secret{} }, errCHAPNoMutual},
		{"one secret for both", func(c *Credential) { c.MutualSecret = NewSecret(chapSecret) }, errCHAPOneSecret},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKnown(CHAPRequired)
			tt.change(&k.credential)
			_, r := authenticate(t, k, "7", rightAnswer, "CHAP_I=1", goodProof)
			if r.Response.Status != pdu.AuthenticationFailure || !errors.Is(r.Err, tt.err) || len(r.Text) > 0 {
				t.Errorf("answered with %s: %v", describe(r), r.Err)
			}
			if _, r = authenticate(t, k, "7", rightAnswer); !r.Response.Transit { // who does not ask gets in
				t.Errorf("one way: %v", r.Err)
			}
		})
	}
}

// TestNoSecret: an attachment without a secret lets nobody in, not even with an empty one.
func TestNoSecret(t *testing.T) {
	k := newKnown(CHAPRequired)
	k.credential.Secret = Secret{}
	for _, secret := range []string{"", decoy.Reveal()} {
		if _, r := authenticate(t, k, "7", "CHAP_R=@chap("+secret+")"); r.Response.Status != pdu.AuthenticationFailure {
			t.Errorf("secret %q is answered with %s", secret, describe(r))
		}
	}
}

// TestUnknownNameLooksLikeAWrongSecret, in the response and in the log.
func TestUnknownNameLooksLikeAWrongSecret(t *testing.T) {
	_, wrong := authenticate(t, newKnown(CHAPRequired), "7", wrongAnswer, "CHAP_I=1", goodProof)
	i := newInitiator(t, Config{Authority: newKnown(CHAPRequired)})
	i.send("0", who("AuthMethod=CHAP")...)
	i.send("0", "CHAP_A=7")
	unknown, _ := i.send("T 0>1", "CHAP_N=nobody", wrongAnswer, "CHAP_I=1", goodProof)
	if wrong.Response != unknown.Response || string(wrong.Text) != string(unknown.Text) {
		t.Errorf("a wrong secret gets %+v, an unknown name %+v", wrong.Response, unknown.Response)
	}
	if !errors.Is(wrong.Err, errCHAPWrong) || !errors.Is(unknown.Err, errCHAPWrong) {
		t.Errorf("the log says %v and %v", wrong.Err, unknown.Err)
	}
}

// TestChallengesDiffer: one that came before would let an old answer in.
func TestChallengesDiffer(t *testing.T) {
	c, err := Config{Authority: newKnown(CHAPRequired)}.Check()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 100 {
		e, err := newExchange(algorithms[0], c.Rand)
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(e.challenge)] {
			t.Fatal("a challenge came twice")
		}
		seen[string(e.challenge)] = true
	}
}

func TestNoChance(t *testing.T) {
	broken := errors.New("no entropy")
	i := newInitiator(t, Config{Authority: newKnown(CHAPRequired), Rand: iotest.ErrReader(broken)})
	i.send("0", who("AuthMethod=CHAP")...)
	if r, _ := i.send("0", "CHAP_A=5"); r.Outcome != Failed || r.Response.Status != pdu.TargetError || !errors.Is(r.Err, broken) {
		t.Errorf("answered with %s: %v", describe(r), r.Err)
	}
}

// TestReflection plays the attack: what the target asks on one connection is asked of it on another. It answers
// only whoever has proved to know the secret, and with another one.
func TestReflection(t *testing.T) {
	k := newKnown(CHAPRequired)
	victim := newInitiator(t, Config{Authority: k})
	victim.send("0", who("AuthMethod=CHAP")...)
	victim.send("0", "CHAP_A=5")
	oracle := newInitiator(t, Config{Authority: k, Rand: &counting{n: 100}})
	oracle.send("0", who("AuthMethod=CHAP")...)
	oracle.send("0", "CHAP_A=5")
	// The attacker lets a real initiator answer the oracle, and slips the victim's challenge in as its own.
	if r, _ := oracle.send("T 0>1", "CHAP_N="+chapName, rightAnswer, "CHAP_I="+victim.got["CHAP_I"], "CHAP_C="+victim.got["CHAP_C"]); !r.Response.Transit {
		t.Fatal(r.Err)
	}
	oracle.checkProof()
	if r, _ := victim.send("T 0>1", "CHAP_N="+chapName, "CHAP_R="+oracle.got["CHAP_R"]); r.Response.Status != pdu.AuthenticationFailure {
		t.Errorf("the target's own answer is answered with %s", describe(r))
	}
}
