package metrics

import (
	"errors"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"elstore/api/access"
	"elstore/api/rest"
	"elstore/export"
	"elstore/livemigration"
	"elstore/pool"
	"elstore/volume"
	"elstore/volume/fault"
)

// Config is whom the numbers are asked of. All of it is required.
type Config struct {
	Pools   interface{ Infos() []pool.Info }
	Volumes interface {
		Census() map[string]volume.Census
	}
	Jobs       interface{ List() []volume.Job }
	Exports    Exports
	Migrations interface {
		List(client *volume.Client) []livemigration.Info
	}
	Daemons  func() (running int, revived uint64) // of storage daemons
	Version  string
	Stopping <-chan struct{} // closed when the server begins to stop
}

// Exports know what machines do. export.Service satisfies it.
type Exports interface {
	// Totals returns what the attachments of each kind did, those included that are gone.
	Totals() map[string]export.Counts
	// Brief returns the attachments that stand.
	Brief() []export.Info
}

var _ Exports = (*export.Service)(nil)

const (
	// scrapeTime is how long the answer to one GET /metrics may take to gather.
	scrapeTime = 30 * time.Second
	// scrapes is how many may be under way.
	scrapes = 4
)

// Metrics are a server's. Its methods may be called at the same time.
type Metrics struct {
	cfg      Config
	registry *prometheus.Registry
	requests requests
	jobs     jobs
	scraping chan struct{} // has an element for each answer that is being gathered
}

// New returns Metrics that counted nothing yet.
func New(cfg Config) (*Metrics, error) {
	m := &Metrics{cfg: cfg, registry: prometheus.NewRegistry(), requests: newRequests(), jobs: newJobs(), scraping: make(chan struct{}, scrapes)}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "elstore_build_info", Help: "The server's version, as labels of a 1.",
		ConstLabels: prometheus.Labels{"version": cfg.Version, "go_version": runtime.Version()},
	})
	build.Set(1)
	var errs []error
	for _, c := range []prometheus.Collector{
		build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&m.requests, &m.jobs,
		&poolCollector{cfg}, &jobCollector{cfg}, &exportCollector{cfg}, &migrationCollector{cfg}, &daemonCollector{cfg},
	} {
		errs = append(errs, m.registry.Register(c))
	}
	return m, errors.Join(errs...)
}

// Routes returns /metrics, /healthz and /readyz.
func (m *Metrics) Routes() []rest.Route {
	get := []string{http.MethodGet}
	return []rest.Route{
		{Methods: get, Path: "/metrics", Handler: m.scrape},
		{Methods: get, Path: "/healthz", Handler: healthy},
		{Methods: get, Path: "/readyz", Handler: m.ready},
	}
}

// scrape tells the numbers that the caller may see.
func (m *Metrics) scrape(w http.ResponseWriter, r *http.Request) error {
	select {
	case m.scraping <- struct{}{}:
	default:
		return fault.Errorf(fault.RateLimited, "the numbers are told to %d others at this moment, and to no more at once; try again later", scrapes)
	}
	numbers := m.seenBy(access.CallerOf(r.Context()))
	// The answer may be over before the gathering is.
	gather := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		defer func() { <-m.scraping }()
		return numbers.Gather()
	})
	promhttp.HandlerFor(gather, promhttp.HandlerOpts{Timeout: scrapeTime}).ServeHTTP(w, r)
	return nil
}
