package volume

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"elstore/volume/fault"
)

// documented is the example of the source document.
const documented = `{
"creatorID": "5e96afa52c1a53348adc5c5663978058",
"name": "cloudinit-ubuntu",
"private": false,
"bootable": true,
"readonly": false,
"shareable": false,
"clonable": true,
"alg": "cp",
"format": "qcow2",
"bus": "virtio",
"cloudinit": true,
"ceph": false
}`

func TestMetaOfTheDocument(t *testing.T) {
	m, err := ParseMeta([]byte(documented))
	if err != nil {
		t.Fatal(err)
	}
	want := Meta{
		Name: "cloudinit-ubuntu", Bootable: true, Clonable: true, Alg: Copy, Format: QCOW2, Bus: Virtio, CloudInit: true,
	}
	want.Creator, _ = ParseClient("5e96afa52c1a53348adc5c5663978058")
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v\nwant %+v", m, want)
	}
	if text := string(m.Encode()); strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "}\n") {
		t.Errorf("not one line: %q", text)
	}
}

func TestMetaDefaultsAndUnknownKeys(t *testing.T) {
	m, err := ParseMeta([]byte(`{"creatorID":"5e96afa52c1a53348adc5c5663978058","NAME":"not ours","hw_device":{"b":[1,
	2],"a":"x"},"clonable":null,"zeta":1e400}`))
	if err != nil {
		t.Fatal(err)
	}
	if !m.Clonable || m.Alg != Copy || m.Format != Raw || m.Bus != Virtio || m.Name != "" {
		t.Errorf("defaults: %+v", m)
	}
	again, err := ParseMeta(m.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Extra) != 3 || string(again.Extra["hw_device"]) != `{"b":[1,2],"a":"x"}` || string(again.Extra["NAME"]) != `"not ours"` || string(again.Extra["zeta"]) != "1e400" {
		t.Errorf("unknown keys are not kept: %s", m.Encode())
	}
}

func TestMetaDamaged(t *testing.T) {
	tests := map[string]string{
		"empty":            ``,
		"truncated":        documented[:100],
		"null":             `null`,
		"an array":         `[]`,
		"trailing":         documented + "x",
		"no creator":       `{"name":"x"}`,
		"bad creator":      `{"creatorID":"../../etc"}`,
		"creator a number": `{"creatorID":7}`,
		"name a number":    `{"creatorID":"5e96afa52c1a53348adc5c5663978058","name":7}`,
		"private a string": `{"creatorID":"5e96afa52c1a53348adc5c5663978058","private":"false"}`,
		"unknown format":   `{"creatorID":"5e96afa52c1a53348adc5c5663978058","format":"vmdk"}`,
		"negative size":    `{"creatorID":"5e96afa52c1a53348adc5c5663978058","size":-1}`,
		"huge size":        `{"creatorID":"5e96afa52c1a53348adc5c5663978058","size":1e30}`,
		"base outside":     `{"creatorID":"5e96afa52c1a53348adc5c5663978058","base":"../../../etc/passwd"}`,
		"too large":        `{"creatorID":"5e96afa52c1a53348adc5c5663978058","name":"` + strings.Repeat("x", MaxMeta) + `"}`,
		"deep":             strings.Repeat(`{"a":`, 20000),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			if m, err := ParseMeta([]byte(data)); !fault.Is(err, fault.VolumeDamaged) {
				t.Errorf("%+v, %v; want VolumeDamaged", m, err)
			}
		})
	}
}

func FuzzMeta(f *testing.F) {
	f.Add([]byte(documented))
	f.Add([]byte(`{"creatorID":"5e96afa52c1a53348adc5c5663978058","x":{"y":1},"size":512}`))
	f.Add([]byte(`{"creatorID":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMeta(data)
		if err != nil {
			return
		}
		encoded := m.Encode()
		if !json.Valid(encoded) {
			t.Fatalf("%q is encoded as %q", data, encoded)
		}
		again, err := ParseMeta(encoded)
		if err != nil {
			t.Fatalf("%q is encoded as %q: %v", data, encoded, err)
		}
		if string(again.Encode()) != string(encoded) {
			t.Errorf("%q is encoded as %q and then as %q", data, encoded, again.Encode())
		}
	})
}
