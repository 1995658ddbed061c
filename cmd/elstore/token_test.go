package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var tokenForm = regexp.MustCompile(`^elst_[0-9a-f]{16}_[0-9a-f]{64}\n`)

// TestFirstToken: a token can be made before there is a server, and while one has the directory it can't.
func TestFirstToken(t *testing.T) {
	state := filepath.Join(t.TempDir(), ".elstore")
	out := succeeds(t, "token", "create", "admin", "--role", "operator", "--state", state)
	if !tokenForm.MatchString(out) || !strings.Contains(out, "(admin), of the role operator. It is not shown again.") {
		t.Errorf("%s", out)
	}
	out = succeeds(t, "token", "create", "ci", "--identity", bob, "--expires", "2100-01-01", "--rate", "5", "--path", "/info", "--pool", "fast", "--state", state, "-q")
	if !tokenForm.MatchString(out) || strings.Count(out, "\n") != 1 {
		t.Errorf("%s", out)
	}
	list := succeeds(t, "token", "list", "--state", state)
	for _, want := range []string{"admin", "operator", "never", "ci", "user", bob, "2100-01-01 00:00", "/info pool fast 5/s"} {
		if !strings.Contains(list, want) {
			t.Errorf("%q is not in\n%s", want, list)
		}
	}
	if json := succeeds(t, "token", "list", "--state", state, "--json"); strings.Contains(list+json, out[22:30]) || !strings.Contains(json, `"role":"operator"`) {
		t.Errorf("%s", json)
	}
	id := out[5:21]
	if said := fails(t, exitUsage, "token", "revoke", strings.TrimSpace(out), "--state", state); strings.Contains(said, out[22:30]) {
		t.Errorf("the token is shown: %s", said)
	}
	succeeds(t, "token", "revoke", id, "--state", state)
	if ids := succeeds(t, "token", "list", "--state", state, "-q"); strings.Contains(ids, id) || strings.Count(ids, "\n") != 1 {
		t.Errorf("%s", ids)
	}
	held, err := openState(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	defer held.close()
	if said := fails(t, exitFailure, "token", "list", "--state", state); !strings.Contains(said, "another elstore server uses") {
		t.Errorf("%s", said)
	}
}

func TestTokensThatCantBeMade(t *testing.T) {
	state := t.TempDir()
	for _, args := range [][]string{
		{},
		{"a", "b"},
		{"a", "--role", "root"},
		{"a", "--expires", "yesterday"},
		{"a", "--expires", "2001-01-01"},
		{"a", "--expires", "-1h"},
		{"a", "--expires", "0d"},
		{"a", "--identity", "bob"},
		{"a", "--role", "operator", "--identity", bob},
		{"a", "--rate", "-1"},
		{"a", "--path", "info"},
		{"a\nb"},
	} {
		fails(t, exitUsage, append([]string{"token", "create", "--state", state}, args...)...)
	}
	if list := succeeds(t, "token", "list", "--state", state, "-q"); list != "" {
		t.Errorf("%s", list)
	}
}

func TestParseExpiry(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"90d": "2027-02-19T12:00:00Z", "12h": "2026-11-22T00:00:00Z", "90m": "2026-11-21T13:30:00Z", "2027-01-31": "2027-01-31T00:00:00Z",
		"2027-01-31T12:00:00+01:00": "2027-01-31T11:00:00Z",
	} {
		if got, err := parseExpiry(text, now); err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v; want %s", text, got, err, want)
		}
	}
}

func TestTokensOfAServer(t *testing.T) {
	s := newScript(t, map[string][]reply{
		"POST /tokens":                    {ok(`{"id": "0123456789abcdef", "name": "ci", "role": "user", "identity": "` + bob + `", "created": "2026-11-21T12:00:00Z", "token": "elst_x"}`)},
		"GET /tokens":                     {ok(`[{"id": "0123456789abcdef", "name": "ci", "role": "user", "created": "2026-11-21T12:00:00Z", "expires": "2001-01-01T00:00:00Z"}]`)},
		"DELETE /tokens/0123456789abcdef": {ok(`{"id": "0123456789abcdef"}`)},
		"GET /audit?limit=100": {ok(`[{"at": "2026-11-21T12:00:00Z", "request_id": "r", "who": "ci\u001b[2J", "role": "user", "remote": "192.0.2.1:7", "method": "POST",
			"route": "/create", "about": ["` + webID + `"], "status": 403, "code": "NotAllowed"}]`)},
		"GET /audit?about=" + webID + "&limit=5&refused=true&who=ci": {ok(`[]`)},
	})
	if out := succeeds(t, "token", "create", "ci", "--rate", "2"); !strings.Contains(out, "elst_x\nThis is token 0123456789abcdef (ci), of the role user, for client "+bob) {
		t.Errorf("%s", out)
	}
	if got := s.asked[0]; got != `POST /tokens {"name":"ci","role":"user","requests_per_second":2}` {
		t.Errorf("%s", got)
	}
	if out := succeeds(t, "token", "list"); !strings.Contains(out, "has expired") {
		t.Errorf("%s", out)
	}
	if out := succeeds(t, "token", "revoke", "0123456789abcdef"); out != "Revoked token 0123456789abcdef.\n" {
		t.Errorf("%s", out)
	}
	out := succeeds(t, "audit")
	if !strings.Contains(out, "POST /create") || !strings.Contains(out, "403 NotAllowed") || strings.Contains(out, "\x1b") {
		t.Errorf("%q", out)
	}
	if out := succeeds(t, "audit", "--about", webID, "--who", "ci", "--refused", "--limit", "5", "--json"); out != "[]\n" {
		t.Errorf("%s", out)
	}
}

// TestWhoOneIsByAToken: a token says who one is, and only what it leaves open has to be said.
func TestWhoOneIsByAToken(t *testing.T) {
	s := newScript(t, map[string][]reply{
		"GET /whoami": {ok(`{"access_control": true, "role": "user", "identity": "` + bob + `"}`), ok(`{"access_control": true, "role": "operator", "identity": null}`)},
		"POST /trash": {ok(`[]`)},
	})
	t.Setenv("ELSTORE_TOKEN", " secret\n")
	succeeds(t, "trash", "list")
	succeeds(t, "trash", "list")
	succeeds(t, "trash", "list", "--client", otherID)
	want := []string{
		"GET /whoami", `POST /trash {"client_uid":"` + bob + `"}`, "GET /whoami", `POST /trash {"client_uid":"` + anybody + `"}`,
		`POST /trash {"client_uid":"` + otherID + `"}`,
	}
	if strings.Join(s.asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(s.asked, "\n"))
	}
}

func TestWhereTheTokenIs(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, other := file("good", "from-file\n"), file("other", "from-env-file")
	tests := []struct {
		name              string
		flag, env, inFile string
		want              string
		bad               bool
	}{
		{name: "nowhere"},
		{name: "the flag wins", flag: good, env: "from-env", inFile: other, want: "from-file"},
		{name: "then the variable", env: "from-env", inFile: other, want: "from-env"},
		{name: "then the file", inFile: other, want: "from-env-file"},
		{name: "no file", flag: filepath.Join(dir, "none"), bad: true},
		{name: "an empty file", flag: file("empty", "\n"), bad: true},
		{name: "two words", flag: file("two", "secret secret"), bad: true},
		{name: "two lines", env: "secret\nsecret", bad: true},
		{name: "a large file", flag: file("large", strings.Repeat("s", maxSecretFile+1)), bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("ELSTORE_TOKEN", tt.env)
			t.Setenv("ELSTORE_TOKEN_FILE", tt.inFile)
			got, err := (&cli{tokenFile: tt.flag}).token()
			if (err != nil) != tt.bad || !tt.bad && got != tt.want {
				t.Errorf("%.40q, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows it: %v", err)
			}
		})
	}
}

func TestCert(t *testing.T) {
	dir := t.TempDir()
	out := succeeds(t, "cert", "localhost", "127.0.0.1", "--dir", dir, "--days", "2")
	if !strings.Contains(out, "for localhost, 127.0.0.1, good for 2 days") {
		t.Errorf("%s", out)
	}
	if info, err := os.Stat(filepath.Join(dir, keyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	first, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil {
		t.Fatal(err)
	}
	if said := fails(t, exitUsage, "cert", "localhost", "--dir", dir); !strings.Contains(said, "--replace") {
		t.Errorf("%s", said)
	}
	succeeds(t, "cert", "localhost", "--dir", dir, "--replace")
	if second, err := os.ReadFile(filepath.Join(dir, certFile)); err != nil || string(second) == string(first) {
		t.Errorf("not replaced, %v", err)
	}
	for _, args := range [][]string{{}, {"a b"}, {""}, {"host\n"}, {"localhost", "--days", "0"}, {strings.Repeat("a", 254)}} {
		fails(t, exitUsage, append([]string{"cert", "--dir", t.TempDir()}, args...)...)
	}
	fails(t, exitFailure, "cert", "localhost", "--dir", filepath.Join(dir, "none"))
}

func TestAccessFlags(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--tls-cert", "x"}, "need each other"},
		{[]string{"--tls-key", "x"}, "need each other"},
		{[]string{"--client-ca", "x", "--access-control"}, "--client-ca is for TLS"},
		{[]string{"--client-crl", "x", "--access-control"}, "--client-crl is of the authorities"},
		{[]string{"--oidc-issuer", "https://a"}, "need each other"},
		{[]string{"--oidc-issuer", "https://a", "--oidc-audience", "b"}, "without --access-control"},
		{[]string{"--oidc-issuer", "http://a", "--oidc-audience", "b", "--access-control"}, "must be https"},
		{[]string{"--tls-cert", "none", "--tls-key", "none"}, "can't be used"},
		{[]string{"--listen", "0.0.0.0:0"}, "turn on --access-control"},
	} {
		args := append([]string{"serve", "--root", dir, "--listen", "127.0.0.1:0", "--iscsi-listen", "127.0.0.1:0"}, tt.args...)
		if said := fails(t, exitFailure, args...); !strings.Contains(said, tt.want) {
			t.Errorf("%v: %s", tt.args, said)
		}
	}
}
