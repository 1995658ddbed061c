package client

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-0/1", "bytes 4-9/10", "bytes */10", "bytes 1-2/*", "bytes 9223372036854775806-9223372036854775806/9223372036854775807", "bytes -1-2/3", "bytes 2-1/3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, total, ok := contentRange(s)
		if ok && (first < 0 || first >= total) {
			t.Errorf("%q was read as %d of %d", s, first, total)
		}
	})
}

func TestContentRange(t *testing.T) {
	for s, want := range map[string]string{
		"bytes 4-9/10": "4 10 true", "bytes 0-0/1": "0 1 true", "bytes 4-10/10": "false", "bytes 5-4/10": "false",
		"bytes 4-9/*": "false", "bytes */10": "false", "bytes 4-9": "false", "4-9/10": "false", "": "false", "bytes x-9/10": "false",
	} {
		first, total, ok := contentRange(s)
		got := "false"
		if ok {
			got = fmt.Sprint(first, total, ok)
		}
		if got != want {
			t.Errorf("%q was read as %s, want %s", s, got, want)
		}
	}
}

func FuzzReprDigest(f *testing.F) {
	for _, s := range []string{digest(make([]byte, 32)).header(), "sha-256=:x:", "sha-512=:AA==:, SHA-256=:AA==:", ",,=,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := reprDigest(s); d != "" && reprDigest(d.header()) != d {
			t.Errorf("%q was read as %x, which is not read back", s, string(d))
		}
	})
}

func FuzzError(f *testing.F) {
	f.Add(404, []byte(`{"error":"no volume","code":"VolumeNotFound","index":3}`))
	f.Add(502, []byte("<html>\x1b[31m\xff"))
	f.Fuzz(func(t *testing.T, status int, data []byte) {
		e := parseError(status, data)
		if e.Message == "" {
			t.Error("no sentence")
		}
		if e.Code == "" && e.Message != "" && strings.ContainsAny(e.Message, "\x1b\n\r") && !strings.HasPrefix(string(data), "{") {
			t.Errorf("the sentence %q garbles a terminal", e.Message)
		}
		if !utf8.ValidString(e.Message) {
			t.Errorf("the sentence %q is no text", e.Message)
		}
	})
}
