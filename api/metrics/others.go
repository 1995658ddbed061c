package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"elstore/livemigration"
)

var (
	migrationsDesc = prometheus.NewDesc("elstore_migrations", "Live migrations that are open, by state.", []string{"state"}, nil)
	daemonsDesc    = prometheus.NewDesc("elstore_storage_daemons", "Processes of qemu-storage-daemon that run.", nil, nil)
	revivedDesc    = prometheus.NewDesc("elstore_storage_daemon_restarts_total", "Storage daemons that were started in place of one that had died.", nil, nil)
)

// migrationCollector counts live migrations.
type migrationCollector struct{ cfg Config }

// Describe implements prometheus.Collector.
func (*migrationCollector) Describe(to chan<- *prometheus.Desc) { to <- migrationsDesc }

// Collect implements prometheus.Collector.
func (c *migrationCollector) Collect(to chan<- prometheus.Metric) {
	count := map[livemigration.State]int{}
	for _, state := range []livemigration.State{
		livemigration.Preparing, livemigration.Prepared, livemigration.Concluding, livemigration.Reverting, livemigration.NeedsOperator,
	} {
		count[state] = 0
	}
	for _, i := range c.cfg.Migrations.List(nil) {
		if _, open := count[i.State]; open {
			count[i.State]++
		}
	}
	for state, n := range count {
		tell(to, migrationsDesc, prometheus.GaugeValue, float64(n), string(state))
	}
}

// daemonCollector counts the processes that serve qcow2.
type daemonCollector struct{ cfg Config }

// Describe implements prometheus.Collector.
func (*daemonCollector) Describe(to chan<- *prometheus.Desc) {
	to <- daemonsDesc
	to <- revivedDesc
}

// Collect implements prometheus.Collector.
func (c *daemonCollector) Collect(to chan<- prometheus.Metric) {
	running, revived := c.cfg.Daemons()
	tell(to, daemonsDesc, prometheus.GaugeValue, float64(running))
	tell(to, revivedDesc, prometheus.CounterValue, float64(revived))
}
