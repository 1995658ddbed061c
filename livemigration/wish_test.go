package livemigration

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"elstore/volume"
)

func sampleMessage() message {
	r := sample()
	return message{
		Version: messageVersion, Migration: r.ID, Server: "two", Wish: wishPen, Source: Party{Client: alice}, Destination: Party{Client: bob},
		Parts: r.Parts, Deadline: time.Unix(7, 0).UTC(),
	}
}

func TestMessages(t *testing.T) {
	whole := sampleMessage()
	changed := func(change func(*message)) []byte {
		w := whole
		w.Parts = slices.Clone(w.Parts)
		change(&w)
		data, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if got, err := parseMessage(changed(func(*message) {})); err != nil || !reflect.DeepEqual(got, whole) {
		t.Errorf("%+v, %v", got, err)
	}
	for want, data := range map[string][]byte{
		"not the JSON":   []byte("{"),
		"version is 2":   changed(func(w *message) { w.Version = 2 }),
		"no migration":   changed(func(w *message) { w.Migration = volume.ID{} }),
		"or no server":   changed(func(w *message) { w.Server = "" }),
		"which is none":  changed(func(w *message) { w.Wish = wishNone }),
		"lacks a client": changed(func(w *message) { w.Destination.Client = volume.Client{} }),
		"0 volumes":      changed(func(w *message) { w.Parts = nil }),
		"there twice":    changed(func(w *message) { w.Parts[1] = w.Parts[0] }),
	} {
		if _, err := parseMessage(data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func FuzzMessage(f *testing.F) {
	data, err := json.Marshal(sampleMessage())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"wish":"prepare","volumes":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := parseMessage(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseMessage(again); err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%+v\n%+v\n%v", w, got, err)
		}
	})
}
