package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"elstore/export"
)

// MaxExports is of how many exports each is told by itself. Of more only the totals are told, and elstore_exports_unlisted says of how many.
const MaxExports = 1000

func exportDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("elstore_export_"+name, help, labels, nil)
}

// What is told of exports: of all of a type together, which never goes back, and of each by itself, under "attachment".
var (
	exportsDesc     = prometheus.NewDesc("elstore_exports", "Exports by type and state.", []string{"type", "state"}, nil)
	exportSessions  = exportDesc("sessions", "Sessions that are logged in.", "type")
	exportOps       = exportDesc("operations_total", "Commands that ended, by type and what they did.", "type", "operation")
	exportBytes     = exportDesc("bytes_total", "Bytes that commands moved.", "type", "operation")
	exportErrors    = exportDesc("errors_total", "Commands that ended otherwise than well.", "type")
	exportLatency   = exportDesc("latency_seconds", "How long commands took.", "type", "operation")
	exportBeat      = exportDesc("oldest_heartbeat_timestamp_seconds", "When the export whose last good heartbeat is the longest ago had it.")
	exportsUnlisted = prometheus.NewDesc("elstore_exports_unlisted", "Exports that are not told of by themselves, because there are too many.", nil, nil)

	single             = []string{"volume", "client", "type"}
	attachmentOps      = prometheus.NewDesc("elstore_attachment_operations_total", "Commands of an export that ended.", append(single[:3:3], "operation"), nil)
	attachmentBytes    = prometheus.NewDesc("elstore_attachment_bytes_total", "Bytes that an export's commands moved.", append(single[:3:3], "operation"), nil)
	attachmentTime     = prometheus.NewDesc("elstore_attachment_seconds_total", "Time that an export's commands took, added up.", append(single[:3:3], "operation"), nil)
	attachmentErrors   = prometheus.NewDesc("elstore_attachment_errors_total", "Commands of an export that ended otherwise than well.", single, nil)
	attachmentSessions = prometheus.NewDesc("elstore_attachment_sessions", "Sessions of an export that are logged in.", single, nil)

	exportDescription = []*prometheus.Desc{
		exportsDesc, exportSessions, exportOps, exportBytes, exportErrors, exportLatency, exportBeat, exportsUnlisted,
		attachmentOps, attachmentBytes, attachmentTime, attachmentErrors, attachmentSessions,
	}
)

// exportCollector tells what machines do.
type exportCollector struct{ cfg Config }

// Describe implements prometheus.Collector.
func (*exportCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range exportDescription {
		to <- d
	}
}

// tell sends one number.
func tell(to chan<- prometheus.Metric, d *prometheus.Desc, kind prometheus.ValueType, n float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, kind, n, labels...)
}

// Collect implements prometheus.Collector.
func (c *exportCollector) Collect(to chan<- prometheus.Metric) {
	list := c.cfg.Exports.Brief()
	totals := c.cfg.Exports.Totals()
	c.states(list, totals, to)
	for kind, n := range totals {
		tell(to, exportErrors, prometheus.CounterValue, float64(n.Errors), kind)
		operations(n, func(operation string, count, bytes uint64, latency *export.Latency) {
			tell(to, exportOps, prometheus.CounterValue, float64(count), kind, operation)
			if latency != nil {
				tell(to, exportBytes, prometheus.CounterValue, float64(bytes), kind, operation)
				to <- histogram(*latency, kind, operation)
			}
		})
	}
	listed := min(len(list), MaxExports)
	tell(to, exportsUnlisted, prometheus.GaugeValue, float64(len(list)-listed))
	for i := range list[:listed] {
		attachment(&list[i], to)
	}
}

// states tells how many exports and sessions there are.
func (c *exportCollector) states(list []export.Info, totals map[string]export.Counts, to chan<- prometheus.Metric) {
	type key struct {
		kind  string
		state export.State
	}
	count, sessions := map[key]int{}, map[string]int{}
	for kind := range totals {
		sessions[kind] = 0
		for _, state := range []export.State{export.Standing, export.Fencing} {
			count[key{kind, state}] = 0
		}
	}
	var oldest time.Time
	for _, i := range list {
		count[key{i.Record.Kind, i.State}]++
		sessions[i.Record.Kind] += len(i.Sessions)
		if !i.Heartbeat.IsZero() && (oldest.IsZero() || i.Heartbeat.Before(oldest)) {
			oldest = i.Heartbeat
		}
	}
	for k, n := range count {
		tell(to, exportsDesc, prometheus.GaugeValue, float64(n), k.kind, string(k.state))
	}
	for kind, n := range sessions {
		tell(to, exportSessions, prometheus.GaugeValue, float64(n), kind)
	}
	if !oldest.IsZero() {
		tell(to, exportBeat, prometheus.GaugeValue, float64(oldest.UnixMilli())/1000)
	}
}

// attachment tells of one export.
func attachment(i *export.Info, to chan<- prometheus.Metric) {
	volume, client, kind := i.Volume.String(), i.Record.Client.String(), i.Record.Kind
	tell(to, attachmentErrors, prometheus.CounterValue, float64(i.Counts.Errors), volume, client, kind)
	tell(to, attachmentSessions, prometheus.GaugeValue, float64(len(i.Sessions)), volume, client, kind)
	operations(i.Counts, func(operation string, count, bytes uint64, latency *export.Latency) {
		tell(to, attachmentOps, prometheus.CounterValue, float64(count), volume, client, kind, operation)
		if latency != nil {
			tell(to, attachmentBytes, prometheus.CounterValue, float64(bytes), volume, client, kind, operation)
			tell(to, attachmentTime, prometheus.CounterValue, latency.Sum.Seconds(), volume, client, kind, operation)
		}
	})
}

// operations calls each with what was counted of every operation. Of others than reads and writes no bytes and no latency are known.
func operations(n export.Counts, each func(operation string, count, bytes uint64, latency *export.Latency)) {
	each("read", n.ReadOperations, n.ReadBytes, &n.ReadLatency)
	each("write", n.WriteOperations, n.WriteBytes, &n.WriteLatency)
	each("other", n.OtherOperations, 0, nil)
}

// shortest and longest are the first and the last bucket that are told by themselves: 16 µs and 16.8 s.
const shortest, longest = 4, 24

// histogram is a Latency as Prometheus has it: cumulative.
func histogram(l export.Latency, kind, operation string) prometheus.Metric {
	buckets := make(map[float64]uint64, longest-shortest+1)
	var sum uint64
	for i, n := range l.Buckets {
		sum += n
		if i >= shortest && i <= longest {
			buckets[float64(uint64(1)<<i)/1e6] = sum
		}
	}
	return prometheus.MustNewConstHistogram(exportLatency, sum, l.Sum.Seconds(), buckets, kind, operation)
}
