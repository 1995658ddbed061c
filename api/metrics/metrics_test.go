package metrics

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"elstore/api"
	"elstore/api/rest"
	"elstore/export"
	"elstore/test/exports"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

// watched is a server's real parts, its metrics, and an API that does little.
type watched struct {
	*rig.Parts
	t        *testing.T
	metrics  *Metrics
	exports  *export.Service
	http     *httptest.Server
	root     string
	stopping chan struct{}
}

func newWatched(t *testing.T, settings string) *watched {
	t.Helper()
	w := &watched{t: t, root: t.TempDir(), stopping: make(chan struct{})}
	rig.Pool(t, w.root, "pool", settings)
	w.Parts = rig.Assemble(t, w.root, nil)
	w.exports = exports.Serve(t, w.Parts, "")
	var err error
	w.metrics, err = New(Config{
		Pools: w.Pools, Volumes: w.Volumes, Jobs: w.Jobs, Exports: w.exports, Migrations: exports.Migrate(t, w.Parts, w.exports),
		Daemons: func() (int, uint64) { return 3, 2 }, Version: "v1.2.3", Stopping: w.stopping,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.http = httptest.NewServer(api.New(api.Config{
		Log: slog.New(slog.DiscardHandler), Top: w.metrics.Routes(), Observers: []rest.Observer{w.metrics.Observe},
		Routes: []rest.Route{
			{Methods: []string{"GET"}, Path: "/well/{id}", Handler: func(w http.ResponseWriter, _ *http.Request) error {
				return rest.Reply(w, http.StatusOK, "well")
			}},
			{Methods: []string{"GET"}, Path: "/full", Handler: func(http.ResponseWriter, *http.Request) error {
				return fault.Errorf(fault.PoolFull, "no room")
			}},
			{Methods: []string{"GET"}, Path: "/events", Handler: func(w http.ResponseWriter, _ *http.Request) error {
				return rest.Reply(w, http.StatusOK, "for ever")
			}},
		},
	}))
	t.Cleanup(w.http.Close)
	return w
}

func (w *watched) call(method, path string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.http.URL+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// scrape returns what /metrics says.
func (w *watched) scrape() map[string]*dto.MetricFamily {
	w.t.Helper()
	status, body := w.call("GET", "/metrics")
	if status != http.StatusOK {
		w.t.Fatalf("%d %s", status, body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	return families
}

// value returns the number of a series, which name and labels tell, and of a histogram how much it counted; -1 where it isn't there.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	for _, m := range families[name].GetMetric() {
		has := map[string]string{}
		for _, l := range m.GetLabel() {
			has[l.GetName()] = l.GetValue()
		}
		fits := true
		for i := 0; i < len(labels); i += 2 {
			fits = fits && has[labels[i]] == labels[i+1]
		}
		switch {
		case !fits:
		case m.Histogram != nil:
			return float64(m.GetHistogram().GetSampleCount())
		case m.Counter != nil:
			return m.GetCounter().GetValue()
		default:
			return m.GetGauge().GetValue()
		}
	}
	return -1
}

const alice = "ffffffffffffffffffffffffffffffff"

func (w *watched) create(name string) volume.ID {
	w.t.Helper()
	owner, err := volume.ParseClient(alice)
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := w.Volumes.Create(w.t.Context(), volume.NewVolume{Meta: volume.Meta{
		Creator: owner, Name: name, Format: volume.Raw, Bus: volume.Virtio, Alg: volume.Copy, Size: 1 << 20, Clonable: true,
	}}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.ID
}

func TestWhatIsServed(t *testing.T) {
	w := newWatched(t, `{"max-volumes": 10, "max-total-size": "1G"}`)
	one, binned := w.create("one"), w.create("binned")
	client, err := volume.ParseClient(alice)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Volumes.Destroy(t.Context(), binned, nil, false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.exports.Export(t.Context(), export.Request{Volume: one, Client: client}); err != nil {
		t.Fatal(err)
	}
	w.exports.Beat(t.Context())
	for _, path := range []string{"/api/v1.0/well/1", "/api/v1/well/2", "/api/v1.0/full", "/api/v1.0/events", "/nothing/of/this"} {
		w.call("GET", path)
	}
	w.call("BREW", "/api/v1.0/well/1")
	_, ended := w.metrics.ObserveJob(t.Context(), volume.Job{Kind: "convert"})
	ended(volume.Job{Kind: "convert", State: volume.Failed}, fault.Errorf(fault.PoolFull, "no room"))
	release := make(chan struct{})
	if _, err := w.Jobs.Start(t.Context(), "clone", nil, nil, false, func(context.Context, volume.Progress) (any, error) {
		<-release
		return nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	defer close(release)

	open := func() float64 {
		f := w.scrape()
		return value(f, "elstore_jobs", "state", "running") + value(f, "elstore_jobs", "state", "queued")
	}
	if n := open(); n != 1 {
		t.Errorf("%v jobs are open", n)
	}
	f := w.scrape()
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{1, "elstore_build_info", []string{"version", "v1.2.3"}},
		{2, "elstore_http_requests_total", []string{"method", "GET", "route", "/well/{id}", "status", "200"}},
		{1, "elstore_http_requests_total", []string{"method", "GET", "route", "/full", "status", "507"}},
		{1, "elstore_http_requests_total", []string{"method", "GET", "route", "none", "status", "404"}},
		{1, "elstore_http_requests_total", []string{"method", "other", "route", "/well/{id}", "status", "405"}},
		{2, "elstore_http_request_duration_seconds", []string{"method", "GET", "route", "/well/{id}"}},
		{1, "elstore_http_requests_total", []string{"route", "/events"}},
		{-1, "elstore_http_request_duration_seconds", []string{"route", "/events"}},
		{1, "elstore_http_requests_in_flight", nil}, // this one
		{1, "elstore_errors_total", []string{"code", "PoolFull"}},
		{1, "elstore_errors_total", []string{"code", "NoSuchPath"}},
		{1, "elstore_jobs_total", []string{"kind", "convert", "state", "failed"}},
		{1, "elstore_job_duration_seconds", []string{"kind", "convert"}},
		{1, "elstore_pool_valid", []string{"pool", "pool"}},
		{2, "elstore_pool_volumes", []string{"pool", "pool"}},
		{10, "elstore_pool_max_volumes", []string{"pool", "pool"}},
		{1e9, "elstore_pool_max_total_bytes", []string{"pool", "pool"}},
		{2 << 20, "elstore_pool_used_bytes", []string{"pool", "pool"}},
		{1, "elstore_pool_bin_volumes", []string{"pool", "pool"}},
		{1 << 20, "elstore_pool_bin_bytes", []string{"pool", "pool"}},
		{1, "elstore_volumes", []string{"pool", "pool", "state", "standing"}},
		{1, "elstore_volumes", []string{"pool", "pool", "state", "trashed"}},
		{1, "elstore_volumes", []string{"pool", "pool", "state", "in_use"}},
		{0, "elstore_volumes", []string{"pool", "pool", "state", "damaged"}},
		{1, "elstore_exports", []string{"type", "iscsi", "state", "standing"}},
		{0, "elstore_exports", []string{"type", "iscsi", "state", "fencing"}},
		{0, "elstore_export_sessions", []string{"type", "iscsi"}},
		{0, "elstore_export_operations_total", []string{"type", "iscsi", "operation", "read"}},
		{0, "elstore_export_latency_seconds", []string{"type", "iscsi", "operation", "write"}},
		{0, "elstore_attachment_operations_total", []string{"volume", one.String(), "client", alice, "type", "iscsi", "operation", "write"}},
		{0, "elstore_exports_unlisted", nil},
		{0, "elstore_migrations", []string{"state", "NEEDS_OPERATOR"}},
		{3, "elstore_storage_daemons", nil},
		{2, "elstore_storage_daemon_restarts_total", nil},
	} {
		if got := value(f, c.name, c.labels...); got != c.want {
			t.Errorf("%s %v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	if got := value(f, "elstore_export_oldest_heartbeat_timestamp_seconds"); got < float64(time.Now().Add(-time.Minute).Unix()) {
		t.Errorf("the oldest heartbeat was at %v", got)
	}
	if value(f, "go_goroutines") < 1 || value(f, "process_open_fds") < 1 {
		t.Error("nothing is told of the process")
	}
	_, text := w.call("GET", "/metrics")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "elstore_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestHealth(t *testing.T) {
	w := newWatched(t, `{}`)
	want := func(path string, status int, says string) {
		t.Helper()
		if got, body := w.call("GET", path); got != status || !strings.Contains(body, says) {
			t.Errorf("%s: %d %s", path, got, body)
		}
	}
	want("/healthz", 200, `"ok"`)
	want("/readyz", 200, `{"pools":{"invalid":0,"valid":1},"status":"ready"}`)
	if err := os.WriteFile(filepath.Join(w.root, "pool", "settings.json"), []byte(`{"max-volumes": -1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Pools.Rescan(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("/healthz", 200, `"ok"`)
	want("/readyz", 503, `"PoolUnavailable"`)
	rig.Pool(t, w.root, "second", `{}`)
	if err := w.Pools.Rescan(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("/readyz", 200, `{"pools":{"invalid":1,"valid":1},"status":"ready"}`)
	close(w.stopping)
	want("/healthz", 200, `"ok"`)
	want("/readyz", 503, `"ShuttingDown"`)
}

// many pretends that there are exports.
type many struct{ list []export.Info }

func (m many) Totals() map[string]export.Counts {
	c := export.Counts{ReadOperations: 5, ReadBytes: 5 * 4096, Errors: 1}
	c.ReadLatency.Buckets[0], c.ReadLatency.Buckets[10], c.ReadLatency.Buckets[25] = 1, 3, 1
	c.ReadLatency.Sum = 40 * time.Second
	return map[string]export.Counts{"iscsi": c}
}

func (m many) Brief() []export.Info { return m.list }

func TestExportsThatAreTooMany(t *testing.T) {
	w := newWatched(t, `{}`)
	list := make([]export.Info, MaxExports+7)
	for i := range list {
		list[i] = export.Info{Volume: volume.NewID(), State: export.Standing, Record: export.Record{Kind: "iscsi"}, Sessions: make([]export.Session, 2)}
	}
	var err error
	cfg := w.metrics.cfg
	cfg.Exports = many{list}
	if w.metrics, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	w.http = httptest.NewServer(api.New(api.Config{Log: slog.New(slog.DiscardHandler), Top: w.metrics.Routes()}))
	t.Cleanup(w.http.Close)
	f := w.scrape()
	for _, c := range []struct {
		name   string
		want   float64
		labels []string
	}{
		{"elstore_exports_unlisted", 7, nil},
		{"elstore_exports", MaxExports + 7, []string{"type", "iscsi", "state", "standing"}},
		{"elstore_export_sessions", 2 * (MaxExports + 7), []string{"type", "iscsi"}},
		{"elstore_export_errors_total", 1, []string{"type", "iscsi"}},
		{"elstore_attachment_sessions", 2, nil},
	} {
		if got := value(f, c.name, c.labels...); got != c.want {
			t.Errorf("%s is %v, want %v", c.name, got, c.want)
		}
	}
	if n := len(f["elstore_attachment_sessions"].GetMetric()); n != MaxExports {
		t.Errorf("%d exports are told of by themselves", n)
	}
	for _, m := range f["elstore_export_latency_seconds"].GetMetric() {
		h := m.GetHistogram()
		if m.GetLabel()[0].GetValue() != "read" {
			continue
		}
		under := map[float64]uint64{}
		for _, b := range h.GetBucket() {
			under[b.GetUpperBound()] = b.GetCumulativeCount()
		}
		if h.GetSampleCount() != 5 || h.GetSampleSum() != 40 || under[16e-6] != 1 || under[512e-6] != 1 || under[1024e-6] != 4 || under[16.777216] != 4 {
			t.Errorf("the histogram is %v", h)
		}
	}
}

// TestWatchersFilesKnowTheNames: the alerts and the dashboard ask for what is served, and for nothing else.
func TestWatchersFilesKnowTheNames(t *testing.T) {
	w := newWatched(t, `{"max-volumes": 10, "max-total-size": "1G"}`)
	w.call("GET", "/api/v1.0/full")
	_, ended := w.metrics.ObserveJob(t.Context(), volume.Job{Kind: "convert"})
	ended(volume.Job{State: volume.Done}, nil)
	client, _ := volume.ParseClient(alice)
	if _, err := w.exports.Export(t.Context(), export.Request{Volume: w.create("one"), Client: client}); err != nil {
		t.Fatal(err)
	}
	w.exports.Beat(t.Context())
	served := w.scrape()
	for _, file := range []string{"alerts.yaml", "dashboard.json"} {
		names := asked(t, file)
		if len(names) < 12 {
			t.Errorf("%s asks for %v alone", file, names)
		}
		for _, name := range names {
			base := name
			if served[name] == nil {
				base = strings.TrimSuffix(name, "_bucket")
			}
			if f := served[base]; f == nil || base != name && f.GetType() != dto.MetricType_HISTOGRAM {
				t.Errorf("%s asks for %s, which is not served", file, name)
			}
		}
	}
	var dashboard struct {
		Panels []struct{ Title string }
	}
	data, err := os.ReadFile("dashboard.json")
	if err != nil || json.Unmarshal(data, &dashboard) != nil || len(dashboard.Panels) < 10 {
		t.Errorf("dashboard.json: %v, %d panels", err, len(dashboard.Panels))
	}
}
