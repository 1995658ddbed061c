package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestBefore(t *testing.T) {
	tests := []struct{ prefix, want string }{
		{"2bef", "2beeffffffffffffffffffffffffffff"},
		{"0001", "0000ffffffffffffffffffffffffffff"},
		{"a000", "9fffffffffffffffffffffffffffffff"},
		{"000a", "0009ffffffffffffffffffffffffffff"},
		{"0000", ""},
		{webID, "2bef4e8692674ff5b0adbf88c588270f"},
	}
	for _, tt := range tests {
		got := before(tt.prefix)
		if got != tt.want {
			t.Errorf("before(%s) = %s, want %s", tt.prefix, got, tt.want)
		}
		if first := tt.prefix + strings.Repeat("0", idDigits-len(tt.prefix)); got >= first {
			t.Errorf("before(%s) = %s is not before %s", tt.prefix, got, first)
		}
	}
}

// TestNames: what an argument means, and what the server is asked to find out.
func TestNames(t *testing.T) {
	const other = "2bef77a06542f1ac2fbe8790b3516000"
	web, db := record(webID, "web", ""), record(other, "db", "")
	tests := []struct {
		name, arg      string
		byName, byPage string // answers; "" is not to be asked
		want           string // an id, or what is said
	}{
		{"a whole id", webID, "", "", webID},
		{"in upper case", strings.ToUpper(webID), "", "", webID},
		{"with dashes", "2bef4e86-9267-4ff5-b0ad-bf88c5882710", "", "", webID},
		{"a name", "web", list(web), "", webID},
		{"a name that is too short for digits", "bef", list(web), "", webID},
		{"a prefix", "2bef4", `[]`, list(web, db), webID},
		{"a prefix in upper case", "2BEF4", `[]`, list(web, db), webID},
		{"a prefix of several", "2bef", `[]`, list(web, db), `"2bef" may mean several`},
		{"a prefix of none", "2beee", `[]`, list(web, db), `no volume is named "2beee"`},
		{"a name that looks like a prefix", "2bef", list(record(webID, "2bef", "")), list(record(webID, "2bef", "")), webID},
		{"a name and a prefix", "2bef", list(record(otherID, "2bef", "")), list(web), `"2bef" may mean several`},
		{"a name that several bear", "web", list(web, record(other, "web", "")), "", `"web" may mean several`},
		{"none", "nobody", `[]`, "", `no volume is named "nobody"`},
		{"31 digits", webID[:31], `[]`, list(web), webID},
		{"33 digits", webID + "0", `[]`, "", "no volume is named"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var answers []reply
			for _, body := range []string{tt.byName, tt.byPage} {
				if body != "" {
					answers = append(answers, ok(body))
				}
			}
			newScript(t, map[string][]reply{"POST /accessible": answers, "POST /info": {ok(web)}})
			o := elstore(t, "volume", "info", "-q", tt.arg)
			if len(tt.want) == idDigits {
				if o.code != exitOK || strings.TrimSpace(o.stdout) != webID {
					t.Errorf("%q means %q (code %d, %s)", tt.arg, o.stdout, o.code, o.stderr)
				}
			} else if o.code == exitOK || !strings.Contains(o.stderr, tt.want) {
				t.Errorf("%q means %q (code %d), said %q; want %q", tt.arg, o.stdout, o.code, o.stderr, tt.want)
			}
		})
	}
}

func TestManyCandidates(t *testing.T) {
	var records []string
	for i := range maxCandidates + 1 {
		records = append(records, record(fmt.Sprintf("%032x", i), "web", ""))
	}
	newScript(t, map[string][]reply{"POST /accessible": {ok(list(records...))}})
	said := fails(t, exitUsage, "volume", "info", "web")
	if n := strings.Count(said, "  web\n"); n != maxCandidates || !strings.Contains(said, "and more") {
		t.Errorf("%d candidates in %q", n, said)
	}
}

func TestIdentity(t *testing.T) {
	tests := []struct {
		name, flag, env, server string
		want                    string // "" is refused
	}{
		{"nothing on loopback", "", "", "http://127.0.0.1:7772", anybody},
		{"nothing on localhost", "", "", "http://localhost:7772", anybody},
		{"nothing on IPv6 loopback", "", "", "http://[::1]:7772", anybody},
		{"nothing elsewhere", "", "", "http://192.0.2.1:7772", ""},
		{"nothing at a name", "", "", "http://localhost.example.org", ""},
		{"the flag", bob, "", "http://192.0.2.1", bob},
		{"the environment", "", bob, "http://192.0.2.1", bob},
		{"both", bob, anybody, "http://192.0.2.1", bob},
		{"dashes", "00000000-0000-0000-0000-000000000B0B", "", "http://127.0.0.1", bob},
		{"too short", "b0b", "", "http://127.0.0.1", ""},
		{"not hexadecimal", strings.Repeat("x", 32), "", "http://127.0.0.1", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("ELSTORE_CLIENT", tt.env)
			got, err := (&cli{client: tt.flag}).identity(tt.server)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("identity = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}
