package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"elstore/volume/fault"
)

const alice = "ffffffffffffffffffffffffffffffff"

// from is a request from an address with a credential, or without one.
func from(remote, credential string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.RemoteAddr = remote + ":1000"
	if credential != "" {
		r.Header.Set("Authorization", credential)
	}
	return r
}

func TestCallers(t *testing.T) {
	tokens := open(t, openState(t))
	_, operator := create(t, tokens, Token{Name: "op", Role: Operator})
	_, user := create(t, tokens, Token{Name: "al", Role: User, Identity: client(t, alice)})
	c := NewControl(tokens, nil)
	for name, tt := range map[string]struct {
		header string
		role   Role
		who    string
		caller string
	}{
		"nobody":              {"", Anonymous, "", ""},
		"an operator":         {"Bearer " + operator, Operator, "everybody", "op"},
		"the key alone":       {operator, Operator, "everybody", "op"},
		"a user":              {"Bearer " + user, User, alice, "al"},
		"a user's key alone":  {user, User, alice, "al"},
		"a lower-case scheme": {"bearer " + user, User, alice, "al"},
	} {
		got, err := c.Caller(from("192.0.2.1", tt.header))
		if err != nil || got.Role != tt.role || got.Name != tt.caller {
			t.Errorf("%s: %+v, %v", name, got, err)
			continue
		}
		switch who := got.Who(); {
		case tt.who == "everybody" && who != nil, tt.who == alice && (who == nil || who.String() != alice), tt.who == "" && (who == nil || !who.IsZero()):
			t.Errorf("%s is %v", name, who)
		}
	}
	bad := map[string]string{
		"cut off": user[:len(user)-1], "doubled": user + user, "two": user + " " + user, "in upper case": strings.ToUpper(user), "a JWT": "a.b.c",
		"with a byte changed": user[:len(user)-1] + flip(user[len(user)-1]), "of nobody": format("0123456789abcdef", secret{}), "a word": "secret",
	}
	for name, text := range bad {
		got, err := c.Caller(from("192.0.2."+fmt.Sprint(len(name)+2), "Bearer "+text))
		if got != nil || !fault.Is(err, fault.Unauthorized) {
			t.Errorf("%s: %+v, %v", name, got, err)
			continue
		}
		if strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error shows it: %v", name, err)
		}
	}
}

func flip(c byte) string {
	if c == '0' {
		return "1"
	}
	return "0"
}

func waitOf(err error) time.Duration {
	var w interface{ RetryAfter() time.Duration }
	if !fault.Is(err, fault.RateLimited) || !errors.As(err, &w) {
		return 0
	}
	return w.RetryAfter()
}

// TestFailuresDelay: wrong secrets of one token delay that token's bearers at that address, and nobody else.
func TestFailuresDelay(t *testing.T) {
	state := openState(t)
	synctest.Test(t, func(t *testing.T) {
		tokens := open(t, state)
		_, good := create(t, tokens, Token{Role: Operator})
		_, other := create(t, tokens, Token{Role: Operator})
		c := NewControl(tokens, nil)
		wrong := good[:len(good)-1] + flip(good[len(good)-1])
		try := func(remote, text string) error {
			_, err := c.Caller(from(remote, text))
			return err
		}
		for n := range freeFailures + 1 {
			if err := try("192.0.2.1", wrong); !fault.Is(err, fault.Unauthorized) {
				t.Fatalf("%d: %v", n, err)
			}
		}
		for delay := firstDelay; delay < 4*longestDelay; delay *= 2 {
			want := min(delay, longestDelay)
			if got := waitOf(try("192.0.2.1", wrong)); got != want {
				t.Fatalf("told to wait %v, want %v", got, want)
			}
			if got := waitOf(try("192.0.2.1", good)); got != want {
				t.Fatalf("a guess that is right may come at once: %v", got)
			}
			for who, err := range map[string]error{"another token there": try("192.0.2.1", other), "the token elsewhere": try("192.0.2.2", good)} {
				if err != nil {
					t.Fatalf("%s: %v", who, err)
				}
			}
			<-time.After(want)
			if err := try("192.0.2.1", wrong); !fault.Is(err, fault.Unauthorized) {
				t.Fatalf("after %v: %v", want, err)
			}
		}
		<-time.After(longestDelay)
		if err := try("192.0.2.1", good); err != nil {
			t.Errorf("later: %v", err)
		}
		<-time.After(forgetAfter + 1)
		if err := try("192.0.2.1", wrong); !fault.Is(err, fault.Unauthorized) || try("192.0.2.1", good) != nil {
			t.Errorf("much later: %v", err)
		}
	})
}

// TestGarbageDelaysGarbage: what is no token of ours is told to come later, whoever has one is let in.
func TestGarbageDelaysGarbage(t *testing.T) {
	state := openState(t)
	synctest.Test(t, func(t *testing.T) {
		tokens := open(t, state)
		_, good := create(t, tokens, Token{Role: Operator})
		c := NewControl(tokens, nil)
		var last error
		for n := range freeFailures + 2 {
			_, last = c.Caller(from("[2001:db8::1]", []string{"garbage", "Basic YTpi", format("0123456789abcdef", secret{byte(n)})}[n%3]))
		}
		if waitOf(last) != firstDelay {
			t.Errorf("%v", last)
		}
		if _, err := c.Caller(from("[2001:db8::1:2:3:4]", "garbage")); !fault.Is(err, fault.RateLimited) {
			t.Errorf("an address of the same network: %v", err)
		}
		if _, err := c.Caller(from("[2001:db8:0:1::1]", "garbage")); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("another network: %v", err)
		}
		if _, err := c.Caller(from("[2001:db8::1]", good)); err != nil {
			t.Errorf("a token: %v", err)
		}
		if caller, err := c.Caller(from("[2001:db8::1]", "")); err != nil || caller.Role != Anonymous {
			t.Errorf("nobody: %v", err)
		}
	})
}

func TestFailuresAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailures()
		for n := range 3 * maxFailures {
			f.failed(fmt.Sprint(n))
			<-time.After(time.Microsecond)
		}
		if len(f.byKey) != maxFailures || f.byKey[fmt.Sprint(3*maxFailures-1)] == nil || f.byKey["0"] != nil {
			t.Errorf("%d are remembered", len(f.byKey))
		}
		<-time.After(forgetAfter + time.Second)
		f.failed("new")
		if len(f.byKey) != 1 {
			t.Errorf("%d are remembered later", len(f.byKey))
		}
	})
}

func TestBudget(t *testing.T) {
	state := openState(t)
	synctest.Test(t, func(t *testing.T) {
		tokens := open(t, state)
		_, slow := create(t, tokens, Token{Role: Operator, Rate: 0.5})
		_, quick := create(t, tokens, Token{Role: Operator, Rate: 10})
		c := NewControl(tokens, nil)
		many := func(text string, n int) (let int, wait time.Duration) {
			for range n {
				if _, err := c.Caller(from("192.0.2.1", text)); err != nil {
					wait = waitOf(err)
				} else {
					let++
				}
			}
			return let, wait
		}
		if let, wait := many(slow, 5); let != 1 || wait != 2*time.Second {
			t.Errorf("one in two seconds: %d, %v", let, wait)
		}
		if let, wait := many(quick, 20); let != 10 || wait != 100*time.Millisecond {
			t.Errorf("ten a second: %d, %v", let, wait)
		}
		<-time.After(time.Second)
		if let, _ := many(slow, 5); let != 0 {
			t.Errorf("one in two seconds, a second later: %d", let)
		}
		create(t, tokens, Token{Role: User}) // the store written anew must not give new budgets
		<-time.After(500 * time.Millisecond)
		if let, _ := many(quick, 20); let != 10 {
			t.Errorf("ten a second, later: %d", let)
		}
		if let, _ := many(quick, 20); let != 0 {
			t.Errorf("ten a second, at once again: %d", let)
		}
	})
}

func TestCertificates(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		cn    string
		units []string
		over  bool
		role  Role
		bad   bool
	}{
		"a user":                 {cn: alice, role: User},
		"a user as it is said":   {cn: alice, units: []string{"elstore-user"}, role: User},
		"a dashed identity":      {cn: "ffffffff-ffff-ffff-ffff-ffffffffffff", role: User},
		"an operator":            {cn: "Jo", units: []string{"elstore-operator"}, role: Operator},
		"a unit of another's":    {cn: alice, units: []string{"operator", "sales"}, role: User},
		"a reader":               {cn: alice, units: []string{"elstore-reader"}, role: Reader},
		"no identity":            {cn: "Jo", bad: true},
		"nothing at all":         {bad: true},
		"a role that is none":    {cn: alice, units: []string{"elstore-root"}, bad: true},
		"two roles":              {cn: alice, units: []string{"elstore-user", "elstore-operator"}, bad: true},
		"nobody as a role":       {cn: alice, units: []string{"elstore-anonymous"}, bad: true},
		"a certificate that was": {cn: alice, over: true, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			cert := &x509.Certificate{Subject: pkix.Name{CommonName: tt.cn, OrganizationalUnit: tt.units}, NotAfter: now.Add(time.Hour)}
			if tt.over {
				cert.NotAfter = now.Add(-time.Second)
			}
			r := from("192.0.2.1", "")
			r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{cert}}}
			got, err := NewControl(open(t, openState(t)), nil).Caller(r)
			switch {
			case tt.bad && !fault.Is(err, fault.Unauthorized), !tt.bad && (err != nil || got.Role != tt.role):
				t.Errorf("%+v, %v", got, err)
			case !tt.bad && tt.role <= User && got.Identity.String() != alice:
				t.Errorf("is %s", got.Identity)
			}
		})
	}
	r := from("192.0.2.1", "")
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{CommonName: alice}, NotAfter: now.Add(time.Hour)}}}
	if got, err := NewControl(open(t, openState(t)), nil).Caller(r); err != nil || got.Role != Anonymous {
		t.Errorf("a certificate that nobody verified: %+v, %v", got, err)
	}
	r.TLS.VerifiedChains = [][]*x509.Certificate{r.TLS.PeerCertificates}
	r.Header.Set("Authorization", "Bearer wrong")
	if got, err := NewControl(open(t, openState(t)), nil).Caller(r); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("a wrong token beside a good certificate: %+v, %v", got, err)
	}
}

// verifier says of every token what it is told to.
type verifier struct {
	caller *Caller
	err    error
}

func (v verifier) Verify(context.Context, string) (*Caller, error) { return v.caller, v.err }

func TestOtherAuthorities(t *testing.T) {
	tokens := open(t, openState(t))
	other := &Caller{Role: User, Name: "other"}
	if got, err := NewControl(tokens, verifier{caller: other}).Caller(from("192.0.2.1", "Bearer a.b.c")); err != nil || got != other {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := NewControl(tokens, verifier{caller: other}).Caller(from("192.0.2.1", "Bearer a.b")); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("what is no JWT: %v", err)
	}
	down := NewControl(tokens, verifier{err: fault.Errorf(fault.StateUnavailable, "the authority does not answer")})
	wrong := NewControl(tokens, verifier{err: fault.Errorf(fault.Unauthorized, "wrong")})
	for range freeFailures + 1 {
		_, _ = down.Caller(from("192.0.2.1", "Bearer a.b.c"))
		_, _ = wrong.Caller(from("192.0.2.1", "Bearer a.b.c"))
	}
	if _, err := down.Caller(from("192.0.2.1", "Bearer a.b.c")); !fault.Is(err, fault.StateUnavailable) {
		t.Errorf("an authority that is down: %v", err)
	}
	if _, err := wrong.Caller(from("192.0.2.1", "Bearer a.b.c")); !fault.Is(err, fault.RateLimited) {
		t.Errorf("wrong ones again and again: %v", err)
	}
}
