package volume

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"elstore/volume/fault"
)

// MaxMeta is the largest meta.json that is read, in bytes.
const MaxMeta = 1 << 20

// Meta is a volume's meta.json: its attributes. A value; copies share Extra, which nobody changes in place.
type Meta struct {
	Creator   Client // the owner
	Name      string
	Private   bool // seen by its owner only
	Bootable  bool
	ReadOnly  bool // its content never changes; exportable to many
	Shareable bool // exportable to many, writable; excludes Bootable
	Clonable  bool
	Alg       Alg
	Format    Format
	Bus       Bus
	CloudInit bool
	Ceph      bool
	Size      int64  // virtual size in bytes; 0 in a file of the source system, then the image tells
	Base      string // the file in elemento-base that the image is an overlay of, or ""

	Extra map[string]json.RawMessage // keys that we don't know, kept as they are
}

// metaFile is meta.json as the source document has it, and below it our own keys. The pointers tell an
// absent key from a false one, since hand-made files leave out what has a default.
type metaFile struct {
	Creator   Client  `json:"creatorID"`
	Name      string  `json:"name"`
	Private   bool    `json:"private"`
	Bootable  bool    `json:"bootable"`
	ReadOnly  bool    `json:"readonly"`
	Shareable bool    `json:"shareable"`
	Clonable  *bool   `json:"clonable"`
	Alg       *Alg    `json:"alg"`
	Format    *Format `json:"format"`
	Bus       *Bus    `json:"bus"`
	CloudInit bool    `json:"cloudinit"`
	Ceph      bool    `json:"ceph"`
	Size      int64   `json:"size,omitempty"`
	Base      string  `json:"base,omitempty"`
}

var metaKeys = []string{
	"creatorID", "name", "private", "bootable", "readonly", "shareable", "clonable",
	"alg", "format", "bus", "cloudinit", "ceph", "size", "base",
}

// ParseMeta reads a meta.json. Keys may be missing as the source document's table has their defaults;
// what is there must be of its type. Pure.
func ParseMeta(data []byte) (Meta, error) {
	damaged := func(err error) (Meta, error) {
		return Meta{}, fault.New(fault.VolumeDamaged, "meta.json can't be understood", err)
	}
	if len(data) > MaxMeta {
		return damaged(fault.Errorf(fault.VolumeDamaged, "it has %d bytes, over %d", len(data), MaxMeta))
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &all); err != nil {
		return damaged(err)
	}
	if all == nil {
		return damaged(fault.Errorf(fault.VolumeDamaged, "it is null"))
	}
	known := map[string]json.RawMessage{}
	for _, key := range metaKeys {
		if raw, ok := all[key]; ok {
			known[key] = raw
			delete(all, key)
		}
	}
	// Decoding only the keys of exactly our spelling: encoding/json would take "NAME" for "name".
	exact, err := json.Marshal(known)
	if err != nil {
		return damaged(err)
	}
	clonable, alg, format, bus := true, Copy, Raw, Virtio
	f := metaFile{Clonable: &clonable, Alg: &alg, Format: &format, Bus: &bus}
	if err := json.Unmarshal(exact, &f); err != nil {
		return damaged(err)
	}
	m := Meta{
		Creator: f.Creator, Name: f.Name, Private: f.Private, Bootable: f.Bootable, ReadOnly: f.ReadOnly,
		Shareable: f.Shareable, Clonable: orDefault(f.Clonable, true), Alg: orDefault(f.Alg, Copy),
		Format: orDefault(f.Format, Raw), Bus: orDefault(f.Bus, Virtio), CloudInit: f.CloudInit, Ceph: f.Ceph,
		Size: f.Size, Base: f.Base,
	}
	switch {
	case m.Creator.IsZero() && known["creatorID"] == nil:
		return damaged(fault.Errorf(fault.VolumeDamaged, "creatorID is missing"))
	case m.Size < 0 || m.Size > MaxSize:
		return damaged(fault.Errorf(fault.VolumeDamaged, "size %d is not between 0 and %d bytes", m.Size, int64(MaxSize)))
	case m.Base != "" && !validBase(m.Base):
		return damaged(fault.Errorf(fault.VolumeDamaged, "base %.80q is not the name of a base image", m.Base))
	}
	if len(all) > 0 {
		m.Extra = all
	}
	return m, nil
}

// OnCeph reports whether the image lies on a Ceph cluster, which the format says.
func (m Meta) OnCeph() bool { return m.Format == RBD }

// Encode writes the meta.json, on one line, with the unknown keys after ours in their order.
func (m Meta) Encode() []byte {
	data, err := json.Marshal(metaFile{
		Creator: m.Creator, Name: m.Name, Private: m.Private, Bootable: m.Bootable, ReadOnly: m.ReadOnly,
		Shareable: m.Shareable, Clonable: &m.Clonable, Alg: &m.Alg, Format: &m.Format, Bus: &m.Bus,
		CloudInit: m.CloudInit, Ceph: m.OnCeph(), Size: m.Size, Base: m.Base,
	})
	if err != nil {
		panic("volume: meta can't be encoded: " + err.Error()) // no field of it can fail
	}
	var b bytes.Buffer
	b.Write(data[:len(data)-1])
	for _, key := range slices.Sorted(maps.Keys(m.Extra)) {
		name, _ := json.Marshal(key)
		b.WriteByte(',')
		b.Write(name)
		b.WriteByte(':')
		_ = json.Compact(&b, m.Extra[key]) // it was read as JSON
	}
	b.WriteString("}\n")
	return b.Bytes()
}

// validBase accepts <64 hexadecimal digits>.<img or qcow2>, so that a hand-made meta.json can't lead elsewhere.
func validBase(name string) bool {
	const digits = 64
	if len(name) < digits || name[digits:] != ".img" && name[digits:] != ".qcow2" {
		return false
	}
	for _, c := range name[:digits] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func orDefault[T any](p *T, value T) T {
	if p == nil { // an explicit null
		return value
	}
	return *p
}
