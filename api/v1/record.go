package v1

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"elstore/api/rest"
	"elstore/volume"
)

// timeFormat is how records write times: UTC, four decimals.
const timeFormat = "2006-01-02 15:04:05.0000"

// record is a volume as lists show it: the source document's keys, then ours, then those that clients gave it.
type record struct {
	ID          volume.ID     `json:"volumeID"`
	Creator     volume.Client `json:"creatorID"`
	Size        int64         `json:"size"` // virtual, in bytes
	Name        string        `json:"name"`
	Format      volume.Format `json:"format"`
	ISOType     string        `json:"iso_type,omitempty"`
	Private     bool          `json:"private"`
	Bootable    bool          `json:"bootable"`
	ReadOnly    bool          `json:"readonly"`
	Shareable   bool          `json:"shareable"`
	Clonable    bool          `json:"clonable"`
	Alg         volume.Alg    `json:"alg"`
	Bus         volume.Bus    `json:"bus"`
	CloudInit   bool          `json:"cloudinit"`
	Ceph        bool          `json:"ceph"`
	Exported    bool          `json:"exported"`
	SizeOnDisk  int64         `json:"sizeOnDisk"` // bytes of storage taken
	LastUpdated string        `json:"lastUpdated"`
	Pool        string        `json:"pool"`
	Locked      bool          `json:"locked"`
	Operation   string        `json:"operation,omitempty"` // what holds the lock
	Exports     []string      `json:"exports"`             // what uses it
	Available   bool          `json:"available"`           // its pool is there
	Overlay     bool          `json:"overlay"`             // its image needs a base image of the pool
	Trashed     string        `json:"trashed,omitempty"`   // when it was put in the bin

	extra map[string]json.RawMessage
}

// recordOf describes v.
func recordOf(v *volume.Volume) record {
	m := &v.Meta
	r := record{
		ID: v.ID, Creator: m.Creator, Size: m.Size, Name: m.Name, Format: m.Format, ISOType: v.ISOType,
		Private: m.Private, Bootable: m.Bootable, ReadOnly: m.ReadOnly, Shareable: m.Shareable, Clonable: m.Clonable,
		Alg: m.Alg, Bus: m.Bus, CloudInit: m.CloudInit, Ceph: m.Ceph, Exported: len(v.Exports) > 0,
		SizeOnDisk: v.OnDisk, LastUpdated: timestamp(v.LastUpdated), Pool: v.Pool, Locked: v.Locked != "",
		Operation: v.Locked, Exports: v.Exports, Available: v.Available, Overlay: m.Base != "", extra: m.Extra,
	}
	if r.Exports == nil {
		r.Exports = []string{}
	}
	if !v.Trashed.IsZero() {
		r.Trashed = timestamp(v.Trashed)
	}
	return r
}

// and returns the record with one more key.
func (r record) and(key string, value volume.ID) record {
	extra := maps.Clone(r.extra)
	if extra == nil {
		extra = map[string]json.RawMessage{}
	}
	extra[key] = json.RawMessage(`"` + value.String() + `"`)
	r.extra = extra
	return r
}

// records describes a list.
func records(list []volume.Volume) []record {
	out := make([]record, len(list))
	for i := range list {
		out[i] = recordOf(&list[i])
	}
	return out
}

// encodeRecords writes a list as JSON.
func encodeRecords(list []record) (rest.Encoded, error) {
	const usual = 512 // bytes of a record
	body := make([]byte, 0, 2+usual*len(list))
	body = append(body, '[')
	for i := range list {
		if i > 0 {
			body = append(body, ',')
		}
		one, err := list[i].MarshalJSON()
		if err != nil {
			return nil, err
		}
		body = append(body, one...)
	}
	return append(body, ']', '\n'), nil
}

func timestamp(t time.Time) string { return t.UTC().Format(timeFormat) }

// MarshalJSON writes the keys in their order, the clients' own at the end. One of those that bears the name of
// a key of ours, as a hand-made meta.json may have it, is left out.
func (r record) MarshalJSON() ([]byte, error) {
	type plain record
	data, err := json.Marshal(plain(r))
	if err != nil || len(r.extra) == 0 {
		return data, err
	}
	b := bytes.NewBuffer(data[:len(data)-1])
	for _, key := range slices.Sorted(maps.Keys(r.extra)) {
		if recordKeys[key] {
			continue
		}
		name, err := json.Marshal(key)
		if err != nil {
			return nil, err
		}
		b.WriteByte(',')
		b.Write(name)
		b.WriteByte(':')
		b.Write(r.extra[key])
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
