package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"elstore/volume"
)

// jobs counts work that has ended.
type jobs struct {
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newJobs() jobs {
	return jobs{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "elstore_jobs_total", Help: "Jobs that have ended, by kind and how they ended.",
		}, []string{"kind", "state"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "elstore_job_duration_seconds", Help: "How long jobs took, with the time that they waited for their turn.",
			Buckets: []float64{.005, .025, .1, .5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600},
		}, []string{"kind"}),
	}
}

// Describe implements prometheus.Collector.
func (j *jobs) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(j, to) }

// Collect implements prometheus.Collector.
func (j *jobs) Collect(to chan<- prometheus.Metric) {
	j.total.Collect(to)
	j.duration.Collect(to)
}

// ObserveJob counts jobs; see volume.JobsConfig.
func (m *Metrics) ObserveJob(ctx context.Context, j volume.Job) (context.Context, func(volume.Job, error)) {
	began := time.Now()
	return ctx, func(ended volume.Job, _ error) {
		m.jobs.total.WithLabelValues(j.Kind, string(ended.State)).Inc()
		m.jobs.duration.WithLabelValues(j.Kind).Observe(time.Since(began).Seconds())
	}
}

var jobsDesc = prometheus.NewDesc("elstore_jobs", "Jobs that have not ended, by state.", []string{"state"}, nil)

// jobCollector counts the jobs that have not ended.
type jobCollector struct{ cfg Config }

// Describe implements prometheus.Collector.
func (*jobCollector) Describe(to chan<- *prometheus.Desc) { to <- jobsDesc }

// Collect implements prometheus.Collector.
func (c *jobCollector) Collect(to chan<- prometheus.Metric) {
	count := map[volume.State]int{volume.Queued: 0, volume.Running: 0}
	for _, j := range c.cfg.Jobs.List() {
		if _, open := count[j.State]; open {
			count[j.State]++
		}
	}
	for state, n := range count {
		to <- prometheus.MustNewConstMetric(jobsDesc, prometheus.GaugeValue, float64(n), string(state))
	}
}
