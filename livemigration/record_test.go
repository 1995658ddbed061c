package livemigration

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"elstore/volume"
)

func sample() Record {
	return Record{
		ID: volume.NewID(), Status: Status{State: Prepared, Pen: Destination}, Source: Party{Client: client(1), Initiator: "iqn.2020-01.a:b"},
		Destination: Party{Client: client(2), Host: "<b>"}, LoggedIn: true, Alarm: "x",
		Parts: []Part{{volume.NewID(), volume.NewID(), volume.NewID()}, {volume.NewID(), volume.NewID(), volume.NewID()}},
		Began: time.Unix(1, 5).UTC(), Deadline: time.Unix(2, 0).UTC(),
	}
}

func TestRecordOutlivesItsFile(t *testing.T) {
	for _, want := range []Record{sample(), func() Record {
		r := sample()
		r.Ended, r.Here, r.Peer = time.Unix(9, 0).UTC(), Source, "other"
		return r
	}()} {
		got, err := parseRecord(want.encode())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v:\n%+v\n%+v", err, got, want)
		}
	}
}

func TestRecordsThatAreRefused(t *testing.T) {
	changed := func(change func(*Record)) string { r := sample(); change(&r); return string(r.encode()) }
	for name, tt := range map[string]struct{ data, want string }{
		"empty":        {"", "not the JSON"},
		"torn":         {changed(func(*Record) {})[:100], "not the JSON"},
		"large":        {strings.Repeat(" ", maxRecord+1), "over 262144 bytes"},
		"version":      {strings.Replace(changed(func(*Record) {}), `"version":1`, `"version":3`, 1), "version is 3"},
		"one server":   {strings.Replace(changed(func(*Record) {}), `"version":1`, `"version":2`, 1), "two servers"},
		"no side":      {changed(func(r *Record) { r.Here, r.Peer = "left", "p" }), "two servers"},
		"no peer":      {changed(func(r *Record) { r.Here = Source }), "two servers"},
		"no id":        {changed(func(r *Record) { r.ID = volume.ID{} }), "no migration_id"},
		"state":        {changed(func(r *Record) { r.State = "ODD" }), "none that can be"},
		"pen":          {changed(func(r *Record) { r.State, r.Pen = Concluding, Source }), "none that can be"},
		"no volumes":   {changed(func(r *Record) { r.Parts = nil }), "0 volumes"},
		"many volumes": {changed(func(r *Record) { r.Parts = make([]Part, maxVolumes+1) }), "257 volumes"},
		"id twice":     {changed(func(r *Record) { r.Parts[1] = r.Parts[0] }), "twice"},
		"no volume id": {changed(func(r *Record) { r.Parts[0].Volume = volume.ID{} }), "missing"},
	} {
		if _, err := parseRecord([]byte(tt.data)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", name, err, tt.want)
		}
	}
}

// TestReachable walks the table from the beginning, and from what is found without a journal.
func TestReachable(t *testing.T) {
	found := map[Status]bool{}
	var walk func(s Status)
	walk = func(s Status) {
		if found[s] {
			return
		}
		found[s] = true
		for _, e := range events {
			if next, err := s.Step(e); err == nil {
				walk(next)
			}
		}
	}
	walk(Status{})
	walk(Status{State: NeedsOperator})
	delete(found, Status{})
	for s := range found {
		if !slices.Contains(reachable, s) {
			t.Errorf("%v is reached, and refused when it is read", s)
		}
	}
	if len(found) != len(reachable) {
		t.Errorf("%d are reached, and %d can be read", len(found), len(reachable))
	}
}

func FuzzRecord(f *testing.F) {
	r := sample()
	f.Add(r.encode())
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data)
		if err != nil {
			return
		}
		again, err := parseRecord(r.encode())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%v:\n%+v\n%+v", err, again, r)
		}
	})
}

func client(n byte) volume.Client {
	c, err := volume.ParseClient(strings.Repeat("0", 30) + string([]byte{'0', '0' + n}))
	if err != nil {
		panic(err)
	}
	return c
}
