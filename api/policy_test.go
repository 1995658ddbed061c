package api

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"elstore/api/access"
	"elstore/api/audit"
	"elstore/api/rest"
	v1 "elstore/api/v1"
)

// TestPolicyKnowsEveryRoute: a route that is forgotten would be an operator's alone.
func TestPolicyKnowsEveryRoute(t *testing.T) {
	unused := map[string]bool{}
	for name := range verdicts {
		unused[name] = true
	}
	for _, elsewhere := range []string{"GET /", "GET /healthz", "GET /readyz", "GET /metrics"} {
		delete(unused, elsewhere)
	}
	for _, route := range v1.New(v1.Config{}).Routes() {
		for _, method := range route.Methods {
			if _, known := verdictOf(method, route.Path); !known {
				t.Errorf("policy.go says nothing of %s %s", method, route.Path)
			}
			delete(unused, method+" "+route.Path)
		}
	}
	for name := range unused {
		t.Errorf("policy.go speaks of %s, which is no route", name)
	}
	if v, known := verdictOf("POST", "/nothing"); known || v.least != access.Operator || !v.audited {
		t.Errorf("what stands nowhere: %+v", v)
	}
	if v, known := verdictOf("HEAD", "/version"); !known || v.least != access.Reader {
		t.Errorf("HEAD is as GET: %+v", v)
	}
}

// gate is a server with access control and its audit log.
type gate struct {
	t    *testing.T
	web  *httptest.Server
	dir  *os.Root
	log  *audit.Log
	text map[access.Role]string
}

func newGate(t *testing.T, config Config) *gate {
	t.Helper()
	dir, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	tokens, err := access.OpenTokens(dir)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{t: t, dir: dir, text: map[access.Role]string{}}
	for role := access.Reader; role <= access.Operator; role++ {
		if _, g.text[role], err = tokens.Create(access.Token{Name: role.String(), Role: role}); err != nil {
			t.Fatal(err)
		}
	}
	if g.log, err = audit.Open(audit.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.log.Close() })
	config.Log, config.Access, config.Audit = slog.New(slog.DiscardHandler), access.NewControl(tokens, nil), g.log
	g.web = httptest.NewUnstartedServer(New(config))
	g.web.Config.MaxHeaderBytes = maxHeaderBytes
	g.web.Start()
	t.Cleanup(g.web.Close)
	return g
}

func (g *gate) do(method, path, credential string, headers ...string) *http.Response {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.web.URL+path, http.NoBody)
	if err != nil {
		g.t.Fatal(err)
	}
	if credential != "" {
		req.Header.Set("Authorization", credential)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func fine(w http.ResponseWriter, _ *http.Request) error {
	return rest.Reply(w, http.StatusOK, "fine")
}

var someRoutes = []rest.Route{
	{Methods: []string{"GET"}, Path: "/version", Handler: fine},
	{Methods: []string{"POST"}, Path: "/create", Handler: fine},
	{Methods: []string{"POST"}, Path: "/forgotten", Handler: fine},
}

func TestGate(t *testing.T) {
	g := newGate(t, Config{Routes: someRoutes, Mount: func(r *mux.Router) {
		r.Handle("/metrics", rest.Handler(fine)).Methods("GET")
		r.Handle("/healthz", rest.Handler(fine))
		r.Handle("/elsewhere/{x}", rest.Handler(fine))
		r.NewRoute().Subrouter().HandleFunc("/deep/er", func(http.ResponseWriter, *http.Request) {})
	}})
	tests := []struct {
		call string
		want [5]int // anonymous, reader, user, orchestrator, operator
	}{
		{"GET /", [5]int{200, 200, 200, 200, 200}},
		{"GET /healthz", [5]int{200, 200, 200, 200, 200}},
		{"GET /metrics", [5]int{401, 200, 200, 200, 200}},
		{"GET /elsewhere/a", [5]int{401, 403, 403, 403, 200}},
		{"GET /deep/er", [5]int{401, 403, 403, 403, 200}},
		{"GET /api/v1/version", [5]int{401, 200, 200, 200, 200}},
		{"HEAD /api/v1/version", [5]int{401, 200, 200, 200, 200}},
		{"GET /api/v1.0/version/", [5]int{401, 200, 200, 200, 200}},
		{"POST /api/v1.0/create", [5]int{401, 403, 200, 200, 200}},
		{"POST /api/v1/forgotten", [5]int{401, 403, 403, 403, 200}},
		{"GET /nothing", [5]int{404, 404, 404, 404, 404}},
		{"PUT /api/v1/version", [5]int{405, 405, 405, 405, 405}},
	}
	for _, tt := range tests {
		method, path, _ := strings.Cut(tt.call, " ")
		for role, want := range tt.want {
			resp := g.do(method, path, g.text[access.Role(role)])
			if resp.StatusCode != want {
				t.Errorf("%s by %s: %d, want %d", tt.call, access.Role(role), resp.StatusCode, want)
			}
			if challenge := resp.Header.Get("WWW-Authenticate"); (challenge != "") != (want == 401) {
				t.Errorf("%s by %s: WWW-Authenticate %q", tt.call, access.Role(role), challenge)
			}
		}
	}
	list, err := g.log.Read(audit.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Status == 401 || e.Route == "/version" || e.RequestID == "" || e.Remote == "" || e.Who != e.Role {
			t.Errorf("%+v", e)
		}
	}
	if len(list) != 4*4 { // every try but the anonymous one, of /create, /forgotten and what is mounted beside the table
		t.Errorf("%d entries: %+v", len(list), list)
	}
}

// TestWrongCredentials: also where nobody is asked, and in all ways that a header can be wrong.
func TestWrongCredentials(t *testing.T) {
	g := newGate(t, Config{Routes: someRoutes})
	good := g.text[access.Operator]
	for name, headers := range map[string][]string{
		"cut off":    {"Authorization", good[:len(good)-3]},
		"twice":      {"Authorization", good, "Authorization", good},
		"two in one": {"Authorization", "Bearer " + good + " " + good},
		"basic":      {"Authorization", "Basic b3A6b3A="},
		"empty":      {"Authorization", ""},
	} {
		for _, path := range []string{"/", "/api/v1/version"} {
			resp := g.do("GET", path, "", headers...)
			if resp.StatusCode != 401 && resp.StatusCode != 429 {
				t.Errorf("%s: %s", name, resp.Status)
			}
			if resp.StatusCode == 429 && resp.Header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", name)
			}
		}
	}
	if resp := g.do("GET", "/api/v1/version", good); resp.StatusCode != 200 {
		t.Errorf("the good one: %s", resp.Status)
	}
	if resp := g.do("POST", "/api/v1/create", good, "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 {
		t.Errorf("with a good token, by another site: %s", resp.Status)
	}
}

// TestForgedLines: what callers choose stands in the audit log as one line.
func TestForgedLines(t *testing.T) {
	g := newGate(t, Config{Routes: someRoutes})
	g.do("POST", "/api/v1/create", g.text[access.Reader], "X-Request-Id", "ok\tforged")
	g.do("GET", "/api/v1.0/%0d%0a%7b%22who%22:%22forged%22%7d", "Bearer x")
	data, err := g.dir.ReadFile("audit.jsonl")
	if err != nil || strings.Count(string(data), "\n") != 2 || strings.Contains(string(data), `"who":"forged"`) {
		t.Errorf("%v:\n%s", err, data)
	}
}

func TestSecurityHeaders(t *testing.T) {
	g := newGate(t, Config{Routes: someRoutes})
	for _, path := range []string{"/", "/api/v1/version", "/nothing"} {
		h := g.do("GET", path, g.text[access.Operator]).Header
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "X-Frame-Options": "DENY",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := h.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
}

// TestHeaderFloods: headers beyond their bound are refused before anybody looks at them.
func TestHeaderFloods(t *testing.T) {
	g := newGate(t, Config{Routes: someRoutes})
	good := g.text[access.Operator]
	if resp := g.do("GET", "/api/v1/version", good, "X-Flood", strings.Repeat("x", 2*maxHeaderBytes)); resp.StatusCode != 431 {
		t.Errorf("one long header: %s", resp.Status)
	}
	many := []string{}
	for n := range 5000 {
		many = append(many, fmt.Sprintf("X-%d", n), "0123456789012345")
	}
	resp := g.do("GET", "/api/v1/version", good, many...)
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 431 {
		t.Errorf("many headers: %s %s", resp.Status, body)
	}
	if resp := g.do("GET", "/api/v1/version", strings.Repeat("x", 10000)); resp.StatusCode != 401 {
		t.Errorf("a long token: %s", resp.Status)
	}
}
