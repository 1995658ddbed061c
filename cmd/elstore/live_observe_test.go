package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"elstore/test/rig"
)

// getURL returns the answer of a server on this machine.
func getURL(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// span is what a collector was told.
type span struct{ name, parent, id, trace, requestID, state string }

// TestWatchedServer: metrics, health, profiles, and traces of a real server.
func TestWatchedServer(t *testing.T) {
	spans := make(chan span, 1000)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var sent collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &sent)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("X-Key") != "secret" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		for _, of := range sent.GetResourceSpans() {
			for _, scope := range of.GetScopeSpans() {
				for _, s := range scope.GetSpans() {
					one := span{name: s.GetName(), parent: string(s.GetParentSpanId()), id: string(s.GetSpanId()), trace: string(s.GetTraceId())}
					for _, a := range s.GetAttributes() {
						switch a.GetKey() {
						case "elstore.request_id":
							one.requestID = a.GetValue().GetStringValue()
						case "elstore.job.state":
							one.state = a.GetValue().GetStringValue()
						}
					}
					spans <- one
				}
			}
		}
	}))
	defer web.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", web.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")
	t.Run("while it runs", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "ready")
		liveServer(t, "--debug-listen", "127.0.0.1:0", "--ready-file", file)
		var ready struct{ API, Debug any }
		data, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(data, &ready) != nil {
			t.Fatalf("%v: %s", err, data)
		}
		base := "http://" + os.Getenv("ELSTORE_SERVER")
		succeeds(t, "volume", "create", "web", "--size", "1M")
		for path, says := range map[string]string{
			"/metrics": "elstore_pool_volumes{pool=\"fast\"} 1\n", "/healthz": `"ok"`, "/readyz": `"ready"`,
		} {
			if status, body := getURL(t, base+path); status != 200 || !strings.Contains(body, says) {
				t.Errorf("%s: %d %.2000s", path, status, body)
			}
		}
		for began := time.Now(); ; <-time.After(time.Millisecond) { // a job is answered before it is counted
			if _, body := getURL(t, base+"/metrics"); strings.Contains(body, `elstore_jobs_total{kind="create",state="done"} 1`) {
				break
			}
			if time.Since(began) > 30*time.Second {
				t.Fatal("jobs are not counted")
			}
		}
		debug := "http://" + ready.Debug.(string) + "/debug/pprof/"
		for path, says := range map[string]string{"": "goroutine", "goroutine?debug=1": "goroutine profile", "cmdline": ".test", "heap?debug=1": "heap profile"} {
			if status, body := getURL(t, debug+path); status != 200 || !strings.Contains(body, says) {
				t.Errorf("%s: %d %.200s", path, status, body)
			}
		}
		if status, _ := getURL(t, base+"/debug/pprof/"); status != 404 {
			t.Errorf("the API's address has profiles: %d", status)
		}
	}) // its end sends what was gathered
	close(spans)
	all := slices.Collect(func(yield func(span) bool) {
		for s := range spans {
			if !yield(s) {
				return
			}
		}
	})
	find := func(name string) span {
		t.Helper()
		i := slices.IndexFunc(all, func(s span) bool { return s.name == name })
		if i < 0 {
			t.Fatalf("no span is named %q among %q", name, all)
		}
		return all[i]
	}
	request, job := find("POST /create"), find("job create")
	if request.requestID == "" || job.parent != request.id || job.trace != request.trace || job.state != "done" {
		t.Errorf("the request is %q, its job %q", request, job)
	}
}

func TestDebugIsForThisMachineOnly(t *testing.T) {
	root := t.TempDir()
	rig.Pool(t, root, "fast", `{}`)
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0", "nonsense"} {
		o := elstore(t, "serve", "--root", root, "--listen", "127.0.0.1:0", "--iscsi-listen", "127.0.0.1:0", "--insecure", "--debug-listen", address)
		if o.code == exitOK || !strings.Contains(o.stderr, "--debug-listen") {
			t.Errorf("%s: code %d, %s", address, o.code, o.stderr)
		}
	}
}

// TestCollectorThatIsAway: a server ends well and soon where nobody takes its traces.
func TestCollectorThatIsAway(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	liveServer(t)
	succeeds(t, "pool", "list")
}
