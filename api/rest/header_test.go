package rest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"elstore/volume/fault"
)

func TestNotModified(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		header []string
		want   bool
	}{
		"same":               {"GET", []string{`"17"`}, true},
		"HEAD":               {"HEAD", []string{`"17"`}, true},
		"weak":               {"GET", []string{`W/"17"`}, true},
		"in a list":          {"GET", []string{`"a,b", W/"x" ,"17"`}, true},
		"on the second line": {"GET", []string{`"a"`, `"17"`}, true},
		"any":                {"GET", []string{` * `}, true},
		"other":              {"GET", []string{`"18"`}, false},
		"none":               {"GET", nil, false},
		"unquoted":           {"GET", []string{`17`}, false},
		"unclosed":           {"GET", []string{`"17`}, false},
		"after a bad one":    {"GET", []string{`x, "17"`}, false},
		"only commas":        {"GET", []string{`, ,`}, false},
		"POST":               {"POST", []string{`"17"`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "/", nil)
			r.Header["If-None-Match"] = c.header
			w := httptest.NewRecorder()
			got := NotModified(w, r, "17")
			if got != c.want || got && w.Code != http.StatusNotModified {
				t.Errorf("got %v, %d", got, w.Code)
			}
			if w.Header().Get("ETag") != `"17"` || w.Header().Get("Cache-Control") != "private, no-cache" {
				t.Errorf("headers %v", w.Header())
			}
		})
	}
}

func FuzzMatchesTag(f *testing.F) {
	for _, s := range []string{`"a"`, `W/"a", "b"`, `*`, `"a`, `,,W/`, `W/W/"a"`} {
		f.Add(s, "a")
	}
	f.Fuzz(func(t *testing.T, line, tag string) {
		if matchesTag([]string{line}, tag) && strings.TrimSpace(line) != "*" && !strings.Contains(line, `"`+tag+`"`) {
			t.Errorf("%q names %q", line, tag)
		}
	})
}

func TestParseContentRange(t *testing.T) {
	for s, want := range map[string]ContentRange{
		"bytes 0-0/1":   {0, 0, 1},
		"bytes 5-9/100": {5, 9, 100},
		"Bytes 0-9/*":   {0, 9, -1},
		"bytes */100":   {-1, -1, 100},
		"bytes */0":     {-1, -1, 0},
		"bytes 0-9223372036854775806/9223372036854775807": {0, math.MaxInt64 - 1, math.MaxInt64},
	} {
		got, err := ParseContentRange(s)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", s, got, err)
		}
		if again, err := ParseContentRange(got.String()); err != nil || again != got {
			t.Errorf("%s: came back as %s: %+v, %v", s, got, again, err)
		}
	}
	if n := (ContentRange{5, 9, -1}).Len(); n != 5 {
		t.Errorf("length %d, want 5", n)
	}
	if n := (ContentRange{-1, -1, 9}).Len(); n != 0 {
		t.Errorf("length %d, want 0", n)
	}
	for name, s := range map[string]string{
		"empty": "", "unit alone": "bytes", "no unit": "0-1/2", "other unit": "items 0-1/2", "no total": "bytes 0-1",
		"empty total": "bytes 0-1/", "empty span": "bytes /5", "backwards": "bytes 5-4/10", "past the end": "bytes 0-10/10",
		"negative": "bytes -1-2/10", "signed": "bytes +1-2/10", "both unknown": "bytes */*", "two spaces": "bytes  0-1/2",
		"hexadecimal": "bytes 0x0-1/2", "overflow": "bytes 0-9223372036854775808/*", "last greatest": "bytes 0-9223372036854775807/*",
		"total overflow": "bytes 0-1/9223372036854775808", "open": "bytes 0-/10", "suffix": "bytes -5/10", "list": "bytes 0-1,2-3/10",
		"other digits": "bytes ٠-١/٢", "underscore": "bytes 1_0-2_0/30", "space at end": "bytes 0-1/2 ",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseContentRange(s); !fault.Is(err, fault.UploadInvalidRange) {
				t.Errorf("%q: got %+v, %v", s, got, err)
			}
		})
	}
}

func FuzzParseContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-1/2", "bytes */5", "bytes 0-9/*", "bytes 9223372036854775807-9223372036854775807/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseContentRange(s)
		if err != nil {
			if !fault.Is(err, fault.UploadInvalidRange) {
				t.Fatal(err)
			}
			return
		}
		if again, err := ParseContentRange(c.String()); err != nil || again != c {
			t.Fatalf("%q is %+v, which comes back as %+v, %v", s, c, again, err)
		}
		if c.First >= 0 && (c.Len() <= 0 || c.Last+1 <= 0 || c.Total >= 0 && c.Last >= c.Total) || c.First < 0 && c.Total < 0 {
			t.Fatalf("%q is %+v", s, c)
		}
	})
}

func TestParseChecksum(t *testing.T) {
	s256, s512 := sha256.Sum256([]byte("x")), sha512.Sum512([]byte("x"))
	hex256, hex512 := hex.EncodeToString(s256[:]), hex.EncodeToString(s512[:])
	b256, b512 := base64.StdEncoding.EncodeToString(s256[:]), base64.StdEncoding.EncodeToString(s512[:])
	for name, c := range map[string]struct{ in, want string }{
		"named":             {"sha256:" + hex256, "sha256:" + hex256},
		"named 512":         {"sha512:" + hex512, "sha512:" + hex512},
		"dashed":            {"SHA-256:" + hex256, "sha256:" + hex256},
		"upper case":        {strings.ToUpper(hex256), "sha256:" + hex256},
		"bare":              {hex256, "sha256:" + hex256},
		"bare 512":          {hex512, "sha512:" + hex512},
		"header":            {"sha-256=:" + b256 + ":", "sha256:" + hex256},
		"header 512":        {"sha-512=:" + b512 + ":", "sha512:" + hex512},
		"strongest":         {"sha-256=:" + b256 + ":, sha-512=:" + b512 + ":", "sha512:" + hex512},
		"strongest first":   {"sha-512=:" + b512 + ":,sha-256=:" + b256 + ":", "sha512:" + hex512},
		"unknown is passed": {"md5=:AAAA:, sha-256=:" + b256 + ":", "sha256:" + hex256},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := ParseChecksum(c.in)
			if err != nil || d.String() != c.want {
				t.Fatalf("got %v, %v; want %s", d, err, c.want)
			}
			h := d.New()
			h.Write([]byte("x"))
			if !d.Matches(h.Sum(nil)) || string(d.Sum()) != string(h.Sum(nil)) {
				t.Error("the sum doesn't match what it was made of")
			}
			if d.Matches(nil) || d.IsZero() {
				t.Error("matches nothing")
			}
			if again, err := ParseReprDigest(d.Header()); err != nil || again != d {
				t.Errorf("came back as %v, %v", again, err)
			}
		})
	}
	for name, s := range map[string]string{
		"empty": "", "MD5": "md5:d41d8cd98f00b204e9800998ecf8427e", "bare MD5": "d41d8cd98f00b204e9800998ecf8427e",
		"SHA-1": "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709", "short": "sha256:" + hex256[2:], "odd": hex256[1:],
		"no hex": strings.Repeat("z", 64), "length of the other": "sha256:" + hex512, "header of others": "md5=:AAAA:",
		"no colons": "sha-256=" + b256, "bad base64": "sha-256=:!!!:", "short in header": "sha-256=:AAAA:",
		"colon alone": "sha-256=:", "line break": "sha-256=:" + b256[:8] + "\n" + b256[8:] + ":",
		"hex in header": "sha-256=:" + hex256 + ":",
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			if d, err := ParseChecksum(s); !fault.Is(err, fault.BadRequest) {
				t.Errorf("got %v, %v", d, err)
			}
		})
	}
	if (Digest{}).String() != "" || !(Digest{}).IsZero() {
		t.Error("the zero digest says something")
	}
}

func FuzzParseChecksum(f *testing.F) {
	sum := sha256.Sum256(nil)
	f.Add(hex.EncodeToString(sum[:]))
	f.Add("sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":, md5=:AA==:")
	f.Add("sha512:00")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseChecksum(s)
		if err != nil {
			return
		}
		if len(d.Sum()) != d.New().Size() {
			t.Fatalf("%q is %v", s, d)
		}
		for _, form := range []string{d.String(), d.Header(), hex.EncodeToString(d.Sum())} {
			if again, err := ParseChecksum(form); err != nil || again != d {
				t.Fatalf("%q: %s came back as %v, %v", s, form, again, err)
			}
		}
	})
}

func TestPrefersAsync(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  bool
	}{
		"alone":         {[]string{"respond-async"}, true},
		"case":          {[]string{"Respond-Async"}, true},
		"with wait":     {[]string{"wait=10, respond-async"}, true},
		"parameters":    {[]string{"respond-async; foo=bar"}, true},
		"second line":   {[]string{"wait=10", "respond-async"}, true},
		"none":          {nil, false},
		"other":         {[]string{"return=minimal"}, false},
		"part of":       {[]string{"respond-asynchronously"}, false},
		"in a string":   {[]string{`foo="a, respond-async"`}, false},
		"escaped quote": {[]string{`foo="a\", respond-async"`}, false},
		"after string":  {[]string{`foo="a\"b", respond-async`}, true},
		"unclosed":      {[]string{`foo="a, respond-async`}, false},
		"ends escaped":  {[]string{`foo="\`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header["Prefer"] = c.lines
			if got := PrefersAsync(r); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func FuzzPrefersAsync(f *testing.F) {
	for _, s := range []string{"respond-async", `a="\",", respond-async;x`, `"`, `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if prefersAsync([]string{line}) && !strings.Contains(strings.ToLower(line), "respond-async") {
			t.Errorf("%q", line)
		}
		if strings.Join(fields(line, ','), ",") != line {
			t.Errorf("%q is parted into %q", line, fields(line, ','))
		}
	})
}
