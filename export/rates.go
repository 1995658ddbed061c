package export

import (
	"encoding/json"
	"math"

	"elstore/volume"
)

// Rates are what an attachment may do per second. Nil is what the volume says, and 0 is no limit.
type Rates struct {
	ReadMB    *float64 `json:"read_MB_bw,omitempty"` // 10^6 bytes
	WriteMB   *float64 `json:"write_MB_bw,omitempty"`
	ReadIOPS  *float64 `json:"read_iops,omitempty"`
	WriteIOPS *float64 `json:"write_iops,omitempty"`
}

// RatesOf returns the rates that a volume's attributes say. What is no number of 0 or more says nothing.
func RatesOf(m volume.Meta) Rates {
	var r Rates
	for key, rate := range r.keys() {
		var n float64
		if text, ok := m.Extra[key]; ok && json.Unmarshal(text, &n) == nil && n >= 0 {
			*rate = &n
		}
	}
	return r
}

func (r *Rates) keys() map[string]**float64 {
	return map[string]**float64{
		"read_MB_bw": &r.ReadMB, "write_MB_bw": &r.WriteMB, "read_iops": &r.ReadIOPS, "write_iops": &r.WriteIOPS,
	}
}

// Over returns r, and what it leaves open as base has it.
func (r Rates) Over(base Rates) Rates {
	from := base.keys()
	for key, rate := range r.keys() {
		if *rate == nil {
			*rate = *from[key]
		}
	}
	return r
}

func (r *Rates) valid() bool {
	for _, rate := range r.keys() {
		if *rate != nil && (**rate < 0 || math.IsNaN(**rate)) {
			return false
		}
	}
	return true
}

// megabyte is the unit of the bandwidths, in bytes.
const megabyte = 1e6

// PerSecond returns the four rates as whole bytes and operations, 0 for no limit. What is more than 0 never becomes it.
func (r *Rates) PerSecond() (readBytes, writeBytes, readOperations, writeOperations int64) {
	whole := func(rate *float64, unit float64) int64 {
		if rate == nil || *rate == 0 {
			return 0
		}
		n := math.Ceil(*rate * unit)
		return int64(min(n, 1<<62))
	}
	return whole(r.ReadMB, megabyte), whole(r.WriteMB, megabyte), whole(r.ReadIOPS, 1), whole(r.WriteIOPS, 1)
}
