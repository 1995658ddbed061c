package v1_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"elstore/test/rig"
)

func TestPools(t *testing.T) {
	s := newServer(t, `{"max-volumes": 6, "max-volume-size": "50G", "max-total-size": "200G", "file-system": "default", "reserve": "1M", "bin-retention": "1h"}`)
	rig.Pool(t, s.root, "bad", `{"max-volumes": -1}`)
	rig.Pool(t, s.root, "nested/data", `{}`)
	rig.Pool(t, s.pool, "inner", `{}`)
	s.post("/pools/refresh", nil).want(200)
	id := s.create("disk", 1, "pool", "pool")
	s.post("/destroy", map[string]string{"volume_id": id}).want(200)

	byName := map[string]map[string]any{}
	for _, p := range s.get("/pools").want(200).list() {
		byName[p["name"].(string)] = p
	}
	pool := byName["pool"]
	limits, _ := pool["limits"].(map[string]any)
	bin, _ := pool["bin"].(map[string]any)
	used, _ := pool["used"].(map[string]any)
	if pool["valid"] != true || pool["path"] != s.pool || limits["max_volumes"] != 6.0 || limits["max_volume_size"] != 50e9 || limits["max_total_size"] != 200e9 ||
		bin["volumes"] != 1.0 || bin["retention"] != "1h0m0s" || used["volumes"] != 1.0 || used["bytes"] != 1e9 || pool["reserve_bytes"] != 1e6 || pool["free_bytes"] == nil {
		t.Errorf("%v", pool)
	}
	bad := byName["bad"]
	if bad == nil || bad["valid"] != false || bad["reason"] == nil {
		t.Errorf("%v", bad)
	}
	if nested := byName["nested/data"]; nested == nil || nested["valid"] != true || fmt.Sprint(nested["limits"]) != "map[max_total_size:<nil> max_volume_size:<nil> max_volumes:<nil>]" {
		t.Errorf("%v", byName)
	}
	if none := byName[""]; none == nil || none["path"] != filepath.Join(s.pool, "inner") || none["reason"] == "" || none["valid"] != false {
		t.Errorf("no entry for the directory in a pool: %v", byName)
	}

	for _, name := range []string{"pool", "bad", "nested/data"} {
		if got := s.get("/pools/" + url.PathEscape(name)).want(200).object(); got["name"] != name {
			t.Errorf("%v", got)
		}
	}
	s.get("/pools/other").want(404, "PoolNotFound")
}

func TestPoolRefresh(t *testing.T) {
	s := newServer(t, `{}`)
	id := s.create("goes", 0.001)
	if err := os.RemoveAll(filepath.Join(s.pool, "vid."+id+".elimg")); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		dir := filepath.Join(s.pool, fmt.Sprintf("vid.%032x.elimg", i+1))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "meta.json"), []byte(`{"creatorID": "`+alice+`", "name": "came", "volumeID": "x", "size": 512, "x": 1}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "data.img"), make([]byte, 512), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := s.post("/pools/refresh", map[string]string{"name": "pool"}).want(200).list()
	if fmt.Sprint(got) != "[map[came:2 name:pool went:1]]" {
		t.Errorf("%v", got)
	}
	got = s.post("/pools/refresh", nil).want(200).list()
	if fmt.Sprint(got) != "[map[came:0 name:pool went:0]]" {
		t.Errorf("%v", got)
	}
	record := s.record(fmt.Sprintf("%032x", 1))
	if record["volumeID"] != fmt.Sprintf("%032x", 1) || record["x"] != 1.0 || record["name"] != "came" {
		t.Errorf("%v", record)
	}
	s.post("/info", map[string]string{"volume_id": id}).want(404, "VolumeNotFound")
}
