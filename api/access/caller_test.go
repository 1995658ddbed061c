package access

import (
	"testing"

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
