package access

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

func openState(t *testing.T) *os.Root {
	t.Helper()
	state, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { state.Close() })
	return state
}

func open(t *testing.T, state *os.Root) *Tokens {
	t.Helper()
	tokens, err := OpenTokens(state)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func create(t *testing.T, tokens *Tokens, n Token) (Token, string) {
	t.Helper()
	if n.Name == "" {
		n.Name = "test"
	}
	made, text, err := tokens.Create(n)
	if err != nil {
		t.Fatal(err)
	}
	return made, text
}

func try(tokens *Tokens, text string) error {
	id, s, ok := parseToken(text)
	if !ok {
		return os.ErrInvalid
	}
	_, err := tokens.check(id, s)
	return err
}

func client(t *testing.T, text string) volume.Client {
	t.Helper()
	c, err := volume.ParseClient(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTokensAreKeptHashed(t *testing.T) {
	state := openState(t)
	tokens := open(t, state)
	made, text := create(t, tokens, Token{Name: "ci", Role: User, Identity: client(t, strings.Repeat("ab", 16)), Rate: 5, Paths: []string{"/info"}, Pools: []string{"fast"}})
	if err := try(tokens, text); err != nil {
		t.Error(err)
	}
	data, err := state.ReadFile(tokensFile)
	if err != nil {
		t.Fatal(err)
	}
	if secret := text[len(prefix)+idDigits+1:]; bytes.Contains(data, []byte(secret)) {
		t.Errorf("the secret is in the file: %s", data)
	}
	if info, err := state.Stat(tokensFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	again := open(t, state)
	if err := try(again, text); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	list := again.List()
	if len(list) != 1 || list[0].ID != made.ID || list[0].Role != User || list[0].Identity != made.Identity || list[0].Rate != 5 ||
		list[0].Paths[0] != "/info" || list[0].Pools[0] != "fast" || !list[0].Created.Equal(made.Created) {
		t.Errorf("%+v is remembered as %+v", made, list)
	}
}

func TestRevokedAndForeignTokensAreRefused(t *testing.T) {
	state := openState(t)
	tokens := open(t, state)
	made, text := create(t, tokens, Token{Role: Operator})
	_, other := create(t, tokens, Token{Role: Operator})
	mixed := text[:len(prefix)+idDigits+1] + other[len(prefix)+idDigits+1:] // one's id with another's secret
	if err := try(tokens, mixed); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("mixed: %v", err)
	}
	for range 2 { // the second time it is revoked already
		if err := tokens.Revoke(made.ID); err != nil {
			t.Fatal(err)
		}
	}
	for name, store := range map[string]*Tokens{"now": tokens, "after a restart": open(t, state)} {
		if err := try(store, text); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("%s the revoked token: %v", name, err)
		}
		if err := try(store, other); err != nil {
			t.Errorf("%s the other token: %v", name, err)
		}
	}
}

func TestTokensExpire(t *testing.T) {
	state := openState(t)
	synctest.Test(t, func(t *testing.T) {
		tokens := open(t, state)
		_, text := create(t, tokens, Token{Role: Operator, Expires: time.Now().Add(time.Hour)})
		<-time.After(time.Hour - time.Nanosecond)
		if err := try(tokens, text); err != nil {
			t.Errorf("before: %v", err)
		}
		<-time.After(time.Nanosecond)
		if err := try(tokens, text); !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), "expired") {
			t.Errorf("after: %v", err)
		}
		id, s, _ := parseToken(text)
		s[0]++
		if _, err := tokens.check(id, s); strings.Contains(err.Error(), "expired") {
			t.Errorf("somebody without the secret is told %v", err)
		}
	})
}

func TestUsersHaveAnIdentity(t *testing.T) {
	tokens := open(t, openState(t))
	one, _ := create(t, tokens, Token{Role: User})
	two, _ := create(t, tokens, Token{Role: Reader})
	if one.Identity.IsZero() || two.Identity.IsZero() || one.Identity == two.Identity {
		t.Errorf("%v and %v", one.Identity, two.Identity)
	}
	if op, _ := create(t, tokens, Token{Role: Operator}); !op.Identity.IsZero() {
		t.Errorf("an operator is %v", op.Identity)
	}
}

func TestTokensThatCantBeMeant(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := map[string]Token{
		"no name":                     {Role: User},
		"a long name":                 {Name: long, Role: User},
		"a line break in the name":    {Name: "a\r\nb", Role: User},
		"no role":                     {Name: "a"},
		"a role that is none":         {Name: "a", Role: Operator + 1},
		"an operator with identity":   {Name: "a", Role: Operator, Identity: client(t, strings.Repeat("0b", 16))},
		"it is over":                  {Name: "a", Role: User, Expires: time.Now().Add(-time.Hour)},
		"a rate below nothing":        {Name: "a", Role: User, Rate: -1},
		"a rate that is no number":    {Name: "a", Role: User, Rate: math.NaN()},
		"a rate without end":          {Name: "a", Role: User, Rate: math.Inf(1)},
		"a path that is none":         {Name: "a", Role: User, Paths: []string{"info"}},
		"the root":                    {Name: "a", Role: User, Paths: []string{"/"}},
		"a path with a slash behind":  {Name: "a", Role: User, Paths: []string{"/info/"}},
		"a pool without a name":       {Name: "a", Role: User, Pools: []string{""}},
		"more paths than are allowed": {Name: "a", Role: User, Paths: make([]string, maxLimits+1)},
	}
	state := openState(t)
	tokens := open(t, state)
	for name, n := range tests {
		if _, _, err := tokens.Create(n); !fault.Is(err, fault.BadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list := tokens.List(); len(list) != 0 {
		t.Errorf("%v were made", list)
	}
}

func TestDamagedStoresAreRefused(t *testing.T) {
	sum := strings.Repeat("00", 32)
	tests := map[string]string{
		"no JSON":         "{",
		"another version": `{"version": 2, "tokens": []}`,
		"a short hash":    `{"version": 1, "tokens": [{"id": "a", "role": "user", "sha256": "00"}]}`,
		"a long hash":     `{"version": 1, "tokens": [{"id": "a", "role": "user", "sha256": "` + sum + `00"}]}`,
		"no hash":         `{"version": 1, "tokens": [{"id": "a", "role": "user"}]}`,
		"no role":         `{"version": 1, "tokens": [{"id": "a", "sha256": "` + sum + `"}]}`,
		"another role":    `{"version": 1, "tokens": [{"id": "a", "role": "root", "sha256": "` + sum + `"}]}`,
		"an id twice": `{"version": 1, "tokens": [{"id": "a", "role": "user", "sha256": "` + sum + `"},
			{"id": "a", "role": "user", "sha256": "` + sum + `"}]}`,
	}
	for name, text := range tests {
		state := openState(t)
		if err := state.WriteFile(tokensFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenTokens(state); !fault.Is(err, fault.StateUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAStoreThatCantBeWrittenChangesNothing(t *testing.T) {
	state := openState(t)
	tokens := open(t, state)
	made, text := create(t, tokens, Token{Role: Operator})
	state.Close()
	if _, _, err := tokens.Create(Token{Name: "a", Role: User}); !fault.Is(err, fault.StateUnavailable) {
		t.Errorf("create: %v", err)
	}
	if err := tokens.Revoke(made.ID); !fault.Is(err, fault.StateUnavailable) {
		t.Errorf("revoke: %v", err)
	}
	if err := try(tokens, text); err != nil || len(tokens.List()) != 1 {
		t.Errorf("%v, %v", err, tokens.List())
	}
}
