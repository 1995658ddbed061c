package access

import (
	"strings"
	"testing"

	"elstore/volume/fault"
)

func TestParseAuthorization(t *testing.T) {
	tests := []struct {
		name   string
		values []string
		want   string
		bad    bool
	}{
		{name: "none"},
		{name: "bearer", values: []string{"Bearer abc"}, want: "abc"},
		{name: "the scheme in another case", values: []string{"bEaReR abc"}, want: "abc"},
		{name: "several spaces", values: []string{"Bearer   abc "}, want: "abc"},
		{name: "the key alone, as older clients send it", values: []string{"abc"}, want: "abc"},
		{name: "all that a token may have", values: []string{"Bearer aZ09-._~+/="}, want: "aZ09-._~+/="},
		{name: "empty", values: []string{""}, bad: true},
		{name: "the scheme alone", values: []string{"Bearer "}, bad: true},
		{name: "two headers", values: []string{"Bearer abc", "Bearer abc"}, bad: true},
		{name: "two tokens", values: []string{"Bearer abc def"}, bad: true},
		{name: "two in a list", values: []string{"Bearer abc,Bearer def"}, bad: true},
		{name: "basic", values: []string{"Basic YTpi"}, bad: true},
		{name: "negotiate", values: []string{"Negotiate abc"}, bad: true},
		{name: "a tab between", values: []string{"Bearer\tabc"}, bad: true},
		{name: "a line break", values: []string{"Bearer abc\r\nX-Role: operator"}, bad: true},
		{name: "zero byte", values: []string{"Bearer abc\x00"}, bad: true},
		{name: "not ASCII", values: []string{"Bearer äbc"}, bad: true},
		{name: "as long as it may be", values: []string{strings.Repeat("a", maxCredential)}, want: strings.Repeat("a", maxCredential)},
		{name: "a flood", values: []string{strings.Repeat("a", maxCredential+1)}, bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseAuthorization(tt.values)
			if got != tt.want || (err != nil) != tt.bad {
				t.Fatalf("%.40q, %v", got, err)
			}
			if tt.bad && !fault.Is(err, fault.Unauthorized) {
				t.Errorf("%v is not Unauthorized", err)
			}
			if tt.bad && strings.Contains(err.Error(), "abc") {
				t.Errorf("the error shows what was sent: %v", err)
			}
		})
	}
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add("Bearer " + format("0123456789abcdef", secret{1, 2, 3}))
	f.Add("bearer  x")
	f.Add("key")
	f.Add("Basic YTpi")
	f.Add("Bearer a\r\nb")
	f.Fuzz(func(t *testing.T, value string) {
		got, err := ParseAuthorization([]string{value})
		if (got == "") != (err != nil) {
			t.Fatalf("%q gives %q, %v", value, got, err)
		}
		if err != nil {
			return
		}
		if again, err := ParseAuthorization([]string{"Bearer " + got}); err != nil && len(got)+7 <= maxCredential || err == nil && again != got {
			t.Fatalf("%q gives %q, and that %q, %v", value, got, again, err)
		}
		if strings.ContainsAny(got, " \t\r\n,") || !strings.Contains(value, got) {
			t.Fatalf("%q gives %q", value, got)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	whole := format("0123456789abcdef", secret{1, 2, 3})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(whole + whole)
	f.Add(strings.ToUpper(whole))
	f.Add("elst__")
	f.Fuzz(func(t *testing.T, text string) {
		id, s, ok := parseToken(text)
		if ok && format(id, s) != text {
			t.Fatalf("%q is read as %q", text, format(id, s))
		}
	})
}

func TestTokensHaveOneSpelling(t *testing.T) {
	id, s := newToken()
	whole := format(id, s)
	if gotID, got, ok := parseToken(whole); !ok || gotID != id || got != s {
		t.Fatalf("%q is read as %q", whole, gotID)
	}
	other, _ := newToken()
	if other == id {
		t.Errorf("two tokens have the id %s", id)
	}
	for name, text := range map[string]string{
		"nothing": "", "the prefix alone": prefix, "cut off": whole[:len(whole)-1], "cut off in front": whole[1:], "doubled": whole + whole,
		"one more digit": whole + "0", "upper case": prefix + strings.ToUpper(whole[len(prefix):]) + "", "another prefix": "elsx_" + whole[len(prefix):],
		"no underscore": whole[:len(prefix)+idDigits] + "0" + whole[len(prefix)+idDigits+1:], "no digit": whole[:len(whole)-1] + "g",
	} {
		if _, _, ok := parseToken(text); ok && text != whole {
			t.Errorf("%s: %q is taken for a token", name, text)
		}
	}
}
