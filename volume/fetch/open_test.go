package fetch

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"elstore/volume/fault"
)

// local is a configuration that admits the test's own servers and doesn't wait.
func local() Config {
	return Config{
		AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Backoff:         time.Nanosecond,
	}
}

// image is content that is no web page, all bytes different from zero.
func image(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i%251 + 1)
	}
	return b
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, config Config) *Client {
	t.Helper()
	c := New(config)
	t.Cleanup(c.Close)
	return c
}

func TestOpen(t *testing.T) {
	content := image(5000)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("User-Agent") != "elstore" || r.Header.Get("Accept-Encoding") != "identity" || r.Method != http.MethodGet {
			t.Errorf("asked with %s %v", r.Method, r.Header)
		}
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	for name, c := range map[string]struct{ ask, offset int64 }{
		"whole": {0, 0}, "the rest": {1234, 1234}, "the last byte": {4999, 4999},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := client(t, local()).Open(t.Context(), s.URL+"/a?secret", c.ask)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if b.Offset != c.offset || b.Size != 5000 || b.Validator != `"v1"` || b.ContentType != "application/octet-stream" || b.URL != s.URL+"/a" {
				t.Errorf("got %+v", b)
			}
			got, err := io.ReadAll(b)
			if err != nil || !bytes.Equal(got, content[c.offset:]) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
	t.Run("past the end", func(t *testing.T) {
		if _, err := client(t, local()).Open(t.Context(), s.URL, 5000); !fault.Is(err, fault.FetchFailed) || !strings.Contains(err.Error(), "has no byte 5000 to go on at") {
			t.Errorf("got %v", err)
		}
	})
}

func TestOpenWhereTheServerCantSkip(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(image(600)) })
	b, err := client(t, local()).Open(t.Context(), s.URL, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, err := io.ReadAll(b); b.Offset != 0 || err != nil || len(got) != 600 {
		t.Errorf("offset %d, %d bytes, %v", b.Offset, len(got), err)
	}
}

func TestOpenRefuses(t *testing.T) {
	header := func(status int, more ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(more); i += 2 {
				w.Header().Set(more[i], more[i+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write(image(10))
		}
	}
	says := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = io.WriteString(w, text)
		}
	}
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		ask  int64
		says string
	}{
		"not there":           {header(404), 0, "is not there (status 404)"},
		"gone":                {header(410), 0, "is not there (status 410)"},
		"credentials":         {header(401), 0, "asks for credentials or forbids it (status 401)"},
		"forbidden":           {header(403), 0, "asks for credentials or forbids it (status 403)"},
		"too often":           {header(429), 0, "was asked for too often (status 429)"},
		"in trouble":          {header(503), 0, "has a server in trouble (status 503)"},
		"teapot":              {header(418), 0, "refused (status 418)"},
		"no content":          {header(204), 0, "status 204 where content is expected"},
		"not modified":        {header(304), 0, "refused (status 304)"},
		"unasked range":       {header(206, "Content-Range", "bytes 0-9/10"), 0, "status 206 where content is expected"},
		"HTML by type":        {header(200, "Content-Type", "text/html; charset=utf-8"), 0, "a web page (HTML)"},
		"XHTML by type":       {header(200, "Content-Type", "application/xhtml+xml"), 0, "a web page (HTML)"},
		"HTML by content":     {says("\n <!DOCTYPE html><p>"), 0, "a web page (HTML)"},
		"HTML, short":         {says("<html>"), 0, "a web page (HTML)"},
		"HTML, byte order":    {says("<!-- x --><html>"), 0, "a web page (HTML)"},
		"compressed":          {header(200, "Content-Encoding", "gzip"), 0, `Content-Encoding "gzip"`},
		"other range":         {header(206, "Content-Range", "bytes 0-9/10"), 5, "answered with another range"},
		"shorter range":       {header(206, "Content-Range", "bytes 5-7/20"), 5, "answered with another range"},
		"no range":            {header(206), 5, "answered with another range"},
		"range backwards":     {header(206, "Content-Range", "bytes 5-4/10"), 5, "answered with another range"},
		"range of others":     {header(206, "Content-Range", "items 5-14/15"), 5, "answered with another range"},
		"range of no numbers": {header(206, "Content-Range", "bytes five-ten/15"), 5, "answered with another range"},
		"range over the end":  {header(206, "Content-Range", "bytes 5-14/14"), 5, "answered with another range"},
		"range, odd length":   {header(206, "Content-Range", "bytes 5-10/11"), 5, "answered with another range"},
		"too large by header": {header(200, "Content-Length", "2000000"), 0, "is larger than 1000000 bytes"},
		"huge header":         {header(200, "X-Huge", strings.Repeat("x", 100<<10)), 0, "can't be fetched"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.h)
			config := local()
			config.MaxBytes = 1_000_000
			b, err := client(t, config).Open(t.Context(), s.URL+"/image?hunter2", c.ask)
			if err == nil {
				_ = b.Close()
				t.Fatal("opened")
			}
			if !fault.Is(err, fault.FetchFailed) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	content := image(1000)
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			t.Error("credentials went to another host")
		}
		_, _ = w.Write(content)
	})
	var hops int
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Referer() != "" {
			t.Errorf("Referer %s", r.Referer())
		}
		switch r.URL.Path {
		case "/image":
			_, _ = w.Write(content)
		case "/private":
			if user, password, ok := r.BasicAuth(); !ok || user != "user" || password != "hunter2" {
				t.Errorf("credentials %s %s %v", user, password, ok)
			}
			_, _ = w.Write(content)
		case "/hop":
			if hops--; hops > 0 {
				w.Header().Set("Location", "/hop")
			} else {
				w.Header().Set("Location", "image")
			}
			w.WriteHeader(http.StatusFound)
		case "/malformed":
			w.Header().Set("Location", "http://u:hunter2/x")
			w.WriteHeader(http.StatusFound)
		default:
			to, _ := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/to/"))
			if to != "nowhere" {
				w.Header()["Location"] = []string{to}
			}
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for name, c := range map[string]struct {
		path string
		hops int
		code fault.Code // "" is success
		says string
	}{
		"relative":            {"/to/..%2Fimage", 0, "", ""},
		"path":                {"/to/" + url.PathEscape("/image"), 0, "", ""},
		"absolute":            {"/to/" + url.PathEscape(s.URL+"/image"), 0, "", ""},
		"other host":          {"/to/" + url.PathEscape(elsewhere.URL), 0, "", ""},
		"no scheme":           {"/to/" + url.PathEscape(strings.TrimPrefix(elsewhere.URL, "http:")), 0, "", ""},
		"same host, private":  {"/to/" + url.PathEscape(s.URL+"/private"), 0, "", ""},
		"relative, private":   {"/to/" + url.PathEscape("/private"), 0, "", ""},
		"10 hops":             {"/hop", 10, "", ""},
		"11 hops":             {"/hop", 11, fault.FetchFailed, "more than 10 redirects"},
		"endless":             {"/hop", 1 << 30, fault.FetchFailed, "more than 10 redirects"},
		"file":                {"/to/" + url.PathEscape("file:///etc/passwd"), 0, fault.FetchForbidden, `redirects away: URLs of the scheme "file"`},
		"file, upper case":    {"/to/" + url.PathEscape("FILE:///etc/passwd"), 0, fault.FetchForbidden, `the scheme "file"`},
		"data":                {"/to/" + url.PathEscape("data:,x"), 0, fault.FetchForbidden, `the scheme "data"`},
		"private":             {"/to/" + url.PathEscape("http://10.0.0.1/"), 0, fault.FetchForbidden, "redirects away: the host 10.0.0.1 can't be fetched from: its address 10.0.0.1 is a private address"},
		"metadata":            {"/to/" + url.PathEscape("http://169.254.169.254/latest/"), 0, fault.FetchForbidden, "is a link-local address"},
		"no scheme, private":  {"/to/" + url.PathEscape("//10.0.0.1/"), 0, fault.FetchForbidden, "is a private address"},
		"other loopback":      {"/to/" + url.PathEscape("http://127.0.0.2/"), 0, fault.FetchForbidden, "is a loopback address"},
		"mapped":              {"/to/" + url.PathEscape("http://[::ffff:10.0.0.1]/"), 0, fault.FetchForbidden, "is a private address"},
		"no host":             {"/to/" + url.PathEscape("http:///x"), 0, fault.FetchForbidden, "names no host"},
		"nowhere":             {"/to/nowhere", 0, fault.FetchFailed, "redirects to nowhere"},
		"malformed":           {"/malformed", 0, fault.FetchFailed, "redirects to nowhere"},
		"to a closed port":    {"/to/" + url.PathEscape("http://"+closed.Addr().String()+"/?hunter2"), 0, fault.FetchFailed, "can't be fetched: dial tcp"},
		"to itself, for ever": {"/to/" + url.PathEscape(url.PathEscape("..")), 0, fault.FetchFailed, "more than 10 redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			hops = c.hops
			from := strings.Replace(s.URL, "://", "://user:hunter2@", 1) + c.path + "?hunter2"
			b, err := client(t, local()).Open(t.Context(), from, 0)
			if c.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, content) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
				return
			}
			if !fault.Is(err, c.code) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %s %q", err, c.code, c.says)
			}
		})
	}
}

func TestTLSIsVerified(t *testing.T) {
	var tries atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(image(100)) }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			tries.Add(1)
		}
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	trusted := local()
	trusted.RootCAs = x509.NewCertPool()
	trusted.RootCAs.AddCert(s.Certificate())
	b, err := client(t, trusted).Open(t.Context(), s.URL, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(b); err != nil {
		t.Error(err)
	}
	_ = b.Close()

	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	for name, c := range map[string]struct {
		config Config
		url    string
		says   string
	}{
		"unknown authority": {local(), s.URL, "certificate"},
		"other name":        {trusted, strings.Replace(s.URL, "127.0.0.1", "localhost", 1), "certificate"},
		"no TLS there":      {trusted, strings.Replace(plain.URL, "http:", "https:", 1), "does not look like a TLS handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.AllowPrivate = true
			before := tries.Load()
			_, err := client(t, c.config).Download(t.Context(), c.url, &memory{}, nil)
			if !fault.Is(err, fault.FetchFailed) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if got := tries.Load() - before; got > 1 {
				t.Errorf("%d tries", got)
			}
		})
	}
}

func TestNoProxy(t *testing.T) {
	if New(Config{}).transport.Proxy != nil {
		t.Error("a proxy could be used")
	}
}

func TestValidator(t *testing.T) {
	now := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC).Format(http.TimeFormat)
	before := time.Date(2025, 6, 1, 11, 59, 59, 0, time.UTC).Format(http.TimeFormat)
	for name, c := range map[string]struct{ tag, modified, date, want string }{
		"strong":        {`"a"`, before, now, `"a"`},
		"weak":          {`W/"a"`, before, now, ""},
		"date":          {"", before, now, before},
		"date, current": {"", now, now, ""},
		"date alone":    {"", before, "", ""},
		"no date":       {"", "yesterday", now, ""},
		"unquoted":      {"a", "", "", ""},
		"none":          {"", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			h.Set("ETag", c.tag)
			h.Set("Last-Modified", c.modified)
			h.Set("Date", c.date)
			if got := validatorOf(h); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(image(1000))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	b, err := client(t, local()).Open(ctx, s.URL, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	why := fmt.Errorf("nobody wants it: %w", context.Canceled)
	cancel(why)
	if _, err := io.ReadAll(b); !fault.Is(err, fault.JobCancelled) || !strings.Contains(err.Error(), "nobody wants it") {
		t.Errorf("got %v", err)
	}
}
