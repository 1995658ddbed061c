package access

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

func TestMay(t *testing.T) {
	limited := []string{"/info", "/cloudinit"}
	tests := []struct {
		name   string
		caller *Caller
		least  Role
		path   string
		want   fault.Code
	}{
		{"access control is off", nil, Operator, "/tokens", ""},
		{"nobody on an open path", &Caller{}, Anonymous, "/", ""},
		{"nobody", &Caller{}, Reader, "/info", fault.Unauthorized},
		{"the role itself", &Caller{Role: Reader}, Reader, "/info", ""},
		{"a greater role", &Caller{Role: Operator}, Reader, "/info", ""},
		{"a lesser role", &Caller{Role: User}, Orchestrator, "/info", fault.NotAllowed},
		{"a limited token", &Caller{Role: User, Paths: limited}, User, "/info", ""},
		{"below its limits", &Caller{Role: User, Paths: limited}, User, "/cloudinit/create", ""},
		{"outside of them", &Caller{Role: User, Paths: limited}, User, "/create", fault.NotAllowed},
		{"beside them", &Caller{Role: User, Paths: limited}, User, "/information", fault.NotAllowed},
		{"limited, on an open path", &Caller{Role: User, Paths: limited}, Anonymous, "/", ""},
		{"limited to nothing", &Caller{Role: Operator, Paths: []string{}}, User, "/info", fault.NotAllowed},
		{"limited, and the role is too low", &Caller{Role: Reader, Paths: limited}, User, "/info", fault.NotAllowed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.caller.May(tt.least, tt.path)
			if tt.want == "" && err != nil || tt.want != "" && !fault.Is(err, tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestWho(t *testing.T) {
	al, other := client(t, alice), volume.Client{}
	user := &Caller{Role: User, Identity: al}
	if !user.Is(&al) || user.Is(&other) || user.Is(nil) {
		t.Error("a user is itself, and nobody else")
	}
	for _, c := range []*Caller{nil, {Role: Orchestrator}, {Role: Operator}} {
		if c.Who() != nil || !c.Is(&al) || !c.Is(nil) {
			t.Errorf("%+v acts for everybody", c)
		}
	}
	if nobody := (&Caller{}); nobody.Who() == nil || nobody.Is(&al) {
		t.Error("nobody acts for somebody")
	}
	if got := CallerOf(WithCaller(t.Context(), user)); got != user || CallerOf(t.Context()) != nil {
		t.Errorf("%+v", got)
	}
	if c := (&Caller{Pools: []string{"a"}}); !c.Uses("a") || c.Uses("b") || !(*Caller)(nil).Uses("b") || !user.Uses("b") {
		t.Error("pools")
	}
}

func TestRoles(t *testing.T) {
	for r := Reader; r <= Operator; r++ {
		text, _ := r.MarshalText()
		if got, err := ParseRole(string(text)); err != nil || got != r {
			t.Errorf("%s is read as %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "anonymous", "unknown", "Operator", "root"} {
		if got, err := ParseRole(text); !fault.Is(err, fault.BadRequest) || got != Anonymous {
			t.Errorf("%q is read as %v", text, got)
		}
	}
	if got := (Operator + 1).String(); got != "unknown" || Role(-1).String() != "unknown" {
		t.Errorf("%s", got)
	}
}

// TestGone: a caller is gone when what it came with expired or was revoked, and not before.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := open(t, openState(t))
		control := NewControl(tokens, nil)
		_, lasting := create(t, tokens, Token{Name: "lasting", Role: User})
		short, expiring := create(t, tokens, Token{Name: "expiring", Role: User, Expires: time.Now().Add(time.Hour)})
		revoked, leaked := create(t, tokens, Token{Name: "leaked", Role: Operator})
		callers := map[string]*Caller{"nobody was asked": nil, "anonymous": {}}
		for name, text := range map[string]string{"lasting": lasting, "expiring": expiring, "leaked": leaked} {
			c, err := control.Caller(from("192.0.2.1:1", text))
			if err != nil {
				t.Fatal(err)
			}
			callers[name] = c
		}
		bearer, err := ofCertificate(&x509.Certificate{
			NotAfter: time.Now().Add(2 * time.Hour), Subject: pkix.Name{CommonName: alice},
		}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		callers["certificate"] = bearer
		gone := func(want ...string) {
			t.Helper()
			for name, c := range callers {
				if c.Gone() != slices.Contains(want, name) {
					t.Errorf("%s is gone: %t", name, c.Gone())
				}
			}
		}
		gone()
		if err := tokens.Revoke(revoked.ID); err != nil {
			t.Fatal(err)
		}
		gone("leaked")
		time.Sleep(time.Until(short.Expires))
		gone("leaked", "expiring")
		time.Sleep(time.Hour)
		gone("leaked", "expiring", "certificate")
	})
}
