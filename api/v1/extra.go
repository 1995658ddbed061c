package v1

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// rates are the limits on a volume's throughput. They are kept with the volume, and whoever exports it heeds them.
type rates struct {
	ReadMB    *rate `json:"read_MB_bw"`
	WriteMB   *rate `json:"write_MB_bw"`
	ReadIOPS  *rate `json:"read_iops"`
	WriteIOPS *rate `json:"write_iops"`
}

// into puts the limits that were given beside the other attributes that are kept. extra is the caller's own.
func (r rates) into(extra map[string]json.RawMessage) {
	for key, value := range map[string]*rate{
		"read_MB_bw": r.ReadMB, "write_MB_bw": r.WriteMB, "read_iops": r.ReadIOPS, "write_iops": r.WriteIOPS,
	} {
		if value != nil {
			extra[key] = json.RawMessage(*value)
		}
	}
}

// recordKeys are the keys of a record: attributes that are not a client's to invent.
var recordKeys = keysOf(reflect.TypeFor[record]())

// reserved are more names that mean something in requests and answers, and so can't be attributes of a volume.
var reserved = []string{
	"vid", "volume_id", "img_format", "base", "client_uid", "newCreatorID", "error", "code", "index", "request_id", "has",
	"isotype", "os_family", "os_flavour", "os_version", "tool_scope", "tool_version", "expectedFiles", "seed", "dry_run",
	"size_bytes", "preallocation", "url", "path", "checksum", "source_format", "shrink", "purge", "limit", "after",
}

// isReserved reports whether key is no name for an attribute of a client's own.
func isReserved(key string) bool { return recordKeys[key] || slices.Contains(reserved, key) }

// kept returns what of a request's unknown keys is kept with the volume, and its rates. Names that are reserved are passed
// over: clients send records back.
func kept(unknown map[string]json.RawMessage, r rates) map[string]json.RawMessage {
	extra := make(map[string]json.RawMessage, len(unknown))
	for key, value := range unknown {
		if !isReserved(key) {
			extra[key] = value
		}
	}
	r.into(extra)
	return extra
}

// keysOf returns the keys that a struct is written with.
func keysOf(t reflect.Type) map[string]bool {
	keys := map[string]bool{}
	for _, f := range reflect.VisibleFields(t) {
		if key, _, _ := strings.Cut(f.Tag.Get("json"), ","); key != "" {
			keys[key] = true
		}
	}
	return keys
}
