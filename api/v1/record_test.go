package v1

import (
	"encoding/json"
	"testing"

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
			type plain record // without our MarshalJSON
			want, err := json.Marshal(plain(r))
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
