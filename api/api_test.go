package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"elstore/api/rest"
	"elstore/volume/fault"
)

// request is what the routes of the tests take.
type request struct {
	Name string `json:"name" required:"true"`
}

// says answers with word and the path's variables.
func says(word string) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		return rest.Reply(w, http.StatusOK, []string{word, r.PathValue("id"), r.PathValue("data")})
	}
}

func testConfig() Config {
	return Config{
		Log: slog.New(slog.DiscardHandler),
		Routes: []rest.Route{
			{Methods: []string{"GET"}, Path: "/jobs/{id}", Handler: says("job")},
			{Methods: []string{"DELETE"}, Path: "/jobs/{id}", Handler: says("cancel")},
			{Methods: []string{"GET"}, Path: "/jobs", Handler: says("jobs")},
			{Methods: []string{"GET"}, Path: "/jobs/new", Handler: says("new")},
			{Methods: []string{"POST"}, Path: "/meta/{data...}", Handler: says("meta")},
			{Methods: []string{"GET", "POST"}, Path: "/cancreate", Handler: says("can")},
			{Methods: []string{"POST"}, Path: "/echo", Handler: func(w http.ResponseWriter, r *http.Request) error {
				if _, err := rest.Decode[request](r); err != nil {
					return err
				}
				return rest.Reply(w, http.StatusOK, rest.Echo(r.Context()))
			}},
			{Methods: []string{"POST"}, Path: "/fail", Handler: func(_ http.ResponseWriter, r *http.Request) error {
				if _, err := rest.Decode[request](r); err != nil {
					return err
				}
				return errors.New("open /secret: no")
			}},
			{Methods: []string{"POST"}, Path: "/panic", Handler: func(_ http.ResponseWriter, r *http.Request) error {
				_, _ = rest.Decode[request](r)
				panic("a bug")
			}},
			{Methods: []string{"GET"}, Path: "/panic/late", Handler: func(w http.ResponseWriter, _ *http.Request) error {
				_, _ = io.WriteString(w, "part")
				_ = http.NewResponseController(w).Flush()
				panic("a bug")
			}},
			{Methods: []string{"GET"}, Path: "/full", Handler: func(http.ResponseWriter, *http.Request) error {
				return fault.Errorf(fault.PoolFull, "no room")
			}},
		},
		Mount: func(r *mux.Router) {
			r.HandleFunc("/other/{x}", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, mux.Vars(r)["x"]) }).
				Methods("GET", "PUT")
		},
	}
}

func serve(t *testing.T, config Config) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(New(config))
	s.Config.MaxHeaderBytes = maxHeaderBytes
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// call sends a request whose path goes out as it is written, and returns the answer and its body.
func call(t *testing.T, s *httptest.Server, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// refusal checks that an answer is an error in JSON and returns its sentence.
func refusal(t *testing.T, resp *http.Response, body string, status int, code fault.Code) string {
	t.Helper()
	var v struct {
		Error string
		Code  fault.Code
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %q is no JSON: %v", resp.StatusCode, body, err)
	}
	if resp.StatusCode != status || v.Code != code || v.Error == "" {
		t.Errorf("got %d %s, want %d %s", resp.StatusCode, body, status, code)
	}
	return v.Error
}

func TestRoutes(t *testing.T) {
	s := serve(t, testConfig())
	for name, c := range map[string]struct{ method, path, want string }{
		"v1.0":                  {"GET", "/api/v1.0/jobs", `["jobs","",""]`},
		"v1":                    {"GET", "/api/v1/jobs", `["jobs","",""]`},
		"slash":                 {"GET", "/api/v1.0/jobs/", `["jobs","",""]`},
		"v1, slash":             {"GET", "/api/v1/jobs/", `["jobs","",""]`},
		"query":                 {"GET", "/api/v1.0/jobs?x=/a", `["jobs","",""]`},
		"variable":              {"GET", "/api/v1.0/jobs/17", `["job","17",""]`},
		"variable, slash":       {"GET", "/api/v1.0/jobs/17/", `["job","17",""]`},
		"variable, encoded":     {"GET", "/api/v1.0/jobs/a%2Fb%20c", `["job","a/b c",""]`},
		"other method":          {"DELETE", "/api/v1.0/jobs/17", `["cancel","17",""]`},
		"fixed before variable": {"GET", "/api/v1.0/jobs/new", `["new","",""]`},
		"rest":                  {"POST", "/api/v1.0/meta/abc", `["meta","","abc"]`},
		"rest with slashes":     {"POST", "/api/v1.0/meta/a//b/%2F+=/", `["meta","","a//b/%2F+=/"]`},
		"rest with dots":        {"POST", "/api/v1/meta/../jobs", `["meta","","../jobs"]`},
		"two methods, GET":      {"GET", "/api/v1.0/cancreate", `["can","",""]`},
		"two methods, POST":     {"POST", "/api/v1.0/cancreate/", `["can","",""]`},
		"mounted":               {"PUT", "/other/a%20b", "a%20b"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := call(t, s, c.method, c.path, "")
			if resp.StatusCode != 200 || strings.TrimSpace(body) != c.want {
				t.Errorf("got %d %s, want %s", resp.StatusCode, body, c.want)
			}
		})
	}
}

func TestPing(t *testing.T) {
	s := serve(t, testConfig())
	resp, body := call(t, s, "GET", "/", "")
	if resp.StatusCode != 200 || !strings.Contains(body, "Elemento") || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("got %d %q %v", resp.StatusCode, body, resp.Header)
	}
	resp, body = call(t, s, "HEAD", "/", "")
	if resp.StatusCode != 200 || body != "" {
		t.Errorf("HEAD: got %d %q", resp.StatusCode, body)
	}
}

func TestHeadAndOptions(t *testing.T) {
	s := serve(t, testConfig())
	resp, body := call(t, s, "HEAD", "/api/v1.0/jobs", "")
	if resp.StatusCode != 200 || body != "" || resp.ContentLength != int64(len(`["jobs","",""]`+"\n")) {
		t.Errorf("HEAD: got %d %q, length %d", resp.StatusCode, body, resp.ContentLength)
	}
	resp, _ = call(t, s, "OPTIONS", "/api/v1.0/jobs/1", "")
	if resp.StatusCode != 204 || resp.Header.Get("Allow") != "DELETE, GET, HEAD, OPTIONS" {
		t.Errorf("OPTIONS: got %d %v", resp.StatusCode, resp.Header)
	}
}

func TestRefusals(t *testing.T) {
	s := serve(t, testConfig())
	deep := strings.Repeat(`{"name":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code               fault.Code
		says               string
	}{
		"other version":       {"POST", "/api/v2/create", "", 404, fault.NoSuchVersion, `the API version "v2" is not served; served are /api/v1.0 and /api/v1`},
		"longer version":      {"POST", "/api/v1.0.1/create", "", 404, fault.NoSuchVersion, `"v1.0.1"`},
		"v1.1":                {"GET", "/api/v1.1/jobs", "", 404, fault.NoSuchVersion, `"v1.1"`},
		"v1 followed":         {"GET", "/api/v1x0/jobs", "", 404, fault.NoSuchVersion, `"v1x0"`},
		"placeholder":         {"POST", "/api/%3Cversion%3E/create", "", 404, fault.NoSuchVersion, `"%3Cversion%3E"`},
		"no version":          {"POST", "/api/create", "", 404, fault.NoSuchVersion, `"create"`},
		"nothing of API":      {"GET", "/api", "", 404, fault.NoSuchVersion, `""`},
		"double slash":        {"GET", "/api//v1.0/jobs", "", 404, fault.NoSuchVersion, `""`},
		"unknown":             {"GET", "/api/v1.0/nothing", "", 404, fault.NoSuchPath, "nothing is at the path /api/v1.0/nothing"},
		"unknown, outside":    {"GET", "/favicon.ico", "", 404, fault.NoSuchPath, "/favicon.ico"},
		"apis":                {"GET", "/apis/v1", "", 404, fault.NoSuchPath, "/apis/v1"},
		"base":                {"GET", "/api/v1.0", "", 404, fault.NoSuchPath, "/api/v1.0"},
		"two slashes":         {"GET", "/api/v1.0//jobs", "", 404, fault.NoSuchPath, "/api/v1.0//jobs"},
		"two slashes after":   {"GET", "/api/v1.0/jobs//", "", 404, fault.NoSuchPath, "/api/v1.0/jobs//"},
		"dots":                {"GET", "/api/v1.0/x/../jobs", "", 404, fault.NoSuchPath, "/api/v1.0/x/../jobs"},
		"other case":          {"GET", "/api/v1.0/Jobs", "", 404, fault.NoSuchPath, "/api/v1.0/Jobs"},
		"too deep":            {"GET", "/api/v1.0/jobs/1/2", "", 404, fault.NoSuchPath, "/api/v1.0/jobs/1/2"},
		"long path":           {"GET", "/" + strings.Repeat("x", 5000), "", 404, fault.NoSuchPath, "…"},
		"method":              {"POST", "/api/v1.0/jobs", "{}", 405, fault.MethodNotAllowed, "POST is not allowed here; allowed is GET, HEAD, OPTIONS"},
		"method, root":        {"POST", "/", "", 405, fault.MethodNotAllowed, "allowed is GET, HEAD, OPTIONS"},
		"method, mounted":     {"DELETE", "/other/x", "", 405, fault.MethodNotAllowed, "allowed is GET, PUT"},
		"method, made up":     {"BREW", "/api/v1/echo", "", 405, fault.MethodNotAllowed, "BREW is not allowed here; allowed is OPTIONS, POST"},
		"missing key":         {"POST", "/api/v1.0/echo", "{}", 400, fault.BadRequest, "request was badly formatted. 'name'"},
		"truncated":           {"POST", "/api/v1.0/echo", `{"name":`, 400, fault.BadRequest, "not whole JSON"},
		"garbage after":       {"POST", "/api/v1.0/echo", `{"name":"a"}}`, 400, fault.BadRequest, "more text after"},
		"duplicate keys":      {"POST", "/api/v1.0/echo", `{"name":"a","name":"b"}`, 400, fault.BadRequest, `the key "name" twice`},
		"10,000 deep":         {"POST", "/api/v1.0/echo", deep, 400, fault.BadRequest, "deeper than 100 levels"},
		"2 MiB":               {"POST", "/api/v1.0/echo", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, 413, fault.BodyTooLarge, "larger than 1048576 bytes"},
		"ours":                {"POST", "/api/v1.0/fail", `{"name":"n","k":[1]}`, 500, fault.InternalError, "under request id"},
		"panic":               {"POST", "/api/v1.0/panic", `{"name":"n","k":[1]}`, 500, fault.InternalError, "under request id"},
		"507":                 {"GET", "/api/v1.0/full", "", 507, fault.PoolFull, "no room"},
		"variable, malformed": {"GET", "/api/v1.0/meta/x", "", 405, fault.MethodNotAllowed, "allowed is OPTIONS, POST"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := call(t, s, c.method, c.path, c.body)
			if sentence := refusal(t, resp, body, c.status, c.code); !strings.Contains(sentence, c.says) {
				t.Errorf("says %q, want %q", sentence, c.says)
			}
			if resp.StatusCode == 405 && !strings.HasSuffix(c.says, "allowed is "+resp.Header.Get("Allow")) {
				t.Errorf("Allow: %q", resp.Header.Get("Allow"))
			}
			if resp.StatusCode == 500 && (!strings.Contains(body, `"name":"n"`) || !strings.Contains(body, `"k":[1]`) || strings.Contains(body, "secret") || strings.Contains(body, "a bug")) {
				t.Errorf("body %s", body)
			}
		})
	}
}

func TestHugeHeaderIsRefused(t *testing.T) {
	s := serve(t, testConfig())
	resp, _ := call(t, s, "GET", "/", "", "X-Huge", strings.Repeat("x", 2*maxHeaderBytes))
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestLatePanicDropsTheConnection(t *testing.T) {
	s := serve(t, testConfig())
	resp, err := s.Client().Get(s.URL + "/api/v1.0/panic/late")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the client took %q for the whole", body)
	}
}

func TestRequestID(t *testing.T) {
	s := serve(t, testConfig())
	for name, c := range map[string]struct {
		id   string
		kept bool
	}{
		"UUID": {"0f8fad5b-d9cb-469f-a165-70867728950e", true}, "64 characters": {strings.Repeat("a", 64), true},
		"none": {"", false}, "65 characters": {strings.Repeat("a", 65), false}, "space": {"a b", false},
		"quotes": {`a"b`, false}, "other letters": {"é", false}, "markup": {"<b>", false},
	} {
		t.Run(name, func(t *testing.T) {
			resp, _ := call(t, s, "GET", "/", "", "X-Request-Id", c.id)
			got := resp.Header.Get("X-Request-Id")
			if (got == c.id) != c.kept || !sane(got) {
				t.Errorf("got %q", got)
			}
		})
	}
	one, _ := call(t, s, "GET", "/", "")
	two, _ := call(t, s, "GET", "/", "")
	if one.Header.Get("X-Request-Id") == two.Header.Get("X-Request-Id") {
		t.Error("two requests have one id")
	}
}

func TestAccessLog(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, body string
		want               map[string]any
		absent             []string
	}{
		"read": {"GET", "/api/v1.0/jobs/17", "", map[string]any{
			"level": "DEBUG", "msg": "request", "method": "GET", "route": "/jobs/{id}", "status": 200.0, "bytes": 16.0, "request_id": "the-id",
		}, []string{"path", "error", "code", "broken_off"}},
		"change": {"POST", "/api/v1/echo", `{"name":"n"}`, map[string]any{
			"level": "INFO", "route": "/echo", "status": 200.0,
		}, []string{"path", "error", "code"}},
		"refused": {"POST", "/api/v1/echo", `{}`, map[string]any{
			"level": "INFO", "status": 400.0, "code": "BadRequest", "error": "request was badly formatted. 'name'",
		}, []string{"path"}},
		"unknown path": {"GET", "/nothing/here", "", map[string]any{
			"level": "INFO", "route": "", "path": "/nothing/here", "status": 404.0, "code": "NoSuchPath",
		}, nil},
		"ours": {"POST", "/api/v1/fail", `{"name":"n"}`, map[string]any{
			"level": "WARN", "status": 500.0, "code": "InternalError", "error": "open /secret: no",
		}, nil},
		"full": {"GET", "/api/v1/full", "", map[string]any{"level": "WARN", "status": 507.0, "code": "PoolFull"}, nil},
		"panic": {"POST", "/api/v1/panic", `{"name":"n"}`, map[string]any{
			"level": "WARN", "status": 500.0, "error": "panic: a bug",
		}, nil},
		"other site": {"POST", "/api/v1/echo", `{"name":"n"}`, map[string]any{"level": "INFO", "status": 403.0, "code": "CrossSite"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			config := testConfig()
			config.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			h := New(config)
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.Header.Set("X-Request-Id", "the-id")
			if name == "other site" {
				r.Header.Set("Sec-Fetch-Site", "cross-site")
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if name == "panic" {
				if !strings.Contains(lines[0], `"msg":"panic","value":"a bug","request_id":"the-id","stack":`) || !strings.Contains(lines[0], "ERROR") {
					t.Errorf("the panic's line is %s", lines[0])
				}
				lines = lines[1:]
			}
			if len(lines) != 1 {
				t.Fatalf("%d lines: %s", len(lines), log.String())
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(lines[0]), &got); err != nil {
				t.Fatal(err)
			}
			for k, want := range c.want {
				if got[k] != want {
					t.Errorf("%s is %v, want %v", k, got[k], want)
				}
			}
			if ms, ok := got["duration_ms"].(float64); !ok || ms < 0 {
				t.Errorf("duration_ms is %v", got["duration_ms"])
			}
			for _, k := range c.absent {
				if v, there := got[k]; there {
					t.Errorf("%s is there: %v", k, v)
				}
			}
		})
	}
}

func TestLatePanicIsLoggedAsBrokenOff(t *testing.T) {
	var log bytes.Buffer
	config := testConfig()
	config.Log = slog.New(slog.NewJSONHandler(&log, nil))
	func() {
		defer func() {
			if p := recover(); p == nil {
				t.Error("the connection would be kept")
			}
		}()
		New(config).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/api/v1/panic/late", nil))
	}()
	if !strings.Contains(log.String(), `"broken_off":true`) {
		t.Errorf("log: %s", log.String())
	}
}

func TestNewPanicsOnContradictions(t *testing.T) {
	route := rest.Route{Methods: []string{"GET"}, Path: "/a", Handler: says("a")}
	for name, routes := range map[string][]rest.Route{
		"same route twice": {route, route},
		"no handler":       {{Methods: []string{"GET"}, Path: "/a"}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			New(Config{Routes: routes})
		})
	}
}

func BenchmarkRouter(b *testing.B) {
	config := testConfig()
	config.Mount = nil
	for i := range 60 {
		config.Routes = append(config.Routes, rest.Route{Methods: []string{"POST"}, Path: fmt.Sprintf("/path%d/x", i), Handler: says("x")})
	}
	h := newRouter(config)
	for _, path := range []string{"/api/v1.0/path0/x", "/api/v1/path59/x/", "/api/v1.0/jobs/17"} {
		b.Run(path[5:], func(b *testing.B) {
			method := "POST"
			if strings.Contains(path, "jobs") {
				method = "GET"
			}
			r := httptest.NewRequest(method, path, nil)
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != 200 {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
