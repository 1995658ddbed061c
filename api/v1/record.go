package v1

import (
	"encoding"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

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
		Alg: m.Alg, Bus: m.Bus, CloudInit: m.CloudInit, Ceph: m.OnCeph(), Exported: len(v.Exports) > 0,
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

// timestamp writes t as timeFormat has it. Lists have thousands of them: it saves time.Format's reading of the layout.
func timestamp(t time.Time) string {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.Format(timeFormat)
	}
	hour, minute, second := t.Clock()
	b := []byte("0000-00-00 00:00:00.0000")
	put := func(end, n int) { // the digits that end there
		for ; n > 0; n /= 10 {
			end--
			b[end] = byte('0' + n%10)
		}
	}
	put(4, year)
	put(7, int(month))
	put(10, day)
	put(13, hour)
	put(16, minute)
	put(19, second)
	put(24, t.Nanosecond()/100_000)
	return string(b)
}

// MarshalJSON writes the keys in their order, the clients' own at the end. One of those that bears the name of
// a key of ours, as a hand-made meta.json may have it, is left out.
func (r record) MarshalJSON() ([]byte, error) { return r.appendJSON(nil), nil }

// appendJSON is MarshalJSON without reflection: lists have thousands of records. A test holds it against the struct's tags.
func (r *record) appendJSON(b []byte) []byte {
	w := object(append(b, '{'))
	w.id("volumeID", &r.ID)
	w.id("creatorID", &r.Creator)
	w.number("size", r.Size)
	w.quoted("name", r.Name)
	w.text("format", string(r.Format))
	if r.ISOType != "" {
		w.quoted("iso_type", r.ISOType)
	}
	w.truth("private", r.Private)
	w.truth("bootable", r.Bootable)
	w.truth("readonly", r.ReadOnly)
	w.truth("shareable", r.Shareable)
	w.truth("clonable", r.Clonable)
	w.text("alg", string(r.Alg))
	w.text("bus", string(r.Bus))
	w.truth("cloudinit", r.CloudInit)
	w.truth("ceph", r.Ceph)
	w.truth("exported", r.Exported)
	w.number("sizeOnDisk", r.SizeOnDisk)
	w.text("lastUpdated", r.LastUpdated)
	w.quoted("pool", r.Pool)
	w.truth("locked", r.Locked)
	if r.Operation != "" {
		w.quoted("operation", r.Operation)
	}
	w.key("exports")
	w = append(w, '[')
	for i, name := range r.Exports {
		if i > 0 {
			w = append(w, ',')
		}
		w = appendQuoted(w, name)
	}
	w = append(w, ']')
	w.truth("available", r.Available)
	w.truth("overlay", r.Overlay)
	if r.Trashed != "" {
		w.text("trashed", r.Trashed)
	}
	for _, key := range slices.Sorted(maps.Keys(r.extra)) {
		if recordKeys[key] {
			continue
		}
		w.comma()
		w = appendQuoted(w, key)
		w = append(append(w, ':'), r.extra[key]...)
	}
	return append(w, '}')
}

// object is the beginning of a JSON object.
type object []byte

func (o *object) comma() {
	if last := (*o)[len(*o)-1]; last != '{' {
		*o = append(*o, ',')
	}
}

// key begins a member. Our keys need no escapes.
func (o *object) key(name string) {
	o.comma()
	*o = append(append(append(*o, '"'), name...), '"', ':')
}

// text writes a value that needs no escapes.
func (o *object) text(key, value string) {
	o.key(key)
	*o = append(append(append(*o, '"'), value...), '"')
}

func (o *object) id(key string, id encoding.TextAppender) {
	o.key(key)
	*o, _ = id.AppendText(append(*o, '"')) // it doesn't fail
	*o = append(*o, '"')
}

// quoted writes any text.
func (o *object) quoted(key, value string) {
	o.key(key)
	*o = appendQuoted(*o, value)
}

func (o *object) number(key string, value int64) {
	o.key(key)
	*o = strconv.AppendInt(*o, value, 10)
}

func (o *object) truth(key string, value bool) {
	o.key(key)
	*o = strconv.AppendBool(*o, value)
}

func appendQuoted(b []byte, text string) []byte {
	if plain(text) {
		return append(append(append(b, '"'), text...), '"')
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		panic("v1: a string can't be written: " + err.Error()) // there is none
	}
	return append(b, quoted...)
}

// plain reports whether a string of JSON holds text as it is.
func plain(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ', c >= 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}
