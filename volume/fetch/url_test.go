package fetch

import (
	"net/url"
	"strings"
	"testing"

	"elstore/volume/fault"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct{ raw, says string }{
		"http":             {"http://example.com/a.qcow2", ""},
		"https, port":      {"https://example.com:8443/a?b=c#d", ""},
		"upper case":       {"HTTPS://EXAMPLE.COM/", ""},
		"user":             {"https://user:pw@example.com/", ""},
		"no path":          {"http://example.com", ""},
		"address":          {"http://93.184.215.14/", ""},
		"address 6":        {"http://[2606:2800::1]/", ""},
		"empty":            {"", `the scheme "" can't be fetched`},
		"path":             {"/etc/passwd", `the scheme "" can't be fetched`},
		"file":             {"file:///etc/passwd", `the scheme "file" can't be fetched; allowed are http and https`},
		"ftp":              {"ftp://example.com/", `the scheme "ftp"`},
		"gopher":           {"gopher://example.com/", `the scheme "gopher"`},
		"data":             {"data:,x", `the scheme "data"`},
		"unix":             {"unix:///run/docker.sock", `the scheme "unix"`},
		"opaque":           {"http:example.com", "names no host"},
		"no host":          {"http:///a", "names no host"},
		"port only":        {"http://:80/a", "names no host"},
		"port zero":        {"http://example.com:0/", "the URL's port is 0; allowed is 1 to 65535"},
		"port large":       {"http://example.com:65536/", "the URL's port is 65536"},
		"port text":        {"http://example.com:secret/", "is malformed"},
		"half a password":  {"http://user:secret/path", "is malformed"},
		"space":            {"http://exa mple.com/", "is malformed"},
		"line break":       {"http://example.com/\r\nX: y", "is malformed"},
		"NUL":              {"http://example.com/\x00", "is malformed"},
		"bad escape":       {"http://example.com/%zz", "is malformed"},
		"no UTF-8":         {"http://example.com/\xff", "is malformed"},
		"delete":           {"http://example.com/\x7f", "is malformed"},
		"private":          {"http://10.0.0.1/", "its address 10.0.0.1 is a private address"},
		"private 6":        {"http://[fd00::1]/", "its address fd00::1 is a private address"},
		"zone":             {"http://[fe80::1%25eth0]/", "is a link-local address"},
		"too long":         {"http://example.com/" + strings.Repeat("a", maxURL), "at most 8192 are allowed"},
		"long scheme":      {strings.Repeat("a", 500) + "://x", "…"},
		"backslash":        {`http://example.com\@10.0.0.1/`, "is malformed"},
		"at sign twice":    {"http://a@b@10.0.0.1/", "10.0.0.1"},
		"fragment as host": {"http://10.0.0.1#@example.com/", "its address 10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Config{}.parse(c.raw)
			if (err == nil) != (c.says == "") {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				return
			}
			if !fault.Is(err, fault.FetchForbidden) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if strings.Contains(err.Error(), "secret") || len(err.Error()) > 500 {
				t.Errorf("the message says too much: %v", err)
			}
		})
	}
}

func TestRedact(t *testing.T) {
	for name, c := range map[string]struct{ raw, want string }{
		"plain":     {"https://example.com/a/b.img", "https://example.com/a/b.img"},
		"all of it": {"https://user:pw@example.com:1/a%2Fb?token=secret#frag", "https://example.com:1/a%2Fb"},
		"malformed": {"http://user:secret/", "(malformed URL)"},
		"no host":   {"mailto:secret", "(malformed URL)"},
		"long":      {"http://example.com/" + strings.Repeat("é", 300), "http://example.com/" + strings.Repeat("%C3%A9", 300)[:181] + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Redact(c.raw); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

// FuzzParse: what passes is http or https with a host that is no forbidden address, and says no secret.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"http://example.com/a", "https://user:hunter2@example.com:8443/?hunter2#hunter2", "file:///etc/passwd", "http://[::1]/",
		"http://0x7f.1/", "//10.0.0.1/", "http://hunter2:hunter2/", "http:\\\\10.0.0.1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := Config{}.parse(raw)
		if err != nil {
			if !fault.Is(err, fault.FetchForbidden) || len(err.Error()) > 1000 {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			t.Fatalf("%q passes as %v", raw, u)
		}
		shown := Redact(raw)
		back, err := url.Parse(strings.TrimSuffix(shown, "…"))
		if err == nil && (back.User != nil || back.RawQuery != "" || back.Fragment != "") {
			t.Fatalf("%q is shown as %q", raw, shown)
		}
	})
}
