package metrics

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"elstore/api/rest"
)

// methods are those that have a label of their own: a client can make up others.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch}

// endless are the routes whose answers have no end of their own: how long they took says nothing.
var endless = []string{"/events", "/revisions/stream"}

// requests counts what the API is asked.
type requests struct {
	under    prometheus.Gauge
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	bytes    prometheus.Counter
	errors   *prometheus.CounterVec
}

func newRequests() requests {
	return requests{
		under: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "elstore_http_requests_in_flight", Help: "Requests that are being answered.",
		}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "elstore_http_requests_total", Help: "Requests that were answered. The route is its pattern, or none where nothing is at the path.",
		}, []string{"method", "route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "elstore_http_request_duration_seconds", Help: "How long requests took. Event streams are left out.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600},
		}, []string{"method", "route"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "elstore_http_response_bytes_total", Help: "Bytes of the answers' bodies.",
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "elstore_errors_total", Help: "Requests that were answered with an error, by its code.",
		}, []string{"code"}),
	}
}

// Describe implements prometheus.Collector.
func (r *requests) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, to) }

// Collect implements prometheus.Collector.
func (r *requests) Collect(to chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{r.under, r.total, r.duration, r.bytes, r.errors} {
		c.Collect(to)
	}
}

var _ rest.Observer = (*Metrics)(nil).Observe

// Observe is the rest.Observer that counts requests.
func (m *Metrics) Observe(r *http.Request) (context.Context, func(rest.Outcome)) {
	q := &m.requests
	q.under.Inc()
	return r.Context(), func(o rest.Outcome) {
		q.under.Dec()
		method, route := o.Method, o.Route
		if !slices.Contains(methods, method) {
			method = "other"
		}
		if route == "" {
			route = "none"
		}
		q.total.WithLabelValues(method, route, strconv.Itoa(o.Status)).Inc()
		if !slices.Contains(endless, route) {
			q.duration.WithLabelValues(method, route).Observe(o.Took.Seconds())
		}
		q.bytes.Add(float64(o.Bytes))
		if o.Code != "" {
			q.errors.WithLabelValues(o.Code).Inc()
		}
	}
}
