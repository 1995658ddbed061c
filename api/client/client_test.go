package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"elstore/api/client"
	"elstore/volume/fault"
)

const (
	vid = "2bef4e8692674ff5b0adbf88c5882710"
	me  = "ffffffffffffffffffffffffffffffff"
)

// serve runs handler on loopback and returns a client of it that does not wait long between tries.
func serve(t *testing.T, handler http.Handler, change func(*client.Config)) *client.Client {
	t.Helper()
	return serveOn(t, nil, handler, change)
}

// serveOn is serve with a listener of the test's own around the real one.
func serveOn(t *testing.T, wrap func(net.Listener) net.Listener, handler http.Handler, change func(*client.Config)) *client.Client {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	if wrap != nil {
		s.Listener = wrap(s.Listener)
	}
	s.Start()
	t.Cleanup(s.Close)
	return dial(t, s.URL, change)
}

func dial(t *testing.T, url string, change func(*client.Config)) *client.Client {
	t.Helper()
	cfg := client.Config{BaseURL: url, RetryDelay: time.Millisecond, Patience: 10 * time.Second}
	if change != nil {
		change(&cfg)
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// seen is what a recorder's requests were.
type seen struct {
	Method, Path, Key, Prefer, Auth string
	Body                            string
}

// recorder answers every request with the next of its answers, the last one again and again.
type recorder struct {
	mu      sync.Mutex
	answers []func(w http.ResponseWriter)
	got     []seen
}

func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	rec.mu.Lock()
	i := min(len(rec.got), len(rec.answers)-1)
	rec.got = append(rec.got, seen{
		r.Method, r.URL.RequestURI(), r.Header.Get("Idempotency-Key"), r.Header.Get("Prefer"), r.Header.Get("Authorization"), string(body),
	})
	rec.mu.Unlock()
	rec.answers[i](w)
}

func (rec *recorder) requests() []seen {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return append([]seen(nil), rec.got...)
}

// says answers with a status and a body.
func says(status int, body string, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// cut drops the connection without an answer, or in the middle of one.
func cut(part string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if part != "" {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

func TestNew(t *testing.T) {
	tests := []struct {
		name, url, want string // "" is an error
	}{
		{"default", "", client.DefaultURL},
		{"as it is", "http://storage:7772", "http://storage:7772"},
		{"slash", "https://storage/", "https://storage"},
		{"below a path", "https://storage/el%20store/", "https://storage/el%20store"},
		{"no scheme", "127.0.0.1:7772", "http://127.0.0.1:7772"},
		{"IPv6", "http://[::1]:7772", "http://[::1]:7772"},
		{"other scheme", "ftp://storage", ""},
		{"no host", "http://:7772", ""},
		{"password", "http://me:secret@storage", ""},
		{"query", "http://storage?x=1", ""},
		{"fragment", "http://storage#x", ""},
		{"no URL", "http://stor age", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := client.New(client.Config{BaseURL: tt.url})
			switch {
			case tt.want == "" && err == nil:
				t.Fatalf("New took %q as %s", tt.url, c.BaseURL())
			case tt.want == "":
				if !strings.Contains(err.Error(), client.DefaultURL) {
					t.Errorf("%q does not say what an address looks like", err)
				}
			case err != nil:
				t.Fatal(err)
			case c.BaseURL() != tt.want:
				t.Errorf("BaseURL = %s, want %s", c.BaseURL(), tt.want)
			}
		})
	}
}

// TestRequests holds what is sent against what the API takes, call by call.
func TestRequests(t *testing.T) {
	yes := true
	wait := func(op interface{ Job() string }, err error) error { return err }
	tests := []struct {
		name  string
		call  func(ctx context.Context, c *client.Client) error
		want  seen // Key "+" is some key
		reply string
	}{
		{
			"info", func(ctx context.Context, c *client.Client) error { _, err := c.Info(ctx, vid); return err },
			seen{Method: "POST", Path: "/info", Body: `{"volume_id":"` + vid + `"}`},
			`{}`,
		},
		{
			"has", func(ctx context.Context, c *client.Client) error { _, err := c.Has(ctx, vid); return err },
			seen{Method: "POST", Path: "/has", Body: `{"volume_id":"` + vid + `"}`},
			`{"has":true}`,
		},
		{"accessible", func(ctx context.Context, c *client.Client) error {
			_, err := c.Accessible(ctx, client.AccessibleRequest{Client: me, Limit: 5, After: vid, Filter: map[string]any{"format": "raw"}})
			return err
		}, seen{Method: "POST", Path: "/accessible", Body: `{"after":"` + vid + `","client_uid":"` + me + `","format":"raw","limit":5}`}, `[]`},
		{"create", func(ctx context.Context, c *client.Client) error {
			return wait(c.Create(ctx, client.CreateRequest{
				Creator: me, Name: "web", Size: 10e9, Attributes: client.Attributes{Private: &yes, Format: "qcow2", Pool: "fast"},
			}))
		}, seen{
			Method: "POST", Path: "/create", Key: "+", Prefer: "respond-async",
			Body: `{"creatorID":"` + me + `","name":"web","size":10,"private":true,"format":"qcow2","pool":"fast"}`,
		}, `{}`},
		{"create with a key", func(ctx context.Context, c *client.Client) error {
			return wait(c.Create(ctx, client.CreateRequest{Creator: me, Name: "web", Size: 512, Key: "mine"}))
		}, seen{
			Method: "POST", Path: "/create", Key: "mine", Prefer: "respond-async",
			Body: `{"creatorID":"` + me + `","name":"web","size":0.000000512}`,
		}, `{}`},
		{"create of a URL", func(ctx context.Context, c *client.Client) error {
			return wait(c.Create(ctx, client.CreateRequest{Creator: me, Name: "web", URL: "http://x/y", Checksum: "sha256:00", Source: "qcow2"}))
		}, seen{
			Method: "POST", Path: "/create/url", Key: "+", Prefer: "respond-async",
			Body: `{"creatorID":"` + me + `","name":"web","url":"http://x/y","checksum":"sha256:00","source_format":"qcow2"}`,
		}, `{}`},
		{"create several", func(ctx context.Context, c *client.Client) error {
			return wait(c.CreateMany(ctx, []client.CreateRequest{{Creator: me, Name: "a", Size: 1e9}, {Creator: me, Name: "b", Size: 2e9}}, ""))
		}, seen{
			Method: "POST", Path: "/create/multiple", Key: "+", Prefer: "respond-async",
			Body: `[{"creatorID":"` + me + `","name":"a","size":1},{"creatorID":"` + me + `","name":"b","size":2}]`,
		}, `[]`},
		{"can create", func(ctx context.Context, c *client.Client) error {
			n, err := c.CanCreate(ctx, client.CreateRequest{Size: 1e9})
			if n != 3 {
				t.Errorf("CanCreate = %d, want 3", n)
			}
			return err
		}, seen{Method: "POST", Path: "/cancreate", Body: `{"size":1}`}, `3`},
		{"can create several", func(ctx context.Context, c *client.Client) error {
			fit, err := c.CanCreateMany(ctx, []client.CreateRequest{{Size: 1e9}, {Size: 1e9, Creator: me}})
			if !fit {
				t.Error("CanCreateMany = false, want true")
			}
			return err
		}, seen{Method: "POST", Path: "/cancreate/multiple", Body: `[{"size":1},{"creatorID":"` + me + `","size":1}]`}, `1`},
		{"clone", func(ctx context.Context, c *client.Client) error {
			return wait(c.Clone(ctx, client.CloneRequest{ID: vid, Creator: me, Name: "copy", Alg: "rsync"}))
		}, seen{
			Method: "POST", Path: "/clone", Key: "+", Prefer: "respond-async",
			Body: `{"volume_id":"` + vid + `","creatorID":"` + me + `","name":"copy","alg":"rsync"}`,
		}, `{}`},
		{"import", func(ctx context.Context, c *client.Client) error {
			return wait(c.Import(ctx, client.ImportRequest{Creator: me, Name: "old", Path: "/srv/old.vmdk", Overlay: true}))
		}, seen{
			Method: "POST", Path: "/import", Key: "+", Prefer: "respond-async",
			Body: `{"creatorID":"` + me + `","name":"old","path":"/srv/old.vmdk","overlay":true}`,
		}, `{}`},
		{"update", func(ctx context.Context, c *client.Client) error {
			_, err := c.Update(ctx, vid, me, map[string]any{"name": "new", "private": true})
			return err
		}, seen{Method: "POST", Path: "/update", Body: `{"creatorID":"` + me + `","name":"new","private":true,"vid":"` + vid + `"}`}, `{}`},
		{"resize", func(ctx context.Context, c *client.Client) error {
			return wait(c.Resize(ctx, client.ResizeRequest{ID: vid, Creator: me, Size: 5e9, Shrink: true}))
		}, seen{
			Method: "POST", Path: "/update/resize", Prefer: "respond-async",
			Body: `{"vid":"` + vid + `","creatorID":"` + me + `","size":5,"shrink":true}`,
		}, `{}`},
		{
			"convert", func(ctx context.Context, c *client.Client) error { return wait(c.Convert(ctx, vid, me, "raw")) },
			seen{
				Method: "POST", Path: "/update/convert", Prefer: "respond-async",
				Body: `{"creatorID":"` + me + `","format":"raw","vid":"` + vid + `"}`,
			},
			`{}`,
		},
		{
			"compact", func(ctx context.Context, c *client.Client) error { return wait(c.Compact(ctx, vid, me)) },
			seen{Method: "POST", Path: "/overlay/compact", Prefer: "respond-async", Body: `{"creatorID":"` + me + `","vid":"` + vid + `"}`},
			`{}`,
		},
		{
			"create on Ceph", func(ctx context.Context, c *client.Client) error {
				return wait(c.CreateOnCeph(ctx, client.CreateRequest{Creator: me, Name: "n", Size: 512}))
			},
			seen{Method: "POST", Path: "/ceph/create", Key: "+", Prefer: "respond-async", Body: `{"creatorID":"` + me + `","name":"n","size":0.000000512}`},
			`{}`,
		},
		{
			"credentials on Ceph", func(ctx context.Context, c *client.Client) error {
				_, err := c.CephCredentials(ctx, vid, me)
				return err
			},
			seen{Method: "POST", Path: "/ceph/credentials", Body: `{"client_uid":"` + me + `","volume_id":"` + vid + `"}`},
			`{}`,
		},
		{
			"transfer", func(ctx context.Context, c *client.Client) error {
				_, err := c.Transfer(ctx, vid, me, "aa")
				return err
			},
			seen{Method: "POST", Path: "/update/transfer", Body: `{"creatorID":"` + me + `","newCreatorID":"aa","vid":"` + vid + `"}`},
			`{}`,
		},
		{"destroy", func(ctx context.Context, c *client.Client) error {
			_, err := c.Destroy(ctx, client.DestroyRequest{ID: vid, Purge: true})
			return err
		}, seen{Method: "POST", Path: "/destroy", Body: `{"volume_id":"` + vid + `","purge":true}`}, `{}`},
		{
			"trash", func(ctx context.Context, c *client.Client) error { _, err := c.Trash(ctx, me); return err },
			seen{Method: "POST", Path: "/trash", Body: `{"client_uid":"` + me + `"}`},
			`[]`,
		},
		{
			"restore", func(ctx context.Context, c *client.Client) error { _, err := c.Restore(ctx, vid, me); return err },
			seen{Method: "POST", Path: "/trash/restore", Body: `{"creatorID":"` + me + `","volume_id":"` + vid + `"}`},
			`{}`,
		},
		{
			"empty the trash", func(ctx context.Context, c *client.Client) error { _, err := c.EmptyTrash(ctx, "fast", ""); return err },
			seen{Method: "POST", Path: "/trash/empty", Body: `{"pool":"fast"}`},
			`{}`,
		},
		{
			"pools", func(ctx context.Context, c *client.Client) error { _, err := c.Pools(ctx); return err },
			seen{Method: "GET", Path: "/pools"},
			`[]`,
		},
		{
			"refresh", func(ctx context.Context, c *client.Client) error { _, err := c.RefreshPools(ctx, ""); return err },
			seen{Method: "POST", Path: "/pools/refresh", Body: `{}`},
			`[]`,
		},
		{
			"refresh one", func(ctx context.Context, c *client.Client) error { _, err := c.RefreshPools(ctx, "fast"); return err },
			seen{Method: "POST", Path: "/pools/refresh", Body: `{"name":"fast"}`},
			`[]`,
		},
		{
			"pool", func(ctx context.Context, c *client.Client) error { _, err := c.Pool(ctx, "a/b"); return err },
			seen{Method: "GET", Path: "/pools/a%2Fb"},
			`{}`,
		},
		{
			"jobs", func(ctx context.Context, c *client.Client) error {
				_, err := c.Jobs(ctx, client.JobFilter{})
				return err
			},
			seen{Method: "GET", Path: "/jobs"},
			`[]`,
		},
		{"some jobs", func(ctx context.Context, c *client.Client) error {
			_, err := c.Jobs(ctx, client.JobFilter{States: []client.State{client.Queued, client.Running}, Kinds: []string{"clone"}, Volume: vid})
			return err
		}, seen{Method: "GET", Path: "/jobs?kind=clone&state=queued&state=running&volume=" + vid}, `[]`},
		{
			"job", func(ctx context.Context, c *client.Client) error { _, err := c.Job(ctx, "../x"); return err },
			seen{Method: "GET", Path: "/jobs/..%2Fx"},
			`{}`,
		},
		{
			"cancel", func(ctx context.Context, c *client.Client) error { _, err := c.CancelJob(ctx, "j"); return err },
			seen{Method: "DELETE", Path: "/jobs/j"},
			`{}`,
		},
		{
			"version", func(ctx context.Context, c *client.Client) error { _, err := c.Version(ctx); return err },
			seen{Method: "GET", Path: "/version"},
			`{}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := &recorder{answers: []func(http.ResponseWriter){says(200, tt.reply)}}
			c := serve(t, rec, nil)
			if err := tt.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			got := rec.requests()
			if len(got) != 1 {
				t.Fatalf("%d requests, want 1", len(got))
			}
			if tt.want.Key == "+" && len(got[0].Key) >= 16 {
				got[0].Key = "+"
			}
			tt.want.Path = "/api/v1.0" + tt.want.Path
			if got[0] != tt.want {
				t.Errorf("sent\n%+v, want\n%+v", got[0], tt.want)
			}
		})
	}
}

func TestTokenAndPrefix(t *testing.T) {
	rec := &recorder{answers: []func(http.ResponseWriter){says(200, `{}`)}}
	s := httptest.NewServer(rec)
	defer s.Close()
	c := dial(t, s.URL+"/behind/proxy/", func(cfg *client.Config) { cfg.Token = "secret" })
	if _, err := c.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := rec.requests()[0]; got.Auth != "Bearer secret" || got.Path != "/behind/proxy/api/v1.0/version" {
		t.Errorf("sent %+v", got)
	}
}

// TestAnswersStayAsTheyCame: what is printed for programs has keys that this package doesn't know.
func TestAnswersStayAsTheyCame(t *testing.T) {
	const record = `{"volumeID":"` + vid + `","name":"web","size":10,"tomorrow":{"a":[1,2]},"locked":true,"operation":"clone"}`
	c := serve(t, &recorder{answers: []func(http.ResponseWriter){says(200, record)}}, nil)
	v, err := c.Info(t.Context(), vid)
	if err != nil {
		t.Fatal(err)
	}
	if v.ID != vid || v.Name != "web" || v.Size != 10 || !v.Locked || v.Operation != "clone" {
		t.Errorf("read %+v", v)
	}
	data, err := json.Marshal([]client.Volume{v})
	if err != nil || string(data) != "["+record+"]" {
		t.Errorf("written as %s, %v", data, err)
	}
	data, err = json.Marshal(client.Volume{Name: "made here"})
	if err != nil || !strings.Contains(string(data), `"name":"made here"`) {
		t.Errorf("one that did not come from a server is written as %s, %v", data, err)
	}
}

func TestNotOurServer(t *testing.T) {
	c := serve(t, &recorder{answers: []func(http.ResponseWriter){says(200, "<html>hello")}}, nil)
	if _, err := c.Info(t.Context(), vid); err == nil || !strings.Contains(err.Error(), "is it an elstore server") {
		t.Errorf("error %v", err)
	}
}

func TestImportNeedsOneSource(t *testing.T) {
	rec := &recorder{answers: []func(http.ResponseWriter){says(200, `{}`)}}
	c := serve(t, rec, nil)
	for _, r := range []client.ImportRequest{{}, {Path: "/a", URL: "http://b"}} {
		if _, err := c.Import(t.Context(), r); err == nil {
			t.Errorf("Import took %+v", r)
		}
	}
	if n := len(rec.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name   string
		answer func(http.ResponseWriter)
		want   client.Error
	}{
		{
			"the API's", says(404, `{"error":"no volume x","code":"VolumeNotFound"}`, "X-Request-Id", "r1"),
			client.Error{Status: 404, Code: fault.VolumeNotFound, Message: "no volume x", RequestID: "r1", Index: -1},
		},
		{
			"ours", says(500, `{"error":"failed","code":"InternalError","request_id":"r2"}`),
			client.Error{Status: 500, Code: fault.InternalError, Message: "failed", RequestID: "r2", Index: -1},
		},
		{
			"of one element", says(400, `{"error":"bad","code":"BadRequest","index":3}`),
			client.Error{Status: 400, Code: fault.BadRequest, Message: "bad", Index: 3},
		},
		{
			"ask again later", says(503, `{"error":"away","code":"PoolUnavailable"}`, "Retry-After", "7"),
			client.Error{Status: 503, Code: fault.PoolUnavailable, Message: "away", Index: -1, RetryAfter: 7 * time.Second},
		},
		{
			"a proxy's", says(502, "<html>\n<b>bad\x1b[31m gateway</b>"),
			client.Error{Status: 502, Message: "the server answered 502 Bad Gateway: <html> <b>bad[31m gateway</b>", Index: -1},
		},
		{"nothing", says(418, ""), client.Error{Status: 418, Message: "the server answered 418 I'm a teapot", Index: -1}},
		{"a redirect to nowhere", says(304, ""), client.Error{Status: 304, Message: "the server answered 304 Not Modified", Index: -1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, &recorder{answers: []func(http.ResponseWriter){tt.answer}}, nil)
			_, err := c.Info(t.Context(), vid)
			got, ok := errors.AsType[*client.Error](err)
			if !ok || *got != tt.want {
				t.Fatalf("error %+v, want %+v", err, tt.want)
			}
			if tt.want.Code != "" && !fault.Is(err, tt.want.Code) {
				t.Errorf("fault.Is does not see %s", tt.want.Code)
			}
			if err.Error() != tt.want.Message {
				t.Errorf("sentence %q, want %q", err, tt.want.Message)
			}
		})
	}
}

func TestLongProxyPageIsCut(t *testing.T) {
	c := serve(t, &recorder{answers: []func(http.ResponseWriter){says(502, strings.Repeat("é", 10_000))}}, nil)
	_, err := c.Info(t.Context(), vid)
	if n := len([]rune(err.Error())); n > 300 {
		t.Errorf("the sentence has %d letters", n)
	}
}
