package v1_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"elstore/api"
	"elstore/api/access"
	"elstore/api/audit"
	"elstore/api/rest"
	v1 "elstore/api/v1"
	"elstore/cloudinit"
	"elstore/export"
	"elstore/iso"
	"elstore/livemigration"
	"elstore/test/exports"
	"elstore/test/rig"
	"elstore/volume"
)

const (
	alice = "ffffffffffffffffffffffffffffffff" // the source document's only client
	bob   = "00000000000000000000000000000b0b"
	base  = "/api/v1.0"
)

// spec is the document, ready to judge requests and answers.
var spec = sync.OnceValues(func() (routers.Router, error) {
	doc, err := loadSpec()
	if err != nil {
		return nil, err
	}
	doc.Servers = openapi3.Servers{{URL: base}}
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.FileBodyDecoder)
	return gorillamux.NewRouter(doc)
})

func loadSpec() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
}

// server is the real API on real pools.
type server struct {
	*rig.Parts
	t    testing.TB
	root string
	pool string // path of the pool "pool"
	http *httptest.Server

	exports *export.Service

	migrations *livemigration.Service

	formats []string // of its volumes, the first of those that create makes; nil says nothing

	tokens *access.Tokens
	audit  *audit.Log
}

// newServer serves a root with one pool named pool. change may alter the Service's configuration.
func newServer(t testing.TB, settings string, change ...func(*volume.Config)) *server {
	t.Helper()
	s := &server{t: t, root: t.TempDir()}
	s.pool = rig.Pool(t, s.root, "pool", settings)
	s.Parts = rig.Assemble(t, s.root, func(c *volume.Config) {
		c.LockWait = time.Second
		c.Held = func(id volume.ID) error { return s.migrations.Held(id) }
		for _, fn := range change {
			fn(c)
		}
	})
	s.exports = exports.Serve(t, s.Parts, "")
	s.migrations = exports.Migrate(t, s.Parts, s.exports)
	var err error
	if s.tokens, err = access.OpenTokens(s.State); err != nil {
		t.Fatal(err)
	}
	if s.audit, err = audit.Open(audit.Config{Dir: s.State}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.audit.Close() })
	s.http = httptest.NewServer(api.New(api.Config{Log: slog.New(slog.DiscardHandler), Routes: s.routes(), Audit: s.audit}))
	t.Cleanup(s.http.Close)
	return s
}

// onBoth runs a test whose word is true of volumes wherever they lie: on a pool of files, and on one whose images lie on a cluster.
func onBoth(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	for _, b := range []struct {
		name, settings string
		formats        []string
	}{
		{"files", `{}`, []string{"raw", "qcow2"}},
		{"Ceph", `{"ceph": {"pool": "volumes"}}`, []string{"rbd"}},
	} {
		t.Run(b.name, func(t *testing.T) {
			s := newServer(t, b.settings)
			s.formats = b.formats
			test(t, s)
		})
	}
}

// routes are those of the API over the server's parts.
func (s *server) routes() []rest.Route {
	return v1.New(v1.Config{
		Volumes: s.Volumes, Pools: s.Pools, Jobs: s.Jobs, Events: s.Events, Keys: s.Keys, Exports: s.exports, Migrations: s.migrations, Version: "test",
		ISO:    iso.NewService(s.Volumes),
		Seeds:  cloudinit.NewService(cloudinit.Config{Volumes: s.Volumes, Log: slog.New(slog.DiscardHandler), Fetch: newFetcher(s.t)}),
		Tokens: s.tokens, Audit: s.audit,
	}).Routes()
}

// answer is what came back.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, bytes.TrimSpace(a.body)) }

// object is the body as a JSON object, numbers as they were written.
func (a answer) object() map[string]any {
	a.t.Helper()
	return decode[map[string]any](a.t, a.body)
}

func (a answer) list() []map[string]any {
	a.t.Helper()
	return decode[[]map[string]any](a.t, a.body)
}

func decode[T any](t testing.TB, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return v
}

// want checks the status, and that an error has its code.
func (a answer) want(status int, code ...string) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("got %s, want %d %v", a, status, code)
	}
	if len(code) > 0 && a.object()["code"] != code[0] {
		a.t.Fatalf("got %s, want code %s", a, code[0])
	}
	return a
}

// header is a pair of a request header's name and value.
type header [2]string

// do sends a request to a path below the base. A body that is no string or reader goes as JSON. The answer must be as the
// document says, and the request too if it was not refused.
func (s *server) do(method, path string, body any, headers ...header) answer {
	s.t.Helper()
	req := s.request(method, path, body, headers...)
	var sent []byte
	if req.Body != nil && req.Body != http.NoBody {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			s.t.Fatal(err)
		}
		length := req.ContentLength
		req.Body = io.NopCloser(bytes.NewReader(sent))
		if length == 0 {
			req.ContentLength = int64(len(sent))
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{s.t, resp.StatusCode, resp.Header, data}
	if err := conform(req, sent, a); err != nil {
		s.t.Errorf("%s %s %.200s\n%.500s\nis not as the document says: %.1000v", method, path, sent, a, err)
	}
	return a
}

func (s *server) request(method, path string, body any, headers ...header) *http.Request {
	s.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	case io.Reader:
		reader = b
	default:
		data, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+base+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		req.Header.Add(h[0], h[1])
	}
	return req
}

func (s *server) post(path string, body any, headers ...header) answer {
	s.t.Helper()
	return s.do(http.MethodPost, path, body, headers...)
}

func (s *server) get(path string, headers ...header) answer {
	s.t.Helper()
	return s.do(http.MethodGet, path, nil, headers...)
}

// conform judges an exchange by the document: the answer, and the request if it was not refused.
func conform(req *http.Request, sent []byte, a answer) error {
	in, err := placed(req, sent)
	if err != nil {
		return err
	}
	if a.status < 400 {
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			return fmt.Errorf("the request: %w", err)
		}
	}
	return judged(in, a)
}

// answered judges an answer alone.
func answered(req *http.Request, a answer) error {
	in, err := placed(req, nil)
	if err != nil {
		return err
	}
	return judged(in, a)
}

// placed finds the request in the document.
func placed(req *http.Request, sent []byte) (*openapi3filter.RequestValidationInput, error) {
	router, err := spec()
	if err != nil {
		return nil, err
	}
	copied := req.Clone(context.Background())
	copied.URL = &url.URL{Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery}
	for _, open := range []string{"/files/", "/cloudinit/metadata/"} { // what follows may hold slashes, which the document can't say
		if before, rest, ok := strings.Cut(copied.URL.EscapedPath(), open); ok {
			copied.URL.Path, copied.URL.RawPath = before+open+strings.NewReplacer("/", "-", "%", "-").Replace(rest), ""
		}
	}
	copied.Body = io.NopCloser(bytes.NewReader(sent))
	if len(sent) == 0 {
		copied.Body = nil
	} else if copied.Header.Get("Content-Type") == "" {
		copied.Header.Set("Content-Type", map[bool]string{true: "application/octet-stream", false: "application/json"}[req.Method == http.MethodPut])
	}
	route, params, err := router.FindRoute(copied)
	if err != nil {
		return nil, err
	}
	return &openapi3filter.RequestValidationInput{Request: copied, PathParams: params, Route: route, Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}, nil
}

func judged(in *openapi3filter.RequestValidationInput, a answer) error {
	noBody := in.Request.Method == http.MethodHead || a.status == http.StatusNotModified || a.header.Get("Content-Type") == "text/event-stream"
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.status, Header: a.header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: noBody},
	}
	out.SetBodyBytes(a.body)
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		return fmt.Errorf("the answer: %w", err)
	}
	return nil
}

// create makes a volume of alice's and returns its id. more keys and values follow the size in GB.
func (s *server) create(name string, gb any, more ...any) string {
	s.t.Helper()
	body := map[string]any{"creatorID": alice, "name": name, "size": gb}
	if s.formats != nil {
		body["format"] = s.formats[0]
	}
	for i := 0; i < len(more); i += 2 {
		body[more[i].(string)] = more[i+1]
	}
	return s.post("/create", body).want(200).object()["vid"].(string)
}

func (s *server) record(id string) map[string]any {
	s.t.Helper()
	return s.post("/info", map[string]any{"volume_id": id}).want(200).object()
}

// wait waits for the end of the job of a 202 and returns it.
func (s *server) wait(a answer) map[string]any {
	s.t.Helper()
	a.want(http.StatusAccepted)
	id := a.object()["id"].(string)
	if want := base + "/jobs/" + id; a.header.Get("Location") != want {
		s.t.Errorf("Location %q, want %q", a.header.Get("Location"), want)
	}
	_, _ = s.Jobs.Wait(s.t.Context(), id)
	return s.get("/jobs/" + id).want(200).object()
}

// dial opens a connection of its own.
func (s *server) dial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// running waits until a job of the kind runs and returns its id.
func (s *server) running(kind string) string {
	s.t.Helper()
	var id string
	s.until(kind+" runs", func() bool {
		for _, job := range s.Jobs.List() {
			if job.Kind == kind && job.State == volume.Running {
				id = job.ID
			}
		}
		return id != ""
	})
	return id
}

// locked waits until the volume is locked and returns its record.
func (s *server) locked(id string) (record map[string]any) {
	s.t.Helper()
	s.until("locked", func() bool {
		record = s.record(id)
		return record["locked"] == true
	})
	return record
}

// until polls for what the server does by itself.
func (s *server) until(what string, done func() bool) {
	s.t.Helper()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-deadline:
			s.t.Fatalf("never: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// state is all that requests could have changed: every file of the pools with its size and content's text, and the lists.
func (s *server) state() string {
	s.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(s.root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v", path, info.Mode())
		if info.Mode().IsRegular() {
			fmt.Fprintf(&b, " %d", info.Size())
		}
		if strings.HasSuffix(path, ".json") {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b.Write(data)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprint(&b, s.Pools.Infos()[0].Used, s.Pools.Infos()[0].Reserved)
	return b.String()
}
