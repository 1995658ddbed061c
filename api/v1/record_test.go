package v1

import (
	"encoding/json"
	"testing"
	"time"

	"elstore/volume"
)

func TestRecordIsWrittenAsItsTagsSay(t *testing.T) {
	full := record{
		ID: volume.NewID(), Size: 1, Name: "q\"<\u2028>\u00fc", Format: volume.ISO, ISOType: "tool", Private: true, ReadOnly: true,
		Clonable: true, Alg: volume.Copy, Bus: volume.SATA, CloudInit: true, Exported: true, SizeOnDisk: 1 << 50, LastUpdated: "now",
		Pool: "p/\"q", Locked: true, Operation: "clone", Exports: []string{"a", "\"b"}, Available: true, Overlay: true, Trashed: "then",
	}
	for name, r := range map[string]record{"empty": {Exports: []string{}}, "full": full} {
		t.Run(name, func(t *testing.T) {
			type bare record // without our MarshalJSON
			want, err := json.Marshal(bare(r))
			if err != nil {
				t.Fatal(err)
			}
			if got := r.appendJSON(nil); string(got) != string(want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	full.extra = map[string]json.RawMessage{"b": json.RawMessage("1"), "a\"": json.RawMessage(`{"x":2}`), "name": json.RawMessage(`"not ours"`)}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(full.appendJSON(nil), &all); err != nil || string(all["a\""]) != `{"x":2}` || string(all["b"]) != "1" {
		t.Errorf("%s, %v", full.appendJSON(nil), err)
	}
}

func TestTimestamp(t *testing.T) {
	for _, at := range []time.Time{
		{},
		time.Unix(0, 0), time.Date(2024, 2, 29, 23, 59, 59, 999_999_999, time.FixedZone("", -3600)),
		time.Date(9999, 12, 31, 1, 2, 3, 40_000, time.UTC), time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got, want := timestamp(at), at.UTC().Format(timeFormat); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
