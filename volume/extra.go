package volume

import (
	"encoding/json"
	"maps"
	"slices"

	"elstore/volume/fault"
)

// Bounds on the attributes of clients that are kept with a volume, so that no meta.json grows beyond what is read.
const (
	MaxExtraKeys  = 64
	MaxExtraBytes = 64 << 10 // of their text, keys included
)

// checkExtra refuses attributes that are too many or too long, and those that would stand for one of ours.
func checkExtra(extra map[string]json.RawMessage) error {
	bytes := 0
	for key, value := range extra {
		bytes += len(key) + len(value)
		if slices.Contains(metaKeys, key) {
			return fault.Errorf(fault.VolumeMetadataNotUpdatable, "%q is an attribute of the server's own; it can't be set like this", key)
		}
	}
	if len(extra) > MaxExtraKeys || bytes > MaxExtraBytes {
		return fault.Errorf(fault.VolumeMetadataNotUpdatable,
			"the volume would have %d attributes of its client's own with %d bytes; allowed are %d with %d", len(extra), bytes, MaxExtraKeys, MaxExtraBytes)
	}
	return nil
}

// mergeExtra returns what was there with what is given put over it; a null takes a key away. Neither map is changed.
func mergeExtra(there, given map[string]json.RawMessage) map[string]json.RawMessage {
	merged := maps.Clone(there)
	if merged == nil {
		merged = make(map[string]json.RawMessage, len(given))
	}
	for key, value := range given {
		if string(value) == "null" {
			delete(merged, key)
		} else {
			merged[key] = value
		}
	}
	return merged
}
