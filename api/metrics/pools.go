package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"elstore/pool"
)

func poolDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("elstore_pool_"+name, help, []string{"pool"}, nil)
}

// What is told of a pool. Limits that a pool doesn't have are not told.
var (
	poolValid       = poolDesc("valid", "1 where new volumes can be put into the pool.")
	poolVolumes     = poolDesc("volumes", "Volumes that count against the pool's limit, with those in the bin.")
	poolMaxVolumes  = poolDesc("max_volumes", "The pool's limit of volumes.")
	poolUsed        = poolDesc("used_bytes", "Virtual size of the volumes in the pool, with the bin and base images.")
	poolReserved    = poolDesc("reserved_bytes", "Bytes that operations under way have reserved.")
	poolMaxTotal    = poolDesc("max_total_bytes", "The pool's limit of virtual size.")
	poolBinVolumes  = poolDesc("bin_volumes", "Volumes in the bin.")
	poolBinBytes    = poolDesc("bin_bytes", "Virtual size of the volumes in the bin.")
	poolFree        = poolDesc("free_bytes", "Free bytes of the pool's file system.")
	poolReserve     = poolDesc("reserve_bytes", "Free bytes of the file system that the pool leaves alone.")
	volumesDesc     = prometheus.NewDesc("elstore_volumes", "Volumes by state. One may be in several: standing and trashed exclude each other, the others don't.", []string{"pool", "state"}, nil)
	poolDescription = []*prometheus.Desc{
		poolValid, poolVolumes, poolMaxVolumes, poolUsed, poolReserved, poolMaxTotal, poolBinVolumes, poolBinBytes, poolFree, poolReserve, volumesDesc,
	}
)

// poolCollector tells of pools and what is in them.
type poolCollector struct{ cfg Config }

// Describe implements prometheus.Collector.
func (*poolCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range poolDescription {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *poolCollector) Collect(to chan<- prometheus.Metric) {
	for _, p := range c.cfg.Pools.Infos() {
		collectPool(&p, to)
	}
	for name, n := range c.cfg.Volumes.Census() {
		for state, count := range map[string]int{
			"standing": n.Standing, "trashed": n.Trashed, "damaged": n.Damaged, "missing": n.Missing, "locked": n.Locked, "in_use": n.InUse,
		} {
			to <- prometheus.MustNewConstMetric(volumesDesc, prometheus.GaugeValue, float64(count), name, state)
		}
	}
}

func collectPool(p *pool.Info, to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, n int64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), p.Name)
	}
	valid := int64(0)
	if p.Valid {
		valid = 1
	}
	gauge(poolValid, valid)
	gauge(poolVolumes, p.Used.Volumes)
	gauge(poolUsed, p.Used.Bytes)
	gauge(poolReserved, p.Reserved.Bytes)
	gauge(poolBinVolumes, int64(p.Bin.Volumes))
	gauge(poolBinBytes, p.Bin.Bytes)
	gauge(poolReserve, p.Reserve)
	for d, n := range map[*prometheus.Desc]*int64{poolMaxVolumes: p.Limits.Volumes, poolMaxTotal: p.Limits.TotalSize, poolFree: p.Free} {
		if n != nil {
			gauge(d, *n)
		}
	}
}
