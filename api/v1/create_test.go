package v1_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"elstore/volume"
)

func TestCreateDefaults(t *testing.T) {
	s := newServer(t, `{}`)
	got := s.post("/create", map[string]any{"creatorID": alice, "name": "plain", "size": 1}).want(200).object()
	want := map[string]any{
		"creatorID": alice, "name": "plain", "size": 1.0, "img_format": "raw", "private": false, "readonly": false, "shareable": false,
		"bootable": false, "clonable": true, "alg": "cp", "bus": "virtio", "pool": "pool", "vid": got["vid"],
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestCreateSizes(t *testing.T) {
	s := newServer(t, `{}`)
	tests := []struct {
		given string
		bytes float64
	}{
		{`1`, 1_000_000_000 - 1_000_000_000%512}, // a whole number of sectors already
		{`"1"`, 1_000_000_000},
		{`0.5`, 500_000_256}, // rounded up
		{`"0.001"`, 1_000_448},
		{`1e-3`, 1_000_448},
		{`1e1`, 10_000_000_000},
		{`0.000000001`, 512},
	}
	for _, tt := range tests {
		t.Run(tt.given, func(t *testing.T) {
			got := s.post("/create", newVolume("size", tt.given)).want(200)
			if size := decode[map[string]json.RawMessage](t, got.body)["size"]; string(size) != tt.given {
				t.Errorf("the answer says %s", size)
			}
			id := got.object()["vid"].(string)
			record := s.record(id)
			bytes := record["size"].(float64)
			if want := volume.FromBytes(int64(tt.bytes)).Bytes; bytes != float64(want) {
				t.Errorf("%v bytes, want %v", bytes, want)
			}
		})
	}
}

func TestCreateTakesIDsOfEveryForm(t *testing.T) {
	s := newServer(t, `{}`)
	for _, form := range []string{alice, strings.ToUpper(alice), "ffffffff-ffff-ffff-ffff-ffffffffffff"} {
		if got := s.post("/create", newVolume("creatorID", `"`+form+`"`)).want(200).object(); got["creatorID"] != alice {
			t.Errorf("%s became %v", form, got["creatorID"])
		}
	}
}

func TestUnknownKeysAreKept(t *testing.T) {
	s := newServer(t, `{}`)
	got := s.post("/create", newVolume("read_MB_bw", `12.50, "write_iops": 0, "benchmark": {"a": [1, "<b>"]}, "ip": "10.0.0.1",
		"sizeOnDisk": 1, "volumeID": "x", "vid": "x", "base": "x", "cloudinit": true, "exported": true, "locked": true, "gone": null`)).want(200)
	answer := decode[map[string]json.RawMessage](t, got.body)
	for key, want := range map[string]string{"read_MB_bw": "12.50", "write_iops": "0", "ip": `"10.0.0.1"`} {
		if string(answer[key]) != want {
			t.Errorf("%s is %s", key, answer[key])
		}
	}
	id := got.object()["vid"].(string)
	record := s.record(id)
	if record["read_MB_bw"] != 12.5 || fmt.Sprint(record["benchmark"]) != "map[a:[1 <b>]]" || record["cloudinit"] != false || record["exported"] != false {
		t.Errorf("%v", record)
	}
	_, gone := record["gone"]
	if _, there := record["base"]; there || gone || record["volumeID"] != id {
		t.Errorf("%v", record)
	}
}

func TestCreateMultiple(t *testing.T) {
	s := newServer(t, `{"max-volumes": 3}`)
	if got := s.post("/create/multiple", `[]`).want(200); string(got.body) != "[]\n" {
		t.Errorf("%s", got)
	}
	list := s.post("/create/multiple", "["+newVolume("name", `"a"`)+","+newVolume("name", `"b"`)+"]").want(200).list()
	if len(list) != 2 || list[0]["name"] != "a" || list[1]["name"] != "b" || list[0]["vid"] == list[1]["vid"] {
		t.Errorf("%v", list)
	}
	s.post("/create/multiple", "["+newVolume("name", `"c"`)+","+newVolume("name", `"d"`)+"]").want(507, "VolumeNotAllocable")
	if n := len(s.post("/accessible", map[string]string{"client_uid": alice}).want(200).list()); n != 2 {
		t.Errorf("%d volumes", n)
	}
	bad := s.post("/create/multiple", "["+newVolume("name", `"c"`)+","+newVolume("name", `""`)+"]").want(400, "BadRequest").object()
	if bad["index"] != 1.0 {
		t.Errorf("%v", bad)
	}
}

func TestManyClientsFillAPoolExactly(t *testing.T) {
	const clients, room = 64, 50
	s := newServer(t, `{"max-volumes": 50}`)
	var wg sync.WaitGroup
	var made, full atomic.Int32
	for range clients {
		wg.Go(func() {
			resp, err := http.DefaultClient.Do(s.request(http.MethodPost, "/create", newVolume("size", "0.001")))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			switch resp.StatusCode {
			case 200:
				made.Add(1)
			case 507:
				full.Add(1)
			default:
				body, _ := io.ReadAll(resp.Body)
				t.Errorf("status %d: %s", resp.StatusCode, body)
			}
		})
	}
	wg.Wait()
	dirs, err := filepath.Glob(filepath.Join(s.pool, "vid.*.elimg"))
	if err != nil || made.Load() != room || full.Load() != clients-room || len(dirs) != room {
		t.Errorf("%d made, %d refused, %d directories", made.Load(), full.Load(), len(dirs))
	}
}

func TestCanCreate(t *testing.T) {
	s := newServer(t, `{"max-volumes": 2, "max-volume-size": "10G", "max-total-size": "15G"}`)
	tests := []struct {
		name, path, body string
		want             string
	}{
		{"room", "/cancreate", `{"size": 1}`, "1"},
		{"as create has it", "/cancreate", newVolume("format", `"qcow2"`), "1"},
		{"too large", "/cancreate", `{"size": 11}`, "0"},
		{"a numeric string", "/cancreate", `{"size": "11"}`, "0"},
		{"several", "/cancreate/multiple", `[{"size": 5}, {"size": 10}]`, "1"},
		{"several too large", "/cancreate/multiple", `[{"size": 6}, {"size": 10}]`, "0"},
		{"too many", "/cancreate/multiple", `[{"size": 1}, {"size": 1}, {"size": 1}]`, "0"},
		{"none", "/cancreate/multiple", `[]`, "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := s.post(tt.path, tt.body).want(200); strings.TrimSpace(string(got.body)) != tt.want {
				t.Errorf("got %s", got)
			}
		})
	}
	for query, want := range map[string]string{"size=1": "1", "size=10.5": "0", "size=1&format=qcow2&private=true&pool=pool": "1"} {
		if got := s.get("/cancreate?" + query).want(200); strings.TrimSpace(string(got.body)) != want {
			t.Errorf("%s: %s", query, got)
		}
	}
}
