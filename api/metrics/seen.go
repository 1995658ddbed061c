package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"elstore/api/access"
)

// singleExports begins the names of what is told of each export by itself: whose volume is where.
const singleExports = "elstore_attachment_"

// seenBy returns what a caller may see of the numbers: those of single exports are for who acts for everybody, in all pools, and
// those of a pool for who uses it.
func (m *Metrics) seenBy(c *access.Caller) prometheus.Gatherer {
	if c.Who() == nil && !c.Limited() {
		return m.registry
	}
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := m.registry.Gather()
		families = slices.DeleteFunc(families, func(f *dto.MetricFamily) bool {
			if strings.HasPrefix(f.GetName(), singleExports) {
				return true
			}
			f.Metric = slices.DeleteFunc(f.Metric, func(one *dto.Metric) bool {
				return slices.ContainsFunc(one.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == "pool" && !c.Uses(l.GetValue()) })
			})
			return len(f.Metric) == 0
		})
		return families, err
	})
}
